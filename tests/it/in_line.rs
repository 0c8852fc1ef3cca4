//! Requests with secrets that wait until an app which takes few at once has room on a shared connection: they go with the
//! secrets of then, and are ended as if they did not wait.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{
    Client, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
    PREFACE, WINDOW_UPDATE, block,
};
use crate::support::wire::{Head, Wire, request};
use crate::support::{PATIENCE, until};

/// Connections that are opened for one request until it stays in line.
const OPENED: usize = 3;

/// What the app is sent, once with secrets and once without.
const AUTHS: [&str; 2] = ["\"bearer $Secret{KEY}\"", "\"bearer plain\""];

/// Less than it takes until a connection is given up on which an app says nothing.
const SOON: Duration = Duration::from_secs(15);

/// Requests that come at once.
const ALL: usize = 20;

/// An app that takes one request a connection, all of them taken, and one request more.
struct Full {
    gateway: Gateway,
    listener: TcpListener,
    apps: Vec<Client>,
    /// What each connection was sent.
    heads: Vec<Head>,
    /// By whom: the id of a token, and where its answer is to come.
    callers: Vec<(String, Wire<TcpStream>)>,
    token: String,
    post: fn(&str) -> Vec<u8>,
    /// Bytes of a body that an app takes unasked.
    window: u32,
}

impl Full {
    fn new() -> Self {
        Self::with("60s", post)
    }

    /// Of these requests, each of which is to be answered in that time.
    fn with(response_header: &str, post: fn(&str) -> Vec<u8>) -> Self {
        let mut full = Self::begin(response_header, post);
        full.ask();
        full.accept();
        for _ in 0..=OPENED {
            full.ask();
        }
        let all = full.callers.len() as f64;
        until("requests in flight", || (full.in_flight() == all).then_some(()));
        for _ in 0..OPENED {
            full.accept();
        }
        full
    }

    /// With nothing asked yet.
    fn begin(response_header: &str, post: fn(&str) -> Vec<u8>) -> Self {
        Self::to(response_header, post, AUTHS[0])
    }

    /// The same before an app that is sent this.
    fn to(response_header: &str, post: fn(&str) -> Vec<u8>, auth: &str) -> Self {
        Self::among(&[], response_header, post, auth)
    }

    /// The same beside others.
    fn among(others: &[&str], response_header: &str, post: fn(&str) -> Vec<u8>, auth: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("h2c://{}", listener.local_addr().unwrap());
        let gateway = Setup::with_upstreams(&[&[&*url], others].concat())
            .set("gateway", "workers", "1")
            .set("apps.shop.environments.production", "upstream_auth", auth)
            .both("timeouts", &format!("{{ connect = \"60s\", response_header = \"{response_header}\" }}"))
            .start_among(&[("PORTCULLIS_LOG", "portcullis=debug")]);
        let token = gateway.mint("production").secret;
        let (apps, heads, callers) = (Vec::new(), Vec::new(), Vec::new());
        let full = Self { gateway, listener, apps, heads, callers, token, post, window: 1 << 16 };
        full.set("first-value");
        full
    }

    /// An app that is sent this, with one connection, on which it takes nothing any more.
    fn paused(auth: &str) -> Self {
        Self::paused_among(&[], auth)
    }

    /// The same beside others.
    fn paused_among(others: &[&str], auth: &str) -> Self {
        let mut full = Self::among(others, "60s", post, auth);
        full.ask();
        full.accept();
        full.apps[0].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 0)]));
        full.answer(0, 1);
        assert_eq!(full.callers.pop().unwrap().1.answer().status, 204);
        full
    }

    fn set(&self, value: &str) {
        let answer = self.gateway.admin("PUT /v1/secrets/KEY", Some(json!({ "value": value })));
        assert!(answer.status < 300, "{answer:?}");
    }

    fn ask(&mut self) {
        let minted = self.gateway.mint("production");
        let mut wire = self.gateway.connect();
        wire.send((self.post)(&minted.secret));
        self.callers.push((minted.id, wire));
    }

    /// Takes the next connection, and the one request that comes over it.
    fn accept(&mut self) {
        let mut app = self.connected(1);
        self.heads.push(app.answer_head(1));
        self.apps.push(app);
    }

    /// Takes the next connection, on which the app takes so many requests.
    fn connected(&self, streams: u32) -> Client {
        until("a connection", || self.opened(streams))
    }

    /// The same where one was opened.
    fn opened(&self, streams: u32) -> Option<Client> {
        let (mut stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut [0; PREFACE.len()]).unwrap();
        let mut app = Client::new(stream);
        app.send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, streams), (INITIAL_WINDOW_SIZE, self.window)]));
        Some(app)
    }

    fn answer(&mut self, app: usize, stream: u32) {
        let block = block(&[(":status", "204")]);
        self.apps[app].send(&Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, block));
    }

    fn in_flight(&self) -> f64 {
        self.gateway.metrics().of("requests_in_flight{app=\"shop\",environment=\"production\"}")
    }

    /// Whoever waits in line.
    fn waiting(&mut self) -> (String, Wire<TcpStream>) {
        let sent = |id: &str| self.heads.iter().any(|head| head.get("x-portcullis-token-id") == Some(id));
        let place = self.callers.iter().position(|(id, _)| !sent(id)).unwrap();
        self.callers.swap_remove(place)
    }

    /// There is room on the first connection, and who waits gets it long before a connection that hangs is given up.
    fn moves_up(&mut self, stream: u32) {
        let began = Instant::now();
        self.apps[0].answer_head(stream);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        self.answer(0, stream);
    }

    /// There is room on the first connection, and the next request gets it.
    fn goes_on(&mut self, stream: u32) {
        let mut wire = self.gateway.connect();
        wire.send(post(&self.token));
        self.apps[0].answer_head(stream);
        self.answer(0, stream);
        assert_eq!(wire.answer().status, 204);
    }
}

/// What is sent twice by nobody.
fn post(token: &str) -> Vec<u8> {
    request("POST /", &[("X-Portcullis-Token", token), ("Content-Length", "0")])
}

/// The same with a body that does not come: however long it takes, the app need not answer yet.
fn unfinished(token: &str) -> Vec<u8> {
    request("POST /", &[("X-Portcullis-Token", token), ("Content-Length", "1")])
}

#[test]
fn who_waits_in_line_goes_with_the_secrets_of_then() {
    let mut full = Full::new();
    full.set("second-value");
    full.answer(0, 1);
    assert_eq!(full.apps[0].answer_head(3).get("authorization"), Some("Bearer second-value"));
    full.answer(0, 3);
    for app in 1..=OPENED {
        assert_eq!(full.heads[app].get("authorization"), Some("Bearer first-value"));
        full.answer(app, 1);
    }
    for (_, mut wire) in std::mem::take(&mut full.callers) {
        assert_eq!(wire.answer().status, 204);
    }
    full.goes_on(5);
}

#[test]
fn who_waits_in_line_does_not_go_without_them() {
    let mut full = Full::new();
    assert_eq!(full.gateway.admin("POST /v1/secrets/KEY/revoke", None).status, 200);
    full.answer(0, 1);
    full.waiting().1.answer().refused(502, "secret_unavailable");
    full.set("second-value");
    full.goes_on(3);
}

#[test]
fn who_waits_in_line_is_ended_like_any_other() {
    let mut full = Full::new();
    let (id, mut wire) = full.waiting();
    let revoked = full.gateway.admin(&format!("POST /v1/tokens/{id}/revoke"), None).json();
    assert_eq!(revoked["ended"], json!({ "requests": 1, "streams": 0 }));
    wire.answer().refused(401, "token_revoked");
    full.answer(0, 1);
    full.goes_on(3);
}

#[test]
fn who_waits_takes_room_wherever_there_is_some() {
    let mut full = Full::new();
    let (_, mut wire) = full.waiting();
    full.answer(OPENED, 1);
    full.apps[OPENED].answer_head(3);
    full.answer(OPENED, 3);
    assert_eq!(wire.answer().status, 204);
}

#[test]
fn where_no_room_comes_another_connection_is_opened() {
    let mut full = Full::new();
    let (_, mut wire) = full.waiting();
    full.accept();
    full.answer(OPENED + 1, 1);
    assert_eq!(wire.answer().status, 204);
}

#[test]
fn who_waits_in_vain_is_told_so_in_time_body_or_not_and_the_app_is_not_to_blame() {
    let mut full = Full::with("1s", unfinished);
    full.waiting().1.answer().refused(504, "upstream_timeout");
    assert!(!full.gateway.stderr().contains("failed a request"), "{}", full.gateway.stderr());
}

#[test]
fn a_body_that_the_app_has_yet_to_take_keeps_its_place_after_the_answer() {
    let mut full = Full { window: 0, ..Full::begin("60s", post) };
    let post = |full: &Full| {
        let mut wire = full.gateway.connect();
        let fields = [("X-Portcullis-Token", &*full.token), ("Content-Length", "4")];
        wire.send([request("POST /", &fields), b"body".to_vec()].concat());
        wire
    };
    let mut answered = post(&full);
    full.accept();
    full.answer(0, 1);
    assert_eq!(answered.answer().status, 204);
    // One request more would stay with the library, and with it the secrets of now.
    let mut next = post(&full);
    full.accept();
    full.answer(1, 1);
    assert_eq!(next.answer().status, 204);
    let wider = Frame::new(WINDOW_UPDATE, 0, 1, 4_u32.to_be_bytes());
    full.apps[0].send(&wider);
    full.apps[0].wait(|frame| frame.kind == DATA && frame.has(END_STREAM)).unwrap();
    full.goes_on(3);
}

#[test]
fn an_app_that_takes_nothing_for_a_while_is_not_stormed_with_connections() {
    let mut full = Full::begin("3s", post);
    full.ask();
    let mut app = full.connected(0);
    let mut others = Vec::new();
    until("no request in flight", || {
        others.extend(full.opened(0));
        (full.in_flight() == 0.0).then_some(())
    });
    full.waiting().1.answer().refused(504, "upstream_timeout");
    // One at once, one after a second, and one two seconds later.
    assert!((1..=3).contains(&others.len()), "{}", others.len());
    full.ask();
    app.send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 1)]));
    app.answer_head(1);
    full.apps.push(app);
    full.answer(0, 1);
    assert_eq!(full.waiting().1.answer().status, 204);
    full.goes_on(3);
}

#[test]
fn a_connection_that_takes_nothing_keeps_nobody_from_another() {
    for auth in AUTHS {
        let mut full = Full::paused(auth);
        (0..ALL).for_each(|_| full.ask());
        let mut app = full.connected(ALL as u32);
        for stream in (1..).step_by(2).take(ALL) {
            app.answer_head(stream);
            app.send(&Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, block(&[(":status", "204")])));
        }
        for (_, mut wire) in std::mem::take(&mut full.callers) {
            assert_eq!(wire.answer().status, 204);
        }
    }
}

#[test]
fn an_app_that_takes_requests_again_gets_them_though_another_connection_hangs() {
    for auth in AUTHS {
        let mut full = Full::paused(auth);
        full.ask();
        // The app says nothing on it.
        let _hangs = until("a connection", || full.listener.accept().ok());
        full.apps[0].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 1)]));
        full.moves_up(3);
        assert_eq!(full.callers.pop().unwrap().1.answer().status, 204);
    }
}

#[test]
fn a_full_connection_that_has_room_again_gets_the_next_request_though_another_one_hangs() {
    for auth in AUTHS {
        for grows in [true, false] {
            let mut full = Full::to("60s", post, auth);
            full.ask();
            full.accept();
            full.ask();
            let _hangs = until("a connection", || full.listener.accept().ok());
            if grows {
                full.apps[0].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
            } else {
                full.answer(0, 1);
            }
            full.moves_up(3);
            assert_eq!(full.callers.pop().unwrap().1.answer().status, 204);
        }
    }
}

#[test]
fn who_stays_in_line_takes_new_room_though_another_connection_hangs() {
    let mut full = Full::new();
    let (_, mut wire) = full.waiting();
    let _hangs = until("another connection", || full.listener.accept().ok());
    full.apps[0].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
    full.moves_up(3);
    assert_eq!(wire.answer().status, 204);
}

#[test]
fn who_has_another_app_to_go_to_does_not_wait_for_one_that_takes_neither_requests_nor_connections() {
    for auth in AUTHS {
        let well = App::echo();
        let mut full = Full::paused_among(&[&well.url()], auth);
        full.listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..4 {
            full.ask();
            assert_eq!(full.callers.pop().unwrap().1.answer().status, 200);
        }
    }
}

#[test]
fn an_app_that_takes_nothing_is_left_for_one_that_failed_before_and_is_well_again() {
    for auth in AUTHS {
        let is_well = Arc::new(AtomicBool::new(false));
        let well = is_well.clone();
        let other = App::start(move |exchange| match well.load(Ordering::Relaxed) {
            true => exchange.answer(b"hi"),
            false => exchange.close(),
        });
        let mut full = Full::paused_among(&[&other.url()], auth);
        let healthy =
            format!(r#"upstream_healthy{{app="shop",environment="production",upstream="{}"}}"#, other.url());
        until("the other to be left out", || {
            full.ask();
            (full.gateway.metrics().of(&healthy) == 0.0).then_some(())
        });
        is_well.store(true, Ordering::Relaxed);
        full.listener = TcpListener::bind("127.0.0.1:0").unwrap();
        full.ask();
        assert_eq!(full.callers.pop().unwrap().1.answer().status, 200);
        assert_eq!(full.gateway.metrics().of(&healthy), 1.0);
        until("all to be answered there", || (full.in_flight() == 0.0).then_some(()));
    }
}

#[test]
fn an_app_that_takes_nothing_on_further_connections_either_is_left_for_another() {
    for auth in AUTHS {
        let well = App::echo();
        let mut full = Full::paused_among(&[&well.url()], auth);
        let mut opened = Vec::new();
        for _ in 0..4 {
            full.ask();
            let mut wire = full.callers.pop().unwrap().1;
            wire.stream.set_nonblocking(true).unwrap();
            until("an answer", || {
                opened.extend(full.opened(0));
                wire.stream.peek(&mut [0]).ok()
            });
            wire.stream.set_nonblocking(false).unwrap();
            assert_eq!(wire.answer().status, 200);
        }
        assert!(opened.len() <= 4, "{}", opened.len());
    }
}

#[test]
fn whichever_app_takes_requests_again_first_gets_all_that_wait() {
    for (auth, place) in AUTHS.into_iter().flat_map(|auth| [(auth, 0), (auth, 1)]) {
        let mut other = TcpListener::bind("127.0.0.1:0").unwrap();
        other.set_nonblocking(true).unwrap();
        let url = format!("h2c://{}", other.local_addr().unwrap());
        let mut full = Full::among(&[&url], "60s", post, auth);
        for app in 0..2 {
            full.ask();
            full.accept();
            full.apps[app].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 0)]));
            full.answer(app, 1);
            assert_eq!(full.callers.pop().unwrap().1.answer().status, 204);
            std::mem::swap(&mut full.listener, &mut other);
        }
        for _ in 0..4 {
            full.ask();
        }
        until("requests in flight", || (full.in_flight() == 4.0).then_some(()));
        let began = Instant::now();
        full.apps[place].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 10)]));
        for stream in [3, 5, 7, 9] {
            full.apps[place].answer_head(stream);
            full.answer(place, stream);
        }
        for (_, mut wire) in std::mem::take(&mut full.callers) {
            assert_eq!(wire.answer().status, 204);
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}

#[test]
fn who_has_no_other_that_lives_waits_for_one_that_takes_no_connection_either() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = [&*format!("http://{dead}")];
    for (auth, others) in AUTHS.into_iter().flat_map(|auth| [(auth, &dead[..0]), (auth, &dead[..])]) {
        let mut full = Full::paused_among(others, auth);
        full.ask();
        drop(until("a connection", || full.listener.accept().ok()));
        full.listener = TcpListener::bind("127.0.0.1:0").unwrap();
        full.ask();
        until("requests in flight", || (full.in_flight() == 2.0).then_some(()));
        full.apps[0].send(&Frame::settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
        for stream in [3, 5] {
            full.apps[0].answer_head(stream);
            full.answer(0, stream);
        }
        for (_, mut wire) in std::mem::take(&mut full.callers) {
            assert_eq!(wire.answer().status, 204);
        }
    }
}
