//! Where requests end and whom they mean: whatever two servers could read in two ways is refused, and exactly the
//! requests that were authorized reach the app, each with one framing.

use std::io::Write;

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::stage::Stage;
use crate::support::until;
use crate::support::wire::request;

impl Stage {
    /// A request with a token; `fields` go in as they are.
    fn head(&self, line: &str, fields: &str) -> Vec<u8> {
        format!(
            "{line} HTTP/1.1\r\nHost: shop.localhost\r\nX-Portcullis-Token: {}\r\n{fields}\r\n",
            self.token
        )
        .into_bytes()
    }

    /// Sends bytes and a well-formed request behind them; returns all statuses until the gateway closes, as it must.
    fn statuses(&self, bytes: &[u8]) -> Vec<u16> {
        let mut wire = self.gateway.connect();
        // A gateway that has refused the beginning may have stopped reading.
        let _ = wire.stream.write_all(&[bytes, &self.head("GET /smuggled", "")].concat());
        let mut statuses = Vec::new();
        while let Some(head) = wire.head().unwrap() {
            statuses.push(head.status());
            wire.body(&head).unwrap();
        }
        statuses
    }

    /// Asserts that bytes are answered with one refusal, that nothing behind them is read as a request, and that
    /// nothing reaches the app.
    #[track_caller]
    fn refuses(&self, bytes: impl AsRef<[u8]>, status: u16) {
        let bytes = bytes.as_ref();
        let statuses = self.statuses(bytes);
        assert_eq!(statuses, [status], "{}", bytes.escape_ascii());
        assert!(self.app.bytes().is_empty(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn bodies_whose_end_is_in_doubt() {
    let stage = Stage::new();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\ncontent-length: 0\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;x=y\r\n",
        "Transfer-Encoding:\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\ncontent-length: 0\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 010\r\n",
        "Content-Length: \x0b5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999999\r\n",
    ] {
        stage.refuses([&stage.head("POST /", fields)[..], b"5\r\nhello\r\n0\r\n\r\n"].concat(), 400);
    }
    let old = format!(
        "POST / HTTP/1.0\r\nHost: shop.localhost\r\nX-Portcullis-Token: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        stage.token
    );
    stage.refuses(old, 400);
}

#[test]
fn heads_whose_lines_are_in_doubt() {
    let stage = Stage::new();
    for fields in [
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
        "X: a\n\r\n",
        "X: a\rb\r\n",
        "X: a\r\r\n",
        "X: a\0b\r\n",
        "X: \x7f\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        " X: a\r\n",
        "X\r\n",
        ": a\r\n",
        "X(: a\r\n",
        "X\0: a\r\n",
        "H\u{f6}st: a\r\n",
    ] {
        stage.refuses(stage.head("POST /", fields), 400);
    }
    // In the first line, and in the place of the last.
    for text in ["GET / HTTP/1.1\nHost: shop.localhost\n\n", "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\n"] {
        stage.refuses(text.replace("\n\n", &format!("\nX-Portcullis-Token: {}\n\n", stage.token)), 400);
    }
    for line in [
        "GET  /",
        "GET /\t",
        "GET\t/",
        "GET / x",
        "GET /a b",
        " GET /",
        "G@T /",
        "GET /\0",
        "GET /#fragment",
        "GET /a?b#c",
        "GET",
        "",
    ] {
        stage.refuses(stage.head(line, ""), 400);
    }
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", "HTTP/11"] {
        let head = String::from_utf8(stage.head("GET /", "")).unwrap();
        stage.refuses(head.replace("HTTP/1.1", version), 400);
    }
}

#[test]
fn targets_that_are_neither_a_path_nor_this_host() {
    let stage = Stage::new();
    for line in [
        "GET !",
        "GET *",
        "GET *x",
        "GET shop.localhost:80",
        "GET shop.localhost",
        "GET ?a",
        "GET http://elsewhere.localhost/",
        "GET http://shop.localhost@elsewhere.localhost/",
        "GET http://user@shop.localhost/",
        "GET http://shop.localhost:81/",
        "GET ftp://shop.localhost/",
        "GET http:///",
        "GET http:/a",
        "POST *",
        "OPTIONS *x",
        "OPTIONS **",
    ] {
        stage.refuses(stage.head(line, ""), 400);
    }
    for line in
        ["CONNECT shop.localhost:80", "CONNECT /", "CONNECT http://shop.localhost/", "TRACE /", "TRACE *"]
    {
        let statuses = stage.statuses(&stage.head(line, ""));
        assert!(matches!(statuses[..], [400 | 405]), "{line}: {statuses:?}");
        assert!(stage.app.bytes().is_empty(), "{line}");
    }
}

#[test]
fn a_request_names_one_host() {
    let stage = Stage::new();
    let token = format!("X-Portcullis-Token: {}\r\n", stage.token);
    for hosts in [
        "",
        "Host: shop.localhost\r\nHost: shop.localhost\r\n",
        "Host: shop.localhost\r\nhost: elsewhere.localhost\r\n",
        "Host: shop.localhost, elsewhere.localhost\r\n",
        "Host: shop.localhost elsewhere.localhost\r\n",
        "Host: user@shop.localhost\r\n",
        "Host: shop.localhost/\r\n",
        "Host: shop.localhost:x\r\n",
        "Host: shop.localhost:80:80\r\n",
        "Host: http://shop.localhost\r\n",
        "Host: shop.local\u{f6}st\r\n",
    ] {
        stage.refuses(format!("GET / HTTP/1.1\r\n{hosts}{token}\r\n"), 400);
    }
    for host in ["shop.localhost", "SHOP.localhost", "shop.localhost:8080", "shop.localhost:"] {
        let answer = stage.gateway.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{token}\r\n"));
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(stage.app.requests().last().unwrap().head.get("host"), Some(host));
    }
}

#[test]
fn a_url_of_this_host_becomes_a_path() {
    let stage = Stage::new();
    for (target, path) in [
        ("http://shop.localhost/a?b=c", "/a?b=c"),
        ("http://SHOP.localhost/", "/"),
        ("http://shop.localhost", "/"),
        ("https://shop.localhost/%2e/%2F", "/%2e/%2F"),
    ] {
        let answer = stage.gateway.ask(stage.head(&format!("GET {target}"), ""));
        assert_eq!(answer.status, 200, "{target}");
        let seen = stage.app.requests().pop().unwrap();
        assert_eq!((seen.head.target(), seen.head.get("host")), (path, Some("shop.localhost")));
    }
    // HTTP/1.0 needs no Host beside the URL, and gets one; a stray empty line ahead is skipped.
    let old =
        format!("\r\nGET http://shop.localhost/old HTTP/1.0\r\nX-Portcullis-Token: {}\r\n\r\n", stage.token);
    assert_eq!(stage.gateway.ask(old).status, 200);
    let seen = stage.app.requests().pop().unwrap();
    assert_eq!((seen.head.target(), seen.head.get("host")), ("/old", Some("shop.localhost")));
    assert_eq!(stage.gateway.ask(stage.head("OPTIONS *", "")).status, 200);
    assert_eq!(stage.app.requests().pop().unwrap().head.line, "OPTIONS * HTTP/1.1");
}

#[test]
fn paths_are_forwarded_as_they_were_sent() {
    let stage = Stage::new();
    for target in [
        "/a/../b",
        "/a/./b",
        "//a//b/",
        "/%2e%2e/%2f%5c",
        "/a;b=c",
        "/%00",
        "/a%20b?c=%26&d=?",
        "/?",
        "/~a!$&'()*+,=:@",
    ] {
        assert_eq!(stage.gateway.ask(stage.head(&format!("GET {target}"), "")).status, 200, "{target}");
        assert_eq!(stage.app.requests().pop().unwrap().head.target(), target);
    }
}

#[test]
fn one_framing_field_for_each_body() {
    let stage = Stage::new();
    for (fields, body, framing) in [
        ("Content-Length: 5\r\n", "hello", ("content-length", "5")),
        ("cOnTeNt-LeNgTh:   5  \r\n", "hello", ("content-length", "5")),
        ("Content-Length: 0\r\n", "", ("content-length", "0")),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", ("transfer-encoding", "chunked")),
        (
            "transfer-encoding: CHUNKED\r\n",
            "2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nT: x\r\n\r\n",
            ("transfer-encoding", "chunked"),
        ),
    ] {
        for method in ["POST", "GET", "DELETE", "PURGE"] {
            let answer = stage
                .gateway
                .ask([&stage.head(&format!("{method} /"), fields)[..], body.as_bytes()].concat());
            assert_eq!(answer.status, 200, "{method} {fields:?}");
            let seen = stage.app.requests().pop().unwrap();
            let expected = if framing.1 == "0" { "" } else { "hello" };
            assert_eq!(String::from_utf8(seen.body).unwrap(), expected, "{method} {fields:?}");
            let found = ["content-length", "transfer-encoding"].map(|name| seen.head.all(name));
            assert_eq!(found.concat(), [framing.1], "{method} {fields:?}");
            assert_eq!(seen.head.get(framing.0), Some(framing.1), "{method} {fields:?}");
        }
    }
    stage.gateway.ask(stage.head("GET /", ""));
    let seen = stage.app.requests().pop().unwrap();
    assert_eq!((seen.head.get("content-length"), seen.head.get("transfer-encoding")), (None, None));
}

#[test]
fn chunks_that_are_none_end_everything() {
    for bad in [
        "x\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "11111111111111111\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n a: b\r\n\r\n",
        "5\r\nhello\r\n0\r\na: b\n\r\n",
    ] {
        let stage = Stage::new();
        let body = [&stage.head("POST /", "Transfer-Encoding: chunked\r\n")[..], bad.as_bytes()].concat();
        let statuses = stage.statuses(&body);
        assert_eq!(statuses, [400], "{bad:?}");
        // The app may have seen the beginning, but no request was complete and nothing came behind it.
        let bytes = String::from_utf8_lossy(&stage.app.bytes()).into_owned();
        assert!(!bytes.contains("smuggled") && !bytes.contains("0\r\n\r\n"), "{bad:?}: {bytes}");
        let requests = stage.app.connections();
        assert!(stage.app.requests().len() <= 1 && requests <= 1, "{bad:?}");
    }
}

#[test]
fn each_pipelined_request_is_judged_by_itself() {
    let stage = Stage::new();
    let (good, foreign) = (stage.head("GET /good", ""), request("GET /foreign", &[]));
    let mut wire = stage.gateway.connect();
    let upload = [&stage.head("POST /good", "Content-Length: 5\r\n")[..], b"hello"].concat();
    wire.send([&good[..], &foreign, &upload, &foreign, &good].concat());
    let statuses: Vec<_> = (0..5).map(|_| wire.answer().status).collect();
    assert_eq!(statuses, [200, 401, 200, 401, 200]);
    let targets: Vec<_> = stage.app.requests().iter().map(|seen| seen.head.target().to_owned()).collect();
    assert_eq!(targets, ["/good", "/good", "/good"]);

    // A malformed one ends the connection; what stood before it is answered.
    let bad = stage.head("POST /bad", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(stage.statuses(&[&good[..], &bad, &good].concat()), [200, 400]);
    let bytes = String::from_utf8_lossy(&stage.app.bytes()).into_owned();
    assert_eq!(stage.app.requests().len(), 4);
    assert!(!bytes.contains("/bad") && !bytes.contains("smuggled"), "{bytes}");
}

#[test]
fn a_refused_body_is_never_read_as_a_request() {
    let stage = Stage::new();
    let inner = stage.head("GET /smuggled", "");
    let head = request("POST /", &[("Content-Length", &(inner.len() + 100_000).to_string())]);
    let mut wire = stage.gateway.connect();
    wire.send([&head[..], &inner].concat());
    let answer = wire.answer();
    answer.refused(401, "token_missing");
    assert_eq!(answer.get("connection"), Some("close"));
    // The rest, and another request behind it, meet a gateway that only waits for the end.
    let _ = wire.stream.write_all(&[&vec![b'a'; 100_000][..], &inner].concat());
    wire.finish();
    assert!(wire.rest().unwrap().is_empty());
    assert!(stage.app.bytes().is_empty());
}

#[test]
fn an_early_answer_arrives_whole_though_the_body_does_not_end() {
    let stage = Stage::new();
    // More than every buffer between the two: a gateway that just closes would have its answer taken back.
    let large = request("POST /", &[("Content-Length", "900000")]);
    for _ in 0..10 {
        let mut wire = stage.gateway.connect();
        wire.send(&large);
        wire.send(vec![b'a'; 900_000]);
        wire.answer().refused(401, "token_missing");
    }
    assert!(stage.app.bytes().is_empty());
}

#[test]
fn an_app_that_answers_early_is_heard() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "500000")]));
    wire.send(vec![b'a'; 100_000]);
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text()), (413, "much"));
    // The app's connection cannot be used again: the next request gets one of its own.
    gateway.ask(request("GET /", &[("X-Portcullis-Token", &token)]));
    until("the second connection", || (app.connections() == 2).then_some(()));
}

#[test]
fn answers_whose_end_is_in_doubt_are_not_passed_on() {
    let app = App::start(|exchange| {
        let fields = exchange.head.get("x-fields").unwrap().replace('|', "\r\n");
        exchange.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for fields in [
        "Content-Length: 5|Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked|Content-Length: 15",
        "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 5|Content-Length: 5",
        "Content-Length: 5|Content-Length: 15",
        "Content-Length: 5, 5",
        "Content-Length: +5",
    ] {
        let answer = gateway.ask(request("GET /", &[("X-Portcullis-Token", &token), ("X-Fields", fields)]));
        answer.refused(502, "upstream_invalid");
    }
    assert_eq!(app.connections(), app.requests().len(), "a connection was used again");
}

#[test]
fn upgrades_to_what_is_not_understood_are_stripped() {
    let stage = Stage::new();
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Upgrade: websocket\r\n",
    ] {
        let answer = stage.gateway.ask(stage.head("GET /", fields));
        assert_eq!(answer.text(), "hello", "{fields}");
        let seen = stage.app.requests().pop().unwrap();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(seen.head.all(name).is_empty(), "{fields}: {seen:?}");
        }
    }
    // What is spoken is settled with a connection's first bytes: from there on this is no request.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let before = stage.app.requests().len();
    assert_eq!(stage.statuses(&[&stage.head("GET /", ""), &preface[..]].concat()), [200, 400]);
    assert_eq!(stage.app.requests().len(), before + 1);
}
