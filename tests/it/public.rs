//! What passes without a token: public paths and CORS preflights, each only where the configuration says so.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::request;

const PRODUCTION: &str = "apps.shop.environments.production";

fn with(app: &App, key: &str, value: &str) -> Gateway {
    Setup::new(app).set(PRODUCTION, key, value).start()
}

#[test]
fn public_paths_need_no_token_with_any_method() {
    let app = App::echo();
    let gateway = with(&app, "public_paths", r#"["/healthz", "/assets/*"]"#);
    for line in
        ["GET /healthz", "PURGE /healthz?a=b", "GET /assets/", "GET /assets/a/b.css", "DELETE /assets/x"]
    {
        let answer = gateway.ask(request(line, &[]));
        assert_eq!((answer.status, answer.get("cache-control")), (200, None), "{line}");
    }
    for seen in app.requests() {
        assert!(
            seen.head.get("x-portcullis-token-id").is_none() && seen.head.get("x-portcullis-app").is_none()
        );
        assert_eq!(seen.head.get("x-forwarded-for"), Some("127.0.0.1"));
    }
}

#[test]
fn everything_else_still_needs_one() {
    let app = App::echo();
    let gateway = with(&app, "public_paths", r#"["/healthz", "/assets/*"]"#);
    for path in [
        "/",
        "/healthz/",
        "/Healthz",
        "/assets",
        "/assetsx",
        "/assets/../admin",
        "/assets/%2e%2e/admin",
        "/assets/..;/x",
        "/assets/..%2fadmin",
        "/assets/%2E%2e%2Fadmin",
        "/assets//x",
        "/assets/a;b",
        "/assets/.%2e/x",
        "/assets/%252e%252e/x",
        "/assets/a%00",
        "/assets/a%5c..",
        "/assets/./x",
        "/x?/assets/",
        "/%68ealthz",
        "//healthz",
    ] {
        gateway.ask(request(&format!("GET {path}"), &[])).refused(401, "token_missing");
    }
    gateway.ask(request("GET /healthz", &[("Host", "shop.dev.localhost")])).refused(401, "token_missing");
    assert!(app.requests().is_empty());
}

#[test]
fn a_token_on_a_public_path_is_removed_and_ignored() {
    let app = App::echo();
    let gateway = with(&app, "public_paths", r#"["/healthz"]"#);
    let token = gateway.mint("development").secret;
    let bearer = format!("Bearer {token}");
    for (line, fields) in [
        (format!("GET /healthz?project-protection-bypass={token}&a=b"), vec![]),
        ("GET /healthz?a=b".to_owned(), vec![("X-Portcullis-Token", "nonsense")]),
        ("GET /healthz?a=b".to_owned(), vec![("Authorization", &*bearer)]),
    ] {
        let answer = gateway.ask(request(&line, &fields));
        assert_eq!((answer.status, answer.get("cache-control")), (200, Some("private")), "{line} {fields:?}");
        let seen = app.requests().pop().unwrap();
        assert_eq!(seen.head.target(), "/healthz?a=b");
        assert!(seen.head.get("x-portcullis-token").is_none() && seen.head.get("authorization").is_none());
        assert!(seen.head.get("x-portcullis-token-id").is_none());
    }
}

#[test]
fn preflights_pass_only_where_configured_and_only_as_preflights() {
    let app = App::echo();
    let preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT")];
    let closed = Gateway::before(&app);
    closed.ask(request("OPTIONS /x", &preflight)).refused(401, "token_missing");
    let open = with(&app, "preflight", "true");
    assert_eq!(open.ask(request("OPTIONS /x", &preflight)).status, 200);
    open.ask(request("OPTIONS /x", &preflight[..1])).refused(401, "token_missing");
    open.ask(request("OPTIONS /x", &preflight[1..])).refused(401, "token_missing");
    open.ask(request("PUT /x", &preflight)).refused(401, "token_missing");
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn an_app_behind_a_unix_socket_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let app = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        String::from_utf8(head).unwrap()
    });
    let upstreams = format!("[\"unix:{}\"]", path.display());
    let gateway = Setup::new(&App::echo())
        .set(PRODUCTION, "upstreams", &upstreams)
        .set(PRODUCTION, "host_header", "\"upstream\"")
        .start();
    let token = gateway.mint("production").secret;
    let answer = gateway.ask(request("GET /x", &[("X-Portcullis-Token", &token)]));
    assert_eq!((answer.status, &*answer.body), (200, &b"hi"[..]));
    let head = app.join().unwrap();
    assert!(head.starts_with("GET /x HTTP/1.1\r\n") && head.contains("\r\nhost: localhost\r\n"), "{head}");
}

#[test]
fn an_answer_that_ends_in_two_ways_is_not_passed_on() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 5",
    ] {
        let app = App::start(move |exchange| {
            exchange.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
        });
        let gateway = Gateway::before(&app);
        let token = gateway.mint("production").secret;
        let ask = || gateway.ask(request("GET /", &[("X-Portcullis-Token", &token)]));
        ask().refused(502, "upstream_invalid");
        ask().refused(502, "upstream_invalid");
        assert_eq!(app.connections(), 2, "the connection was used again after {fields}");
    }
}
