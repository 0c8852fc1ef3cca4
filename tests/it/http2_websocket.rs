//! WebSockets over HTTP/2 (RFC 8441): to the app they are upgrades like any other, to the client streams.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::app::{App, Exchange};
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{
    CANCEL, Client, DATA, END_STREAM, Frame, INITIAL_WINDOW_SIZE, Outcome, SETTINGS, WINDOW_UPDATE, connect,
    connect_with,
};
use crate::support::websocket::{agree, proof};
use crate::support::{PATIENCE, until};

const TOKEN: &str = "x-portcullis-token";
const WEBSOCKET: (&str, &str) = (":protocol", "websocket");

/// Agrees, says `welcome` in the same breath, and answers each five bytes with them reversed.
fn reverse(exchange: &mut Exchange<'_>) {
    agree(exchange, "Sec-WebSocket-Protocol: chat\r\n");
    exchange.send("welcome");
    while let Ok(mut bytes) = exchange.wire.take(5) {
        bytes.reverse();
        exchange.send(bytes);
    }
    exchange.close();
}

fn open(client: &mut Client, path: &str, token: &str) -> u32 {
    let fields =
        [WEBSOCKET, (TOKEN, token), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")];
    client.begin("CONNECT", path, &fields)
}

/// So many bytes of a stream, however they are cut.
fn take(client: &mut Client, stream: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let frame = client.wait(|frame| frame.stream == stream && frame.kind == DATA).unwrap();
        bytes.extend(frame.payload);
    }
    assert_eq!(bytes.len(), length);
    bytes
}

#[test]
fn bytes_pass_both_ways_once_the_app_agrees() {
    let app = App::start(reverse);
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let settings = client.wait(|frame| frame.kind == SETTINGS).unwrap();
    // SETTINGS_ENABLE_CONNECT_PROTOCOL.
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:?}");
    let stream = open(&mut client, "/chat?a=b", &token);
    // What is sent ahead of the agreement reaches the app after it.
    client.data(stream, b"early", 0);
    let head = client.answer_head(stream);
    assert_eq!((head.status(), head.get("sec-websocket-protocol")), (200, Some("chat")));
    for name in ["upgrade", "connection", "sec-websocket-accept", "content-length", "transfer-encoding"] {
        assert_eq!(head.get(name), None, "{name}");
    }
    assert_eq!(take(&mut client, stream, 12), b"welcomeylrae");
    client.data(stream, b"abcde", 0);
    assert_eq!(take(&mut client, stream, 5), b"edcba");
    let tunnels = |name: &str| {
        gateway.metrics().of(&format!(r#"tunnels_{name}{{app="shop",environment="production"}}"#))
    };
    assert_eq!((tunnels("open"), tunnels("total")), (1.0, 1.0));
    // Other requests go on beside it.
    let other = client.ask("GET", "/.portcullis/healthz", &[]);
    assert_eq!(client.answer(other).status, 200);
    client.data(stream, b"", END_STREAM);
    let end = client.wait(|frame| frame.stream == stream && frame.kind == DATA).unwrap();
    assert!(end.payload.is_empty() && end.has(END_STREAM), "{end:?}");

    let seen = app.only().head;
    assert_eq!(seen.line, "GET /chat?a=b HTTP/1.1");
    for (name, value) in [
        ("host", Some("shop.localhost")),
        ("upgrade", Some("websocket")),
        ("connection", Some("upgrade")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", Some("chat")),
        ("content-length", None),
        ("transfer-encoding", None),
        (TOKEN, None),
    ] {
        assert_eq!(seen.get(name), value, "{name}");
    }
    assert_eq!(BASE64_STANDARD.decode(seen.get("sec-websocket-key").unwrap()).unwrap().len(), 16);
    let line = gateway.logged(head.get("x-request-id").unwrap());
    assert_eq!(
        (&line["status"], &line["ended"], &line["method"]),
        (&json!(200), &json!("upgraded"), &json!("CONNECT"))
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"], &line["protocol"]),
        (&json!(10), &json!(17), &json!("HTTP/2"))
    );
    assert_eq!((tunnels("open"), tunnels("total")), (0.0, 1.0));
}

#[test]
fn either_side_may_end_it() {
    let (tell, told) = channel();
    let app = App::start(move |exchange| {
        agree(exchange, "");
        match exchange.head.target() {
            "/app" => drop(exchange.send("last words")),
            _ => exchange.wire.wait_for_end(),
        }
        exchange.close();
        tell.send(exchange.head.target().to_owned()).unwrap();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let stream = open(&mut client, "/app", &token);
    let Outcome::Whole(answer, _) = client.outcome(stream) else { panic!("an orderly end") };
    assert_eq!((answer.status, answer.text()), (200, "last words"));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "/app");
    for end in [Frame::new(DATA, END_STREAM, 0, []), Frame::reset(0, CANCEL)] {
        let stream = open(&mut client, "/client", &token);
        assert_eq!(client.answer_head(stream).status(), 200);
        client.send(&Frame { stream, ..end });
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "/client");
    }
    open(&mut client, "/gone", &token);
    app.wait_for(4);
    drop(client);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "/gone");
}

#[test]
fn a_revocation_cuts_it_and_nothing_else() {
    let app = App::start(|exchange| {
        agree(exchange, "");
        while exchange.send([b'x'; 1_000]) {
            thread::sleep(Duration::from_millis(2));
        }
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let (lost, kept) = (gateway.mint("production"), gateway.mint("production"));
    // A window that is full before long, and one that is not.
    for window in [0, 3_000, 1 << 20] {
        let mut client = connect_with(gateway.address(), &[(INITIAL_WINDOW_SIZE, window)]);
        let lost = if window == 0 { &lost } else { &gateway.mint("production") };
        let (cut, other) =
            (open(&mut client, "/cut", &lost.secret), open(&mut client, "/other", &kept.secret));
        let head = client.answer_head(cut);
        assert_eq!((head.status(), client.answer_head(other).status()), (200, 200));
        assert_eq!(gateway.revoke(&lost.id)["ended"], json!({ "requests": 0, "streams": 1 }));
        assert_eq!(client.reset(cut), CANCEL);
        let line = gateway.logged(head.get("x-request-id").unwrap());
        assert_eq!((&line["ended"], &line["status"]), (&json!("revoked"), &json!(200)), "{line}");
        client.send(&Frame::new(WINDOW_UPDATE, 0, other, 100_000u32.to_be_bytes()));
        let seen = client.kept(DATA);
        until("more of the other", || {
            client.sync();
            (client.kept(DATA) > seen).then_some(())
        });
    }
}

#[test]
fn it_is_judged_like_the_get_that_it_stands_for() {
    let app = App::start(reverse);
    let gateway = Gateway::before(&app);
    let mut client = connect(gateway.address());
    let stream = open(&mut client, "/chat", "nonsense");
    client.answer(stream).refused(401, "token_unknown");
    let stream = client.begin("CONNECT", "/.portcullis/healthz", &[WEBSOCKET]);
    client.answer(stream).refused(405, "method_not_allowed");
    assert!(app.bytes().is_empty());
}

#[test]
fn an_app_that_does_not_agree_gets_no_byte_of_a_tunnel() {
    let app = App::start(|exchange| {
        let proven = proof(exchange.head.get("sec-websocket-key").unwrap());
        let agreed = |accept: &str| {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{accept}\r\n"
            )
        };
        let accept = format!("Sec-WebSocket-Accept: {proven}\r\n");
        let answer = match exchange.head.target() {
            "/404" => "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_owned(),
            "/200" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            "/unproven" => agreed(""),
            "/wrong" => agreed("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "/twice" => agreed(&accept.repeat(2)),
            "/other" => agreed(&accept).replace("websocket", "h2c"),
            _ => "HTTP/1.1 101 Switching".to_owned(),
        };
        exchange.send(answer);
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let stream = open(&mut client, "/404", &token);
    client.data(stream, b"frames", 0);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text()), (404, "none"));
    for path in ["/200", "/unproven", "/wrong", "/twice", "/other", "/half"] {
        let stream = open(&mut client, path, &token);
        client.data(stream, b"frames", 0);
        let answer = client.answer(stream);
        assert_eq!(answer.status, 502, "{path}");
    }
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("frames"));
}

#[test]
fn silence_ends_it() {
    let app = App::start(|exchange| {
        agree(exchange, "");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway =
        Setup::new(&app).set("apps.shop.environments.production", "timeouts", "{ idle = \"500ms\" }").start();
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let stream = open(&mut client, "/", &token);
    assert_eq!(client.answer_head(stream).status(), 200);
    assert_eq!(client.reset(stream), CANCEL);
}
