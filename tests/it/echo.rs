//! The echo guard: what an app reflects of the secrets in its requests does not reach the caller.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use serde_json::json;

use crate::support::app::{App, Exchange};
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::modern::{Modern, Script, Settings};
use crate::support::websocket::{proof, wish};
use crate::support::wire::{Answer, request};
use crate::support::{PATIENCE, until};

const PRODUCTION: &str = "apps.shop.environments.production";
const HOST: &str = "shop.localhost";
const VALUE: &str = "hunter2-canary-value";

/// An app that reflects what it got, by the path: `/fields`, or the body in pieces of the number of bytes.
fn mirror() -> App {
    App::start(|exchange: &mut Exchange<'_>| {
        exchange.body();
        let target = exchange.head.target().to_owned();
        let got = exchange.head.get("x-api-key").unwrap_or_default().to_owned();
        if target == "/fields" {
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nX-Got: <{got}>\r\nSet-Cookie: a={got}\r\nContent-Length: 2\r\n\r\nok"
            ));
            return;
        }
        let (kind, size) = target.trim_start_matches('/').split_once('/').unwrap();
        let text = format!("before {got} between {got}{got} after hunter2-canary-valu");
        let kind = kind.replace('+', "/");
        if size == "0" {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", text.len());
            exchange.send(head + &text);
            return;
        }
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        ));
        for piece in text.as_bytes().chunks(size.parse().unwrap()) {
            exchange.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        exchange.send(format!("0\r\nX-Sum: {got}\r\n\r\n"));
    })
}

fn gateway(app: &App, guard: &str) -> (Gateway, String) {
    let gateway = Setup::new(app)
        .set(PRODUCTION, "request_headers", "{ \"X-Api-Key\" = \"$Secret{SHOP_KEY}\" }")
        .set(PRODUCTION, "echo_guard", &format!("\"{guard}\""))
        .start();
    let answer = gateway.admin("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": VALUE })));
    assert_eq!(answer.status, 201);
    let token = gateway.mint("production").secret;
    (gateway, token)
}

fn redacted(gateway: &Gateway) -> f64 {
    gateway.metrics().of("echoes_redacted_total{app=\"shop\",environment=\"production\"}")
}

#[test]
fn fields_are_guarded_unless_that_is_switched_off() {
    let app = mirror();
    let (gateway, token) = gateway(&app, "headers");
    let answer = gateway.ask(with_token("GET /fields", HOST, &token));
    assert_eq!((answer.get("x-got"), answer.get("set-cookie")), (Some("<[redacted]>"), Some("a=[redacted]")));
    until("the counts", || (redacted(&gateway) == 2.0).then_some(()));
    // Bodies are not looked into.
    let body = gateway.ask(with_token("GET /text+plain/0", HOST, &token));
    assert!(body.text().contains(VALUE));

    let (gateway, token) = self::gateway(&app, "off");
    let answer = gateway.ask(with_token("GET /fields", HOST, &token));
    assert_eq!(answer.get("x-got"), Some("<hunter2-canary-value>"));
    assert_eq!(redacted(&gateway), 0.0);
}

#[test]
fn what_an_attempt_before_was_given_does_not_come_back_either() {
    let (came, comes) = channel();
    let (go, goes) = channel::<()>();
    let (goes, is_second) = (Mutex::new(goes), AtomicBool::new(false));
    let app = App::start(move |exchange: &mut Exchange<'_>| {
        let is_again = exchange.head.target() == "/again";
        // Of a connection that was kept, the end may have come before the request.
        if is_again && !is_second.swap(true, Ordering::SeqCst) {
            came.send(()).unwrap();
            goes.lock().unwrap().recv().unwrap();
            exchange.close();
            return;
        }
        let got = exchange.head.get("x-api-key").unwrap_or_default();
        exchange.send(format!("HTTP/1.1 200 OK\r\nX-Got: {VALUE} {got}\r\nContent-Length: 0\r\n\r\n"));
    });
    let gateway = Setup::new(&app)
        .set("gateway", "workers", "1")
        .set(PRODUCTION, "request_headers", "{ \"X-Api-Key\" = \"$Secret{SHOP_KEY}\" }")
        .start();
    let set = |value: &str| gateway.admin("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": value }))).status;
    assert_eq!(set(VALUE), 201);
    let token = gateway.mint("production").secret;
    let first = gateway.ask(with_token("GET /", HOST, &token));
    assert_eq!(first.get("x-got"), Some("[redacted] [redacted]"));
    let mut wire = gateway.connect();
    wire.send(with_token("GET /again", HOST, &token));
    comes.recv_timeout(PATIENCE).unwrap();
    assert!(set("another-value-of-it") < 300);
    go.send(()).unwrap();
    assert_eq!(wire.answer().get("x-got"), Some("[redacted] [redacted]"));
    assert_eq!(app.requests().last().unwrap().head.get("x-api-key"), Some("another-value-of-it"));
}

#[test]
fn bodies_are_guarded_where_that_is_asked_for_however_they_are_cut() {
    const CLEAN: &str = "before [redacted] between [redacted][redacted] after hunter2-canary-valu";
    let app = mirror();
    let (gateway, token) = gateway(&app, "body");
    let ask = |path: &str| -> Answer {
        let fields = [
            ("Host", HOST),
            ("X-Portcullis-Token", &*token),
            ("Accept-Encoding", "gzip"),
            ("Range", "bytes=0-9"),
            ("TE", "trailers"),
            ("Connection", "te"),
        ];
        gateway.ask(request(&format!("GET {path}"), &fields))
    };
    for (count, size) in ["0", "1", "3", "7", "20", "1000"].iter().enumerate() {
        let answer = ask(&format!("/text+html/{size}"));
        assert_eq!(answer.text(), CLEAN, "pieces of {size}");
        until("the count", || (redacted(&gateway) >= 3.0 * (count + 1) as f64).then_some(()));
    }
    let head = app.requests().last().unwrap().head.clone();
    assert_eq!((head.get("accept-encoding"), head.get("range")), (Some("identity"), None));
    // What is no text goes through as it is.
    let answer = ask("/image+png/0");
    assert!(answer.text().contains(VALUE) && answer.get("content-length").is_some());
}

#[test]
fn what_comes_compressed_all_the_same_is_passed_on_and_counted() {
    // Whatever the bytes are.
    const ZIPPED: &str = "\x1f\x08 hunter2-canary-value";
    let app = App::start(|exchange: &mut Exchange<'_>| {
        assert!(["identity", ""].contains(&exchange.head.get("accept-encoding").unwrap_or_default()));
        let (kind, coding) = exchange.head.target()[1..].split_once('/').unwrap();
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n{ZIPPED}",
            kind.replace('+', "/"),
            ZIPPED.len(),
        ));
    });
    let (gateway, token) = gateway(&app, "body");
    let unsearched =
        || gateway.metrics().of("echoes_unsearched_total{app=\"shop\",environment=\"production\"}");
    let ask = |path: &str| gateway.ask(with_token(&format!("GET {path}"), HOST, &token));
    assert_eq!(unsearched(), 0.0);
    for (path, count) in [("/text+html/gzip", 1.0), ("/application+json/br", 2.0), ("/image+png/gzip", 2.0)] {
        let answer = ask(path);
        assert_eq!((answer.text(), answer.get("content-length")), (ZIPPED, Some("23")), "{path}");
        assert_eq!(unsearched(), count, "{path}");
    }
    assert_eq!((ask("/text+html/identity").text(), unsearched()), ("\x1f\x08 [redacted]", 2.0));
    gateway.wait_for_words("shop in production compresses answers though asked not to");

    let (gateway, token) = self::gateway(&app, "headers");
    assert_eq!(gateway.ask(with_token("GET /text+html/gzip", HOST, &token)).text(), ZIPPED);
    assert_eq!(gateway.metrics().of("echoes_unsearched_total{app=\"shop\",environment=\"production\"}"), 0.0);
}

#[test]
fn an_upgrade_is_guarded_too() {
    let app = App::start(|exchange| {
        let got = exchange.head.get("x-api-key").unwrap_or_default().to_owned();
        let key = exchange.head.get("sec-websocket-key").unwrap().to_owned();
        let proof = proof(&key);
        exchange.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {proof}\r\nX-Got: {got}\r\n\r\n"
        ));
        exchange.close();
    });
    let (gateway, token) = gateway(&app, "headers");
    let mut wire = gateway.connect();
    wire.send(request("GET /", &wish(&token)));
    let head = wire.head().unwrap().unwrap();
    assert_eq!((head.status(), head.get("x-got")), (101, Some("[redacted]")));
    assert_eq!(app.only().head.get("x-api-key"), Some(VALUE));
}

#[test]
fn what_is_set_and_guarded_does_not_depend_on_what_the_app_speaks() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Got: hunter2-canary-value\r\n\
                          Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                          14\r\nhunter2-canary-value\r\n0\r\nX-Sum: hunter2-canary-value\r\n\r\n";
    let old = App::start(|exchange| {
        exchange.body();
        exchange.send(ANSWER);
    });
    let modern = Modern::start(Settings::default(), |_| {
        let script = Script::new(200, VALUE).field("content-type", "text/plain").field("x-got", VALUE);
        script.trailer("x-sum", VALUE)
    });
    for url in [old.url(), format!("h2c://{}", modern.address)] {
        let injected = "{ \"X-Api-Key\" = \"$Secret{SHOP_KEY}\", \"traceparent\" = \"ours\" }";
        let gateway = Setup::with_upstreams(&[&url])
            .set(PRODUCTION, "request_headers", injected)
            .set(PRODUCTION, "echo_guard", "\"body\"")
            .start();
        gateway.admin("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": VALUE })));
        let token = gateway.mint("production").secret;
        let fields = [
            ("Host", HOST),
            ("X-Portcullis-Token", &*token),
            ("X-Api-Key", "mine"),
            ("x-api-key", "mine"),
            ("X_Api-Key", "mine"),
            ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("Accept-Encoding", "gzip"),
            ("Accept_Encoding", "gzip"),
            ("Range", "bytes=0-9"),
            ("If-Range", "a"),
            ("Cookie", "a=b; portcullis=c; __Host-portcullis=d"),
            ("TE", "trailers"),
            ("Connection", "te, X-Api-Key"),
        ];
        let answer = gateway.ask(request("GET /", &fields));
        assert_eq!(
            (answer.status, answer.text(), answer.get("x-got")),
            (200, "[redacted]", Some("[redacted]"))
        );
        until("the count, the trailer's too", || (redacted(&gateway) == 3.0).then_some(()));
    }
    let (old, modern) = (old.only().head, modern.only().headers);
    for (name, values) in [
        ("x-api-key", &[VALUE][..]),
        ("x_api-key", &[]),
        ("traceparent", &["ours"]),
        ("accept-encoding", &["identity"]),
        ("accept_encoding", &[]),
        ("range", &[]),
        ("if-range", &[]),
        ("cookie", &["a=b"]),
        ("te", &["trailers"]),
        ("x-portcullis-token", &[]),
        ("x-portcullis-app", &["shop"]),
    ] {
        assert_eq!(old.all(name), values, "{name}");
        assert_eq!(modern.get_all(name).iter().collect::<Vec<_>>(), values, "{name}");
    }
}

#[test]
fn values_are_known_as_apps_write_them() {
    const SPELLED: [(&str, &str); 4] = [
        ("/fields", "/login?k=pass%2Fword%2B%25hunter%262"),
        ("/json", r#"{"k":"pass\/word+%hunter\u00262"}"#),
        ("/html", "<p>pass/word&#43;%hunter&amp;2</p>"),
        ("/untyped", "pass/word+%hunter&2"),
    ];
    let app = App::start(|exchange: &mut Exchange<'_>| {
        let target = exchange.head.target().to_owned();
        let (_, text) = SPELLED.into_iter().find(|(path, _)| *path == target).unwrap();
        let typed = if target == "/untyped" { "" } else { "Content-Type: text/html\r\n" };
        let location = if target == "/fields" { format!("Location: {text}\r\n") } else { String::new() };
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\n{typed}{location}Content-Length: {}\r\n\r\n{text}",
            text.len()
        ));
    });
    let (gateway, token) = gateway(&app, "body");
    let set = json!({ "value": "pass/word+%hunter&2" });
    assert_eq!(gateway.admin("PUT /v1/secrets/SHOP_KEY", Some(set)).status, 200);
    for (path, _) in SPELLED {
        let answer = gateway.ask(with_token(&format!("GET {path}"), HOST, &token));
        assert!(answer.text().contains("[redacted]") && !answer.text().contains("hunter"), "{answer:?}");
        assert!(answer.get("location").is_none_or(|location| location == "/login?k=[redacted]"));
    }
    until("the counts", || (redacted(&gateway) == 5.0).then_some(()));
}

#[test]
fn values_too_short_to_be_looked_for_are_named_as_such() {
    let app = App::echo();
    let (gateway, _) = gateway(&app, "headers");
    let set = |value: &str| gateway.cli_given(&["secret", "set", "SHOP_KEY"], value).stderr;
    assert!(set("ok").contains("shorter than 6 bytes"));
    assert!(!set("hunter").contains("shorter"));
}
