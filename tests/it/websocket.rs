//! WebSockets: bytes pass both ways once the app has agreed, and not one before.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::mpsc;

use crate::support::app::{App, Exchange};
use crate::support::gateway::Gateway;
use crate::support::wire::request;

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A request to upgrade, with a token.
fn opening(line: &str, token: &str) -> Vec<u8> {
    let fields = [
        ("X-Portcullis-Token", token),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    request(line, &fields)
}

/// Agrees, says `welcome` in the same breath, and answers each five bytes with them reversed.
fn reverse(exchange: &mut Exchange<'_>) {
    exchange.send([AGREED, "welcome"].concat());
    while let Ok(mut bytes) = exchange.wire.take(5) {
        bytes.reverse();
        exchange.send(bytes);
    }
    exchange.close();
}

#[test]
fn bytes_pass_both_ways_once_the_app_agrees() {
    let app = App::start(reverse);
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    // What the client sends ahead of the agreement reaches the app after it.
    wire.send([opening("GET /chat", &token), b"early".to_vec()].concat());
    let head = wire.head().unwrap().unwrap();
    assert_eq!(head.status(), 101);
    assert_eq!((head.get("upgrade"), head.get("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(wire.take(12).unwrap(), b"welcomeylrae");
    for word in ["abcde", "\0\r\n\r\u{1}"] {
        wire.send(word);
        let reversed: Vec<u8> = word.bytes().rev().collect();
        assert_eq!(wire.take(5).unwrap(), reversed);
    }
    wire.finish();
    assert!(wire.rest().unwrap().is_empty());

    let seen = app.only();
    assert_eq!((seen.head.get("upgrade"), seen.head.get("connection")), (Some("websocket"), Some("upgrade")));
    for (name, value) in [
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", Some("chat")),
        ("x-portcullis-token", None),
    ] {
        assert_eq!(seen.head.get(name), value, "{name}");
    }
    let line = gateway.logged(head.get("x-request-id").unwrap());
    assert_eq!((&line["status"], &line["ended"]), (&101.into(), &"upgraded".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&15.into(), &22.into()));
}

#[test]
fn either_side_may_end_it() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |exchange| {
        exchange.send(AGREED);
        match exchange.head.target() {
            "/app" => exchange.close(),
            _ => exchange.wire.wait_for_end(),
        }
        tell.send(()).unwrap();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(opening("GET /app", &token));
    assert_eq!(wire.answer().status, 101);
    wire.wait_for_end();
    told.recv().unwrap();

    let mut wire = gateway.connect();
    wire.send(opening("GET /client", &token));
    assert_eq!(wire.answer().status, 101);
    drop(wire);
    told.recv().unwrap();
}

#[test]
fn an_app_that_declines_gets_no_byte_of_a_tunnel() {
    let app = App::start(|exchange| exchange.answer(b"no sockets here"));
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    // Once declined, these are no frames but the next request, and a request they are not.
    wire.send([opening("GET /chat", &token), b"\x81\x85frames\r\n\r\n".to_vec()].concat());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text()), (200, "no sockets here"));
    assert_eq!(answer.get("upgrade"), None);
    assert_eq!(wire.head().unwrap().map(|head| head.status()), Some(400));
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("frames"));
    assert_eq!(app.only().head.target(), "/chat");

    // A request that follows is judged like any other.
    let mut wire = gateway.connect();
    wire.send([opening("GET /chat", &token), request("GET /next", &[])].concat());
    assert_eq!(wire.answer().status, 200);
    wire.answer().refused(401, "token_missing");
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("/next"));
}

#[test]
fn an_agreement_to_something_else_is_none() {
    let app = App::start(|exchange| {
        let agreed = match exchange.head.target() {
            "/other" => AGREED.replace("websocket", "h2c"),
            "/silent" => AGREED.replace("Upgrade: websocket\r\n", ""),
            "/half" => "HTTP/1.1 101 Switching".to_owned(),
            _ => String::new(),
        };
        exchange.send(agreed);
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for target in ["/other", "/silent", "/half", "/nothing"] {
        let answer = gateway.ask(opening(&format!("GET {target}"), &token));
        assert_eq!(answer.status, 502, "{target}: {answer:?}");
    }
}

#[test]
fn without_a_token_there_is_nothing_to_agree_to() {
    let app = App::start(reverse);
    let gateway = Gateway::before(&app);
    gateway.ask(opening("GET /chat", "nonsense")).refused(401, "token_unknown");
    assert!(app.bytes().is_empty());
}

#[test]
fn what_the_app_said_last_arrives_while_the_client_still_talks() {
    const LAST: usize = 1 << 20;
    let app = App::start(|exchange| {
        exchange.send(AGREED);
        exchange.wire.take(5).unwrap();
        exchange.send(vec![b'x'; LAST]);
        exchange.wire.stream.stream.shutdown(Shutdown::Write).unwrap();
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(opening("GET /chat", &token));
    assert_eq!(wire.answer().status, 101);
    wire.send("hello");
    let mut talking = wire.stream.try_clone().unwrap();
    let talker = std::thread::spawn(move || (0..8).all(|_| talking.write_all(&[b'y'; 20_000]).is_ok()));
    assert_eq!(wire.rest().unwrap().len(), LAST);
    let _ = talker.join().unwrap();
}
