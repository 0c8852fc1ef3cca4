//! Who goes before an answer is there, or before it was taken: what becomes of the request, and what the log says of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{CANCEL, Client, DATA, END_HEADERS, Frame, HEADERS, PREFACE, block};
use crate::support::wire::{Wire, request};
use crate::support::{PATIENCE, until};

const HOST: &str = "shop.localhost";
/// Of an answer that the gateway reads at once, and how many of them do not fit between it and a client.
const LENGTH: usize = 20_000;
const ANSWERS: usize = 40;
const IN_FLIGHT: &str = "requests_in_flight{app=\"shop\",environment=\"production\"}";

/// Ends a connection so that nothing of it may be delivered any more.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The only line that there comes to be of a path.
fn line(gateway: &Gateway, path: &str) -> Value {
    until("the line", || gateway.log().into_iter().find(|line| line["path"] == path))
}

fn is_client_gone(line: &Value) {
    let said = [&line["status"], &line["code"], &line["ended"], &line["bytes_out"]];
    assert_eq!(said, [&json!(499), &json!("ok"), &json!("client_gone"), &json!(0)], "{line}");
}

/// A client that is agreed to take little at once.
fn narrow(gateway: &Gateway) -> Wire<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before it connects: the window is agreed on then.
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Wire::new(stream)
}

#[test]
fn a_client_that_is_gone_is_noticed_behind_bytes_that_nobody_reads() {
    let app = App::start(|exchange| {
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(&app).and(&authority.entry("127.0.0.1:0", "shop")).start();
    let token = gateway.mint("production").secret;
    let ahead = |path: &str| [&with_token(&format!("GET {path}"), HOST, &token)[..], b"G"].concat();
    let mut plain = gateway.connect();
    plain.send(ahead("/plain"));
    let stream = TcpStream::connect(gateway.tls_address()).unwrap();
    let below = stream.try_clone().unwrap();
    let mut tls = authority.client().over(stream, HOST).unwrap();
    tls.send(ahead("/tls"));
    app.wait_for(2);
    reset(&plain.stream);
    reset(&below);
    drop((plain, tls, below));
    is_client_gone(&line(&gateway, "/plain"));
    is_client_gone(&line(&gateway, "/tls"));
}

#[test]
fn a_client_that_is_gone_does_not_wait_for_the_app_to_take_its_upload() {
    let (tell, told) = mpsc::channel();
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    // It takes the head and no more.
    let app = App::start(move |exchange| {
        tell.send(()).unwrap();
        assert!(held.lock().unwrap().recv().is_err());
        exchange.close();
    });
    let gateway = Setup::new(&app).both("connections", "1").both("timeouts", "{ connect = \"60s\" }").start();
    let token = gateway.mint("production").secret;
    let post = |path: &str, length: &str| {
        request(&format!("POST {path}"), &[("X-Portcullis-Token", &token), ("Content-Length", length)])
    };
    let mut uploading = gateway.connect();
    uploading.send(post("/uploading", "1000000000"));
    told.recv().unwrap();
    // As much as fits between the two.
    uploading.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while uploading.stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    // These wait until there is a connection for them. One is closed in good order, which only tells if it was not all.
    let in_line = ["/reset", "/closed"].map(|path| {
        let mut wire = gateway.connect();
        wire.send([&post(path, "10")[..], b"abc"].concat());
        wire
    });
    until("three in flight", || (gateway.metrics().of(IN_FLIGHT) == 3.0).then_some(()));
    reset(&in_line[0].stream);
    drop(in_line);
    is_client_gone(&line(&gateway, "/reset"));
    is_client_gone(&line(&gateway, "/closed"));
    reset(&uploading.stream);
    drop(uploading);
    is_client_gone(&line(&gateway, "/uploading"));
    // None of those who waited was sent on.
    assert_eq!(app.requests().len(), 1);
    drop(hold);
}

#[test]
fn a_client_that_goes_in_the_middle_of_its_body_is_gone_and_not_refused() {
    let app = App::start(|exchange| {
        exchange.body();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    for (path, framing, body) in [
        ("/length", ("Content-Length", "10"), "abc"),
        ("/chunk", ("Transfer-Encoding", "chunked"), "5\r\nab"),
        ("/between", ("Transfer-Encoding", "chunked"), "2\r\nab\r\n"),
    ] {
        for how in ["/half", "/reset"] {
            let path = [path, how].concat();
            let mut wire = gateway.connect();
            let fields = [("X-Portcullis-Token", &*token.secret), framing];
            wire.send([&request(&format!("POST {path}"), &fields), body.as_bytes()].concat());
            let heads = || app.requests().iter().any(|seen| seen.head.target() == path);
            until("the request at the app", || heads().then_some(()));
            if how == "/half" {
                wire.finish();
                assert!(wire.rest().is_err() || wire.rest().unwrap().is_empty());
            } else {
                reset(&wire.stream);
                drop(wire);
            }
            is_client_gone(&line(&gateway, &path));
        }
    }
    let denials = gateway.admin("GET /v1/denials", None).json();
    assert_eq!(denials["items"], json!([]), "{denials}");
}

/// Requests whose answers the client takes nothing of, the gateway has one of them whole, and cannot get rid of it.
fn stuck(gateway: &Gateway, token: &str) -> Wire<TcpStream> {
    let mut wire = narrow(gateway);
    let paths = (0..ANSWERS).map(|number| with_token(&format!("GET /{number}"), HOST, token));
    wire.send(paths.collect::<Vec<_>>().concat());
    // There is only one connection to the app. When another gets it, the answer that was under way there has come whole,
    // and once no more of them come, the last is stuck.
    let other = gateway.mint("production").secret;
    let mut lines = 0;
    until("an answer to be stuck", || {
        let answer = gateway.ask(with_token("GET /other", HOST, &other));
        assert_eq!(answer.body.len(), LENGTH);
        gateway.logged(answer.get("x-request-id").unwrap());
        let now = gateway.log().iter().filter(|line| line["path"] != "/other").count();
        let is_stuck = now == lines && now > 0;
        lines = now;
        is_stuck.then_some(())
    });
    wire
}

/// The lines of the answers that were begun, the last of which was stuck.
fn ends(gateway: &Gateway, last: &str) {
    let find = || {
        let lines = gateway.log().into_iter().filter(|line| line["path"] != "/other");
        let ends: Vec<_> = lines.map(|line| line["ended"].as_str().unwrap().to_owned()).collect();
        ends.iter().any(|ended| ended != "complete").then_some(ends)
    };
    let ends = until("the line of the answer that was stuck", find);
    assert!(ends.len() < ANSWERS, "{ends:?}");
    assert_eq!(ends.last().unwrap(), last, "{ends:?}");
}

#[test]
fn an_answer_is_in_flight_until_it_is_written() {
    let app = App::start(|exchange| exchange.answer(&[b'x'; LENGTH]));
    let gateway = Setup::new(&app).set("gateway", "workers", "1").both("connections", "1").start();
    let token = gateway.mint("production");
    let mut wire = stuck(&gateway, &token.secret);
    assert_eq!(gateway.revoke(&token.id)["ended"], json!({ "requests": 0, "streams": 1 }));
    assert!(wire.rest().is_err());
    ends(&gateway, "revoked");
}

#[test]
fn an_answer_that_is_not_taken_to_its_end_is_not_complete() {
    let app = App::start(|exchange| exchange.answer(&[b'x'; LENGTH]));
    let gateway = Setup::new(&app)
        .set("gateway", "workers", "1")
        .set("gateway.limits", "idle_timeout", "\"3s\"")
        .both("connections", "1")
        .start();
    let token = gateway.mint("production").secret;
    let _wire = stuck(&gateway, &token);
    ends(&gateway, "client_gone");
}

#[test]
fn an_early_answer_says_that_nothing_is_served_behind_it() {
    let app = App::start(|exchange| {
        exchange.answer(b"early");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "10")]));
    wire.send("abc");
    let answer = wire.answer();
    assert_eq!((answer.text(), answer.get("connection")), ("early", Some("close")));
    wire.finish();
    assert!(wire.rest().unwrap().is_empty());
}

/// An app over HTTP/2 that sends this over the stream of each request, and no end of it.
fn endless(frames: impl Fn(u32) -> Vec<Frame> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; PREFACE.len()]).unwrap();
        let mut peer = Client::new(stream);
        peer.send(&Frame::settings(&[]));
        while let Some(asked) = peer.wait(|frame| frame.kind == HEADERS) {
            let answer: Vec<_> = frames(asked.stream).iter().flat_map(Frame::bytes).collect();
            peer.try_send(&answer);
        }
    });
    address
}

#[test]
fn an_answer_is_over_when_the_client_has_it_whatever_the_app_says_of_it() {
    let hello = |stream: u32| {
        let head = block(&[(":status", "200"), ("content-length", "5")]);
        vec![Frame::new(HEADERS, END_HEADERS, stream, head), Frame::new(DATA, 0, stream, "hello")]
    };
    let broken = move |stream: u32| {
        let mut frames = hello(stream);
        frames.push(Frame::reset(stream, CANCEL));
        frames
    };
    let nothing = |stream: u32| {
        let head = block(&[(":status", "204")]);
        vec![Frame::new(HEADERS, END_HEADERS, stream, head), Frame::new(DATA, 0, stream, "abc")]
    };
    for (app, body) in [(endless(hello), "hello"), (endless(broken), "hello"), (endless(nothing), "")] {
        let gateway = Setup::with_upstreams(&[&format!("h2c://{app}")]).start();
        let token = gateway.mint("production");
        let answer = gateway.ask(with_token("GET /", HOST, &token.secret));
        assert_eq!(answer.text(), body);
        // Were it in flight still, this would meet it.
        assert_eq!(gateway.revoke(&token.id)["ended"], json!({ "requests": 0, "streams": 0 }));
        let line = gateway.logged(answer.get("x-request-id").unwrap());
        assert_eq!((&line["ended"], &line["bytes_out"]), (&json!("complete"), &json!(body.len())), "{line}");
    }
}

#[test]
fn a_head_that_cannot_be_read_has_no_method() {
    let gateway = Gateway::before(&App::echo());
    let answer = gateway.ask("HEAD /  HTTP/1.1\r\nHost: shop.localhost\r\n\r\n");
    answer.refused(400, "invalid_request");
    let line = gateway.logged(answer.get("x-request-id").unwrap());
    assert_eq!((&line["method"], &line["path"]), (&json!(""), &json!("")), "{line}");
}
