//! What is bounded: connections, time, sizes, and the end of serving itself. And what is left on record.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::until;
use crate::support::websocket;
use crate::support::wire::{Wire, request};

const HOST: &str = "shop.localhost";
const HEALTH: &str = "GET /.portcullis/healthz";

#[test]
fn past_the_limit_new_connections_wait_and_those_that_are_open_go_on() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "connections", "2").start();
    let token = gateway.mint("production").secret;
    let ask = |wire: &mut Wire<TcpStream>| {
        wire.send(with_token("GET /", HOST, &token));
        wire.answer().status
    };
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    assert_eq!((ask(&mut first), ask(&mut second)), (200, 200));

    let mut third = gateway.connect();
    third.send(with_token("GET /third", HOST, &token));
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = third.head().unwrap_err();
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    assert_eq!((ask(&mut first), ask(&mut second)), (200, 200));
    assert!(app.requests().iter().all(|request| request.head.target() == "/"));

    drop(second);
    third.stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    assert_eq!(third.answer().status, 200);
    assert_eq!(ask(&mut first), 200);
}

#[test]
fn a_connection_that_never_finishes_a_head_is_closed_in_time() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "header_timeout", "\"600ms\"").start();
    let closed = |send: &[u8], drip: &[u8]| {
        let began = Instant::now();
        let mut wire = gateway.connect();
        wire.send(send);
        wire.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let answer = until("the end of the connection", || match wire.head() {
            Ok(head) => Some(head),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                wire.send(drip);
                None
            }
            Err(error) => panic!("{error}"),
        });
        assert!(began.elapsed() >= Duration::from_millis(550), "{:?}", began.elapsed());
        answer
    };
    thread::scope(|scope| {
        let silent = scope.spawn(|| closed(b"", b""));
        let halves =
            [(&b"GET / HT"[..], &b""[..]), (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"), (b"P", b"")];
        let halves = halves.map(|(send, drip)| scope.spawn(move || closed(send, drip)));
        assert!(silent.join().unwrap().is_none(), "who said nothing is told nothing");
        for half in halves {
            let head = half.join().unwrap().expect("half a head is answered");
            assert_eq!((head.status(), head.get("connection")), (408, Some("close")));
            let line = gateway.logged(head.get("x-request-id").unwrap());
            assert_eq!((&line["code"], &line["path"]), (&"request_timeout".into(), &"".into()), "{line}");
        }
    });
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_connection_without_a_request_is_closed_after_the_idle_time() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"1s\"").start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    let mut ask = || {
        // Not after the answer: by then the gateway may be some way ahead.
        let began = Instant::now();
        wire.send(with_token("GET /", HOST, &token));
        assert_eq!(wire.answer().status, 200);
        began
    };
    ask();
    let began = ask();
    assert!(wire.head().unwrap().is_none(), "an orderly end");
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
}

#[test]
fn a_body_that_stops_coming_is_answered_with_408() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"500ms\"").start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    let fields = [("X-Portcullis-Token", token.as_str()), ("Content-Length", "10")];
    wire.send([&request("POST /", &fields), &b"12345"[..]].concat());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(answer.get("connection"), Some("close"));
    wire.wait_for_end();
}

#[test]
fn a_client_that_stops_reading_is_dropped_after_the_idle_time() {
    let (end, ends) = channel();
    let app = App::start(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while exchange.send(vec![b'x'; 64 << 10]) {}
        let _ = end.send(());
    });
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"500ms\"").start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(with_token("GET /", HOST, &token));
    let head = wire.head().unwrap().unwrap();
    ends.recv_timeout(crate::support::PATIENCE).unwrap();
    let line = gateway.logged(head.get("x-request-id").unwrap());
    assert_eq!((&line["ended"], &line["status"]), (&"client_gone".into(), &200.into()), "{line}");
    wire.wait_for_end();
}

#[test]
fn an_app_that_falls_silent_within_its_answer_ends_it() {
    let app = App::start(|exchange| {
        let head = match exchange.head.target() {
            "/tunnel" => {
                "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        };
        exchange.send(head);
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway =
        Setup::new(&app).set("apps.shop.environments.production", "timeouts", "{ idle = \"1s\" }").start();
    let token = gateway.mint("production").secret;
    let upgrade = websocket::wish(&token);
    for (request, status, ended) in [
        (with_token("GET /download", HOST, &token), 200, "upstream_gone"),
        (request("GET /tunnel", &upgrade), 101, "upstream_gone"),
    ] {
        let began = Instant::now();
        let mut wire = gateway.connect();
        wire.send(request);
        let head = wire.head().unwrap().unwrap();
        assert_eq!(head.status(), status);
        wire.wait_for_end();
        assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
        let line = gateway.logged(head.get("x-request-id").unwrap());
        assert_eq!(line["ended"], ended, "{line}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_announced_or_counted() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "body_bytes", "1000").start();
    let token = gateway.mint("production").secret;
    let post = |body: &[u8], chunked: bool| {
        let length = body.len().to_string();
        let framing = if chunked { ("Transfer-Encoding", "chunked") } else { ("Content-Length", &*length) };
        let head = request("POST /", &[("X-Portcullis-Token", &token), framing]);
        let body = if chunked {
            [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
        } else {
            body.to_vec()
        };
        gateway.ask([head, body].concat())
    };
    for chunked in [false, true] {
        let fits = post(&[b'x'; 1000], chunked);
        assert_eq!((fits.status, fits.body.len()), (200, 1000));
        let over = post(&[b'x'; 1001], chunked);
        assert_eq!((over.status, over.code().as_str()), (413, "body_too_large"));
        assert_eq!(over.get("connection"), Some("close"));
    }
    let whole = app.requests().iter().filter(|request| request.body.len() == 1000).count();
    assert_eq!(whole, 2);
    assert!(!app.bytes().windows(1001).any(|bytes| bytes.iter().all(|byte| *byte == b'x')));
}

#[test]
fn heads_are_bounded_in_bytes_and_in_fields() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("gateway.limits", "header_bytes", "8192")
        .set("gateway.limits", "headers", "20")
        .start();
    let token = gateway.mint("production").secret;
    let wide =
        |bytes: usize| request("GET /", &[("X-Portcullis-Token", &token), ("X-Filler", &"x".repeat(bytes))]);
    let deep = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("X-Filler-{number}")).collect();
        let mut fields: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        fields.push(("X-Portcullis-Token", &token));
        request("GET /", &fields)
    };
    let room = 8192 - wide(0).len();
    for fits in [wide(room), deep(18)] {
        assert_eq!(gateway.ask(fits).status, 200);
    }
    for over in [wide(room + 1), wide(100_000), deep(19), deep(200)] {
        let mut wire = gateway.connect();
        wire.send(over);
        let head = wire.head().unwrap().unwrap();
        assert_eq!((head.status(), head.get("connection")), (431, Some("close")));
        wire.wait_for_end();
    }
    assert_eq!(app.requests().len(), 2);
}

#[test]
fn a_drain_lets_what_is_in_flight_complete() {
    let (app, release) = gated_app();
    let mut gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut idle = gateway.connect();
    idle.send(with_token("GET /", HOST, &token));
    assert_eq!(idle.answer().status, 200);
    let mut busy = gateway.connect();
    busy.send(with_token("GET /gated", HOST, &token));
    app.wait_for(2);

    gateway.signal(Signal::TERM);
    let address = gateway.address();
    until("no new connections", || TcpStream::connect(address).is_err().then_some(()));
    assert!(idle.head().unwrap().is_none(), "an idle connection ends in an orderly way");
    release.send(()).unwrap();
    let answer = busy.answer();
    assert_eq!((answer.status, answer.get("connection")), (200, Some("close")));
    let began = Instant::now();
    assert!(gateway.exit().success());
    assert!(began.elapsed() < Duration::from_secs(10), "nothing was left to wait for");
    assert_eq!(gateway.log().len(), 2);
}

#[test]
fn a_drain_that_takes_too_long_ends_all_the_same() {
    let (app, _release) = gated_app();
    let mut gateway = Setup::new(&app).set("gateway", "drain_timeout", "\"500ms\"").start();
    let token = gateway.mint("production").secret;
    let mut busy = gateway.connect();
    busy.send(with_token("GET /gated", HOST, &token));
    app.wait_for(1);
    let began = Instant::now();
    gateway.signal(Signal::INT);
    assert!(gateway.exit().success());
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    busy.wait_for_end();
    let lines = gateway.log();
    assert_eq!(lines.len(), 1, "what was dropped has its line too: {lines:?}");
    assert_eq!((&lines[0]["status"], &lines[0]["ended"]), (&503.into(), &"shut_down".into()), "{lines:?}");
}

#[test]
fn before_a_drain_load_balancers_are_told_and_a_second_signal_ends_it_at_once() {
    let (app, _release) = gated_app();
    let mut gateway = Setup::new(&app)
        .set("gateway", "drain_delay", "\"60s\"")
        .set("gateway", "drain_timeout", "\"60s\"")
        .start();
    let token = gateway.mint("production").secret;
    let health = || gateway.ask(request(HEALTH, &[("Host", "unknown.example")])).status;
    assert_eq!(health(), 200);
    assert_eq!(gateway.admin("GET /readyz", None).status, 200);
    let mut busy = gateway.connect();
    busy.send(with_token("GET /gated", HOST, &token));
    app.wait_for(1);

    gateway.signal(Signal::TERM);
    until("the health check to say it", || (health() == 503).then_some(()));
    let ready = gateway.admin("GET /readyz", None);
    assert_eq!((ready.status, ready.code().as_str()), (503, "draining"));
    assert_eq!(gateway.admin("GET /healthz", None).status, 200);
    let still = gateway.ask(with_token("GET /", HOST, &token));
    assert_eq!(still.status, 200, "new connections are taken for as long as the delay lasts");

    let began = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    busy.wait_for_end();
}

#[test]
fn a_moved_access_log_is_begun_anew_on_a_signal() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let moved = gateway.path("access.log.1");
    let first = gateway.ask(request("GET /", &[]));
    gateway.logged(first.get("x-request-id").unwrap());
    fs::rename(gateway.path("access.log"), &moved).unwrap();
    gateway.signal(Signal::HUP);
    until("a new file", || gateway.path("access.log").exists().then_some(()));
    let second = gateway.ask(request("GET /", &[]));
    gateway.logged(second.get("x-request-id").unwrap());
    assert_eq!(gateway.log().len(), 1);
    assert_eq!(fs::read_to_string(moved).unwrap().lines().count(), 1);
}

/// An app that answers at once, but `/gated` only once for each message; and the sender of those.
fn gated_app() -> (App, Sender<()>) {
    let (release, released) = channel();
    let released = Mutex::new(released);
    let app = App::start(move |exchange| {
        if exchange.head.target() == "/gated" && released.lock().unwrap().recv().is_err() {
            return exchange.close();
        }
        exchange.answer(b"done");
    });
    (app, release)
}
