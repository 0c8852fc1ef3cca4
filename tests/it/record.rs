//! The access log: one line for each request, with what an operator needs and nothing that a thief could use.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Gateway;
use crate::support::websocket;
use crate::support::wire::{Answer, request};

const FIELDS: [&str; 17] = [
    "app",
    "bytes_in",
    "bytes_out",
    "client",
    "code",
    "duration_us",
    "ended",
    "environment",
    "method",
    "path",
    "protocol",
    "request_id",
    "status",
    "token_id",
    "ts",
    "upstream",
    "upstream_us",
];

#[test]
fn a_forwarded_request_leaves_a_whole_line() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let before = Timestamp::now();
    let fields = [("X-Portcullis-Token", token.secret.as_str()), ("Content-Length", "5")];
    let answer = gateway.ask([request("POST /a%20b/c?secret=1", &fields), b"12345".to_vec()].concat());
    let line = line(&gateway, &answer);
    for (name, value) in [
        ("app", json!("shop")),
        ("environment", json!("production")),
        ("token_id", json!(token.id)),
        ("code", json!("ok")),
        ("status", json!(200)),
        ("method", json!("POST")),
        ("protocol", json!("HTTP/1.1")),
        ("client", json!("127.0.0.1")),
        ("bytes_in", json!(5)),
        ("bytes_out", json!(5)),
        ("ended", json!("complete")),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    let path = line["path"].as_str().unwrap();
    assert!(path.starts_with("/a%20b/c?") && !path.contains("secret"), "{path}");
    assert!(line["upstream"].as_str().unwrap().contains(&app.address.to_string()), "{line}");
    let (whole, upstream) = (line["duration_us"].as_u64().unwrap(), line["upstream_us"].as_u64().unwrap());
    assert!(upstream <= whole && upstream > 0, "{line}");
    let at: Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
    assert!(at >= before && at <= Timestamp::now(), "{line}");
}

#[test]
fn a_refusal_leaves_its_code_and_what_is_known_of_the_token() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    gateway.revoke(&token.id);
    let missing = gateway.ask(request("GET /a", &[]));
    let revoked = gateway.ask(with_token("GET /b", "shop.localhost", &token.secret));
    let unknown = gateway.ask(request("GET /c", &[("Host", "elsewhere.example")]));
    for (answer, code, app, token) in [
        (&missing, "token_missing", json!("shop"), Value::Null),
        (&revoked, "token_revoked", json!("shop"), json!(token.id)),
        (&unknown, "unknown_host", Value::Null, Value::Null),
    ] {
        let line = line(&gateway, answer);
        assert_eq!((&line["code"], &line["status"]), (&json!(code), &json!(answer.status)), "{line}");
        assert_eq!((&line["app"], &line["token_id"]), (&app, &token), "{line}");
        assert_eq!((&line["upstream"], &line["upstream_us"]), (&Value::Null, &Value::Null), "{line}");
        assert_eq!(line["bytes_out"], answer.body.len(), "{line}");
        assert_eq!(line["ended"], "complete", "{line}");
    }
}

#[test]
fn a_line_tells_how_a_request_ended() {
    let app = App::start(|exchange| match exchange.head.target() {
        "/short" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
            exchange.close();
        }
        "/tunnel" => {
            exchange.send(
                "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            let sent = exchange.wire.take(4).unwrap();
            exchange.send([&sent[..], b"!"].concat());
            exchange.close();
        }
        "/endless" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            while exchange.send([b'x'; 1024]) {}
        }
        "/silent" => exchange.wire.wait_for_end(),
        _ => exchange.answer(b"hello"),
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let begin = |line: &str| {
        let mut wire = gateway.connect();
        wire.send(request(line, &websocket::wish(&token.secret)));
        wire
    };

    let mut wire = begin("GET /short");
    let short = wire.head().unwrap().unwrap();
    wire.wait_for_end();
    let mut wire = begin("GET /tunnel");
    let tunnel = wire.head().unwrap().unwrap();
    wire.send("ping");
    assert_eq!(wire.rest().unwrap(), b"ping!");
    drop(wire);
    let mut wire = begin("GET /endless");
    let endless = wire.head().unwrap().unwrap();
    drop(wire);
    let mut wire = begin("HEAD /");
    let head = wire.head().unwrap().unwrap();
    for (head, status, ended, bytes_in, bytes_out) in [
        (short, 200, "upstream_gone", 0, Some(5)),
        (tunnel, 101, "upgraded", 4, Some(5)),
        (endless, 200, "client_gone", 0, None),
        (head, 200, "complete", 0, Some(0)),
    ] {
        assert_eq!(head.status(), status);
        let line = gateway.logged(head.get("x-request-id").unwrap());
        assert_eq!((&line["status"], &line["ended"]), (&json!(status), &json!(ended)), "{line}");
        assert_eq!(line["bytes_in"], bytes_in, "{line}");
        assert!(bytes_out.is_none_or(|bytes| line["bytes_out"] == bytes), "{line}");
    }

    // No answer was begun, so there is no request id to find it by.
    drop(begin("GET /silent"));
    let silent = crate::support::until("the line of a request whose client left", || {
        gateway.log().into_iter().find(|line| line["path"] == "/silent")
    });
    assert_eq!((&silent["ended"], &silent["status"]), (&json!("client_gone"), &json!(499)), "{silent}");
}

/// The line of an answered request, which has every field and no other.
fn line(gateway: &Gateway, answer: &Answer) -> Value {
    let line = gateway.logged(answer.get("x-request-id").unwrap());
    let mut names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, FIELDS);
    line
}

#[test]
fn an_answer_that_ends_with_its_request_is_not_the_apps_doing() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for end in ["", "no chunk\r\n"] {
        let mut wire = gateway.connect();
        let fields = [("X-Portcullis-Token", token.as_str()), ("Transfer-Encoding", "chunked")];
        wire.send([&request("POST /", &fields)[..], b"1\r\na\r\n"].concat());
        let head = wire.head().unwrap().unwrap();
        assert_eq!(wire.chunk().unwrap(), b"hello");
        wire.send(end);
        drop(wire);
        assert_eq!(gateway.logged(head.get("x-request-id").unwrap())["ended"], "client_gone", "{end:?}");
    }
}
