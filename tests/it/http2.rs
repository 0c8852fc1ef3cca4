//! HTTP/2 from clients: the same requests, decisions and answers as over HTTP/1.1.

use std::process::Command;

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{self, Client, DATA, END_STREAM, Frame, HEADERS, Outcome, connect};
use crate::support::program::finish;
use crate::support::until;

const TOKEN: &str = "x-portcullis-token";

#[test]
fn curl_speaks_it_from_the_first_byte() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let url = format!("http://{}/curl?a=b", gateway.address());
    let field = format!("{TOKEN}: {token}");
    let curl = |arguments: &[&str]| {
        let usual =
            ["-sS", "--http2-prior-knowledge", "-m", "20", "-H", "Host: shop.localhost", "-H", &field];
        let ran = finish(
            Command::new("curl")
                .args(usual)
                .args(["-w", "|%{http_version} %{http_code}"])
                .args(arguments)
                .arg(&url),
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    };
    assert_eq!(curl(&[]), "hello|2 200");
    assert_eq!(curl(&["-d", "some data"]), "some data|2 200");
    let upload = "x".repeat(300_000);
    std::fs::write(gateway.path("upload"), &upload).unwrap();
    let file = gateway.path("upload");
    assert_eq!(curl(&["-T", file.to_str().unwrap()]), format!("{upload}|2 200"));
    let head = curl(&["-I"]);
    assert!(head.starts_with("HTTP/2 200") && head.contains("content-length: 5\r\n"), "{head}");

    let requests = app.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.head.target() == "/curl?a=b"));
    assert!(requests.iter().all(|request| request.head.get("host") == Some("shop.localhost")));
    assert_eq!(requests[1].head.get("content-length"), Some("9"));
    let lines = until("their lines", || Some(gateway.log()).filter(|lines| lines.len() == 4));
    for line in lines {
        assert_eq!((&line["protocol"], &line["ended"]), (&"HTTP/2".into(), &"complete".into()), "{line}");
    }
}

#[test]
fn thousands_of_requests_at_once() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let ran = finish(Command::new("h2load").args(["-n", "4000", "-c", "8", "-m", "50"]).args([
        "-H",
        ":authority: shop.localhost",
        "-H",
        &format!("{TOKEN}: {token}"),
        &format!("http://{}/load", gateway.address()),
    ]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("4000 succeeded, 0 failed, 0 errored"), "{}", ran.stdout);
    assert!(ran.stdout.contains("4000 2xx"), "{}", ran.stdout);
    assert_eq!(app.requests().len(), 4_000);
}

#[test]
fn a_token_comes_in_any_of_its_ways_and_goes_no_further() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let (bearer, query) = (format!("Bearer {token}"), format!("/c?a=b&project-protection-bypass={token}"));
    for (target, field) in [
        ("/a?a=b", (TOKEN, token.as_str())),
        ("/b?a=b", ("authorization", &bearer)),
        (&query, ("accept", "*/*")),
    ] {
        let stream = client.ask("GET", target, &[field]);
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.text()), (200, "hello"), "{target}");
        assert_eq!(answer.get("cache-control"), Some("private"));
        let id = answer.get("x-request-id").unwrap();
        assert_eq!(app.requests().pop().unwrap().head.get("x-request-id"), Some(id));
    }
    let seen = app.bytes();
    assert!(!String::from_utf8_lossy(&seen).contains(&token[4..]));
    let targets: Vec<_> = app.requests().iter().map(|request| request.head.target().to_owned()).collect();
    assert_eq!(targets, ["/a?a=b", "/b?a=b", "/c?a=b"]);
}

#[test]
fn refusals_are_the_same_documents_and_end_no_connection() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let elsewhere = [(":authority", "elsewhere.localhost"), (TOKEN, token.as_str())];
    let development = [(":authority", "shop.dev.localhost"), (TOKEN, token.as_str())];
    for (fields, status, code) in [
        (&[][..], 401, "token_missing"),
        (&[(TOKEN, "nonsense")], 401, "token_unknown"),
        (&[(TOKEN, &token), (TOKEN, &token)], 400, "invalid_request"),
        (&elsewhere, 404, "unknown_host"),
        (&development, 403, "wrong_environment"),
        (&[(TOKEN, &token), ("expect", "a miracle")], 417, "expectation_failed"),
    ] {
        let stream = client.ask("GET", "/", fields);
        let answer = client.answer(stream);
        answer.refused(status, code);
        assert_eq!(answer.get("connection"), None);
        let line = gateway.logged(answer.get("x-request-id").unwrap());
        assert_eq!((&line["code"], &line["protocol"]), (&code.into(), &"HTTP/2".into()));
    }
    // A refusal to HEAD is a head alone, however long a document it tells of.
    let stream = client.ask("HEAD", "/", &[]);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.body.len()), (401, 0));
    assert!(answer.get("content-length").unwrap().parse::<u32>().unwrap() > 0);
    // One whose body is still on its way ends its own stream.
    let stream = client.begin("POST", "/", &[("content-length", "100000")]);
    client.data(stream, &[b'x'; 1_000], 0);
    client.answer(stream).refused(401, "token_missing");
    let stream = client.ask("GET", "/.portcullis/healthz", &[]);
    assert_eq!(client.answer(stream).text(), "serving\n");
    assert_eq!(app.connections(), 0);
    let stream = client.ask("GET", "/", &[(TOKEN, &token)]);
    assert_eq!(client.answer(stream).status, 200);
}

#[test]
fn cookies_that_came_apart_arrive_as_one() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let crumbs: Vec<_> = (0..120).map(|number| format!("c{number}=v{number}")).collect();
    let mut fields = vec![(TOKEN, token.as_str())];
    fields.extend(crumbs.iter().map(|crumb| ("cookie", crumb.as_str())));
    let stream = client.ask("GET", "/", &fields);
    assert_eq!(client.answer(stream).status, 200);
    assert_eq!(app.only().head.get("cookie"), Some(&*crumbs.join("; ")));
}

#[test]
fn the_authority_says_whom_a_request_is_for() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let (production, development) = (gateway.mint("production").secret, gateway.mint("development").secret);
    let mut client = connect(gateway.address());
    let port = gateway.address().port();
    let authority = format!("Shop.LocalHost:{port}");
    let fields = [
        (":authority", &*authority),
        (TOKEN, &production),
        ("host", "evil.example"),
        ("host", "shop.dev.localhost"),
    ];
    let stream = client.ask("GET", "/", &fields);
    assert_eq!(client.answer(stream).status, 200);
    let seen = app.requests().pop().unwrap().head;
    assert_eq!((seen.get("host"), seen.get("x-forwarded-host")), (Some(&*authority), Some(&*authority)));
    // What the client calls its scheme decides nothing.
    assert_eq!(
        (seen.get("x-forwarded-proto"), seen.get("x-portcullis-environment")),
        (Some("http"), Some("production"))
    );

    // Without an authority `Host` has its place, and without either the request is for nobody.
    let raw = |client: &mut Client, fields: &[(&str, &str)]| {
        let stream = client.stream();
        let pseudo = [(":method", "GET"), (":scheme", "https"), (":path", "/host")];
        let block = http2::block(&[&pseudo[..], fields].concat());
        client.send(&Frame::new(HEADERS, http2::END_HEADERS | END_STREAM, stream, block));
        client.answer(stream)
    };
    assert_eq!(raw(&mut client, &[("host", "shop.dev.localhost"), (TOKEN, &development)]).status, 200);
    let seen = app.requests().pop().unwrap().head;
    assert_eq!((seen.get("host"), seen.get("x-forwarded-proto")), (Some("shop.dev.localhost"), Some("http")));
    raw(&mut client, &[(TOKEN, &development)]).refused(404, "unknown_host");
    raw(
        &mut client,
        &[("host", "shop.dev.localhost"), ("host", "shop.dev.localhost"), (TOKEN, &development)],
    )
    .refused(400, "invalid_request");
}

#[test]
fn trailers_pass_both_ways() {
    let app = App::start(|exchange| {
        assert_eq!(exchange.head.get("te"), Some("trailers"));
        while !exchange.wire.chunk().unwrap().is_empty() {}
        let trailers = exchange.wire.trailers().unwrap();
        assert_eq!(trailers, ["checksum: 42"]);
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
             5\r\nhello\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\nset-cookie: a=b\r\n\r\n",
        );
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let stream = client.begin("POST", "/", &[(TOKEN, &token), ("te", "trailers"), ("trailer", "checksum")]);
    client.data(stream, b"data", 0);
    let block = http2::block(&[("checksum", "42"), ("authorization", "Bearer pct_x")]);
    client.send(&Frame::new(HEADERS, http2::END_HEADERS | END_STREAM, stream, block));
    let Outcome::Whole(answer, trailers) = client.outcome(stream) else { panic!("no whole answer") };
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.get("transfer-encoding"), None);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(trailers, [field("grpc-status", "0"), field("grpc-message", "fine")]);
}

#[test]
fn bodies_of_every_kind_arrive_whole() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let field = (TOKEN, token.as_str());
    // Its length known, and the end of the stream said apart.
    let stream = client.begin("POST", "/known", &[field, ("content-length", "5")]);
    client.data(stream, b"first", 0);
    client.data(stream, b"", END_STREAM);
    assert_eq!(client.answer(stream).text(), "first");
    // Known to be empty, the stream left open.
    let stream = client.begin("POST", "/empty", &[field, ("content-length", "0")]);
    assert_eq!(client.answer(stream).text(), "hello");
    // Unknown, also where HTTP/1 has none as a rule.
    for method in ["POST", "GET", "DELETE"] {
        let stream = client.begin(method, "/unknown", &[field]);
        for piece in [&b"in "[..], b"", b"pieces"] {
            client.data(stream, piece, 0);
        }
        client.data(stream, b"!", END_STREAM);
        assert_eq!(client.answer(stream).text(), "in pieces!", "{method}");
        let seen = app.requests().pop().unwrap().head;
        assert_eq!((seen.get("transfer-encoding"), seen.get("content-length")), (Some("chunked"), None));
    }
    // Larger than every window.
    let large = vec![b'x'; 1 << 20];
    let stream = client.begin("PUT", "/large", &[field]);
    let mut allowed = 65_536;
    for piece in large.chunks(16_384) {
        while allowed < piece.len() {
            let widened = client.wait(|frame| frame.kind == http2::WINDOW_UPDATE && frame.stream == stream);
            allowed += u32::from_be_bytes(widened.unwrap().payload.try_into().unwrap()) as usize;
        }
        allowed -= piece.len();
        client.data(stream, piece, 0);
    }
    client.data(stream, b"", END_STREAM);
    assert_eq!(client.answer(stream).body, large);
    assert_eq!(app.connections(), 1, "one request after the other needs one connection");
}

#[test]
fn a_body_over_the_limit_is_refused_and_its_neighbours_go_on() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "body_bytes", "1000").start();
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let field = (TOKEN, token.as_str());
    let announced = client.begin("POST", "/", &[field, ("content-length", "1001")]);
    client.answer(announced).refused(413, "body_too_large");
    let counted = client.begin("POST", "/", &[field]);
    for _ in 0..11 {
        client.data(counted, &[b'x'; 100], 0);
    }
    client.answer(counted).refused(413, "body_too_large");
    let fits = client.begin("POST", "/", &[field]);
    client.data(fits, &[b'x'; 1_000], END_STREAM);
    assert_eq!(client.answer(fits).body, [b'x'; 1_000]);
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let app = App::start(|exchange| {
        let status = exchange.head.target()[1..].to_owned();
        exchange
            .send(format!("HTTP/1.1 {status} X\r\nConnection: x-hop\r\nX-Hop: y\r\nKeep-Alive: 5\r\n\r\n"));
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    for status in ["204", "304"] {
        let stream = client.ask("GET", &format!("/{status}"), &[(TOKEN, &token)]);
        let head = client.wait(|frame| frame.stream == stream).unwrap();
        assert!(head.kind == HEADERS && head.has(END_STREAM), "{head:?}");
    }
    let stream = client.ask("GET", "/204", &[(TOKEN, &token)]);
    let answer = client.answer(stream);
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(answer.get(name), None, "{name}");
    }
    client.sync();
    assert_eq!(client.kept(DATA), 0);
}
