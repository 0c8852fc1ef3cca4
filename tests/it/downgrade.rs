//! HTTP/2 requests on their way to an HTTP/1.1 app: whatever could mean something else there is refused.

use std::sync::mpsc::channel;

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::http2::{
    Client, END_HEADERS, END_STREAM, Frame, HEADERS, Outcome, PROTOCOL_ERROR, connect, raw_block,
};

const TOKEN: &str = "x-portcullis-token";

/// A gateway before an echoing app, a token for its production environment, and a connection.
struct Stage {
    app: App,
    token: String,
    client: Client,
    _gateway: Gateway,
}

impl Stage {
    fn new() -> Self {
        Self::before(App::echo())
    }

    fn before(app: App) -> Self {
        let gateway = Gateway::before(&app);
        let token = gateway.mint("production").secret;
        let client = connect(gateway.address());
        Self { app, token, client, _gateway: gateway }
    }

    /// Sends a head as it is, with a token, and a body behind it unless that is empty.
    fn send(&mut self, fields: &[(&[u8], &[u8])], body: &[u8]) -> Outcome {
        let stream = self.client.stream();
        let token = (TOKEN.as_bytes(), self.token.as_bytes());
        let block = raw_block(&[fields, &[token]].concat());
        let end = if body.is_empty() { END_STREAM } else { 0 };
        self.client.send(&Frame::new(HEADERS, END_HEADERS | end, stream, block));
        if !body.is_empty() {
            self.client.data(stream, body, END_STREAM);
        }
        self.client.outcome(stream)
    }
}

fn head<'a>(method: &'a str, path: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"shop.localhost"),
        (b":path", path.as_bytes()),
    ]
}

#[test]
fn fields_that_an_http1_app_could_misread_are_refused() {
    let mut stage = Stage::new();
    for (name, value) in [
        (&b"content-length"[..], &b"010"[..]),
        (b"content-length", b"+4"),
        (b"content-length", b""),
        (b"content-length", b"4, 4"),
        (b"content-length", b" 4"),
        (b"x-blank", b" a"),
        (b"x-blank", b"a\t"),
    ] {
        let fields = [head("POST", "/"), vec![(name, value)]].concat();
        match stage.send(&fields, b"body") {
            Outcome::Whole(answer, _) => drop(answer.refused(400, "invalid_request")),
            Outcome::Reset(code) => assert_eq!(code, PROTOCOL_ERROR),
            Outcome::Gone => panic!("{}: the whole connection", value.escape_ascii()),
        }
    }
    let twice = [head("POST", "/"), vec![(b"content-length", b"4"), (b"content-length", b"4")]].concat();
    let Outcome::Whole(answer, _) = stage.send(&twice, b"body") else { panic!("no answer") };
    answer.refused(400, "invalid_request");
    assert!(stage.app.bytes().is_empty());
}

#[test]
fn fields_that_http2_does_not_know_end_their_stream() {
    let mut stage = Stage::new();
    for (name, value) in [
        (&b"connection"[..], &b"keep-alive"[..]),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"keep-alive", b"5"),
        (b"proxy-connection", b"close"),
        (b"te", b"gzip"),
    ] {
        let fields = [head("GET", "/"), vec![(name, value)]].concat();
        let outcome = stage.send(&fields, b"");
        assert!(matches!(outcome, Outcome::Reset(PROTOCOL_ERROR)), "{}: {outcome:?}", name.escape_ascii());
    }
    // No bytes that end a line or a string, and no name that HTTP/1 would read otherwise.
    for (name, value) in [
        (&b"x-a"[..], &b"a\r\nx-b: c"[..]),
        (b"x-a", b"a\nb"),
        (b"x-a", b"a\0b"),
        (b"x a", b"b"),
        (b"x-a:", b"b"),
        (b"X-A", b"b"),
        (b"", b"b"),
    ] {
        let mut stage = Stage::new();
        let fields = [head("GET", "/"), vec![(name, value)]].concat();
        let outcome = stage.send(&fields, b"");
        assert!(!matches!(outcome, Outcome::Whole(..)), "{}: {outcome:?}", name.escape_ascii());
        assert!(stage.app.bytes().is_empty());
    }
    assert!(stage.app.bytes().is_empty());
}

#[test]
fn targets_are_paths_of_this_host() {
    let mut stage = Stage::new();
    let pseudo = |method: &'static str, scheme: &'static str, authority: &'static str, path: &'static str| {
        let fields = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)];
        fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    };
    for fields in [
        pseudo("GET", "http", "user@shop.localhost", "/"),
        pseudo("GET", "http", "user:pass@shop.localhost", "/"),
        pseudo("GET", "http", "shop.localhost:80:80", "/"),
        pseudo("GET", "http", "shop.localhost, evil", "/"),
        pseudo("GET", "ftp", "shop.localhost", "/"),
        pseudo("GET", "http", "shop.localhost", "*"),
        pseudo("GET", "http", "shop.localhost", "evil"),
        pseudo("GET", "http", "shop.localhost", "http://evil.example/"),
        pseudo("GET", "http", "shop.localhost", "/a b"),
        pseudo("GET", "http", "shop.localhost", "/a\r\nb"),
        pseudo("GET", "http", "shop.localhost", ""),
    ] {
        match stage.send(&fields, b"") {
            Outcome::Whole(answer, _) => drop(answer.refused(400, "invalid_request")),
            Outcome::Reset(code) => assert_eq!(code, PROTOCOL_ERROR),
            Outcome::Gone => panic!("the whole connection: {fields:?}"),
        }
    }
    assert!(stage.app.bytes().is_empty());
    let Outcome::Whole(answer, _) = stage.send(&pseudo("OPTIONS", "https", "shop.localhost", "*"), b"")
    else {
        panic!("no answer")
    };
    assert_eq!(answer.status, 200);
    assert_eq!(stage.app.only().head.line, "OPTIONS * HTTP/1.1");
}

#[test]
fn some_methods_end_here() {
    let mut stage = Stage::new();
    let connect: [(&[u8], &[u8]); 2] = [(b":method", b"CONNECT"), (b":authority", b"shop.localhost:443")];
    for fields in [connect.to_vec(), head("TRACE", "/")] {
        let Outcome::Whole(answer, _) = stage.send(&fields, b"") else { panic!("no answer") };
        answer.refused(405, "method_not_allowed");
    }
    let other = [head("CONNECT", "/"), vec![(b":protocol", b"connect-udp")]].concat();
    let Outcome::Whole(answer, _) = stage.send(&other, b"") else { panic!("no answer") };
    answer.refused(400, "invalid_request");
    assert!(stage.app.bytes().is_empty());
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_no_request() {
    let (tell, told) = channel();
    let app = App::start(move |exchange| {
        let tell = |what: &str| tell.send((exchange.wire.stream.connection, what.to_owned())).unwrap();
        tell(exchange.head.target());
        let body = exchange.body();
        exchange.answer(if body.is_empty() { b"hello" } else { &body });
    });
    let mut stage = Stage::before(app);
    for (length, body) in [("10", &b"short"[..]), ("2", b"too long"), ("5", b"")] {
        let fields = [head("POST", "/"), vec![(b"content-length", length.as_bytes())]].concat();
        let outcome = stage.send(&fields, body);
        assert!(matches!(outcome, Outcome::Reset(PROTOCOL_ERROR)), "{length}: {outcome:?}");
    }
    // What such a request was sent over is not used again: the app may wait for the rest of it.
    let Outcome::Whole(answer, _) = stage.send(&head("GET", "/next"), b"") else { panic!("no answer") };
    assert_eq!(answer.text(), "hello");
    let seen: Vec<(usize, String)> = told.try_iter().collect();
    let (fresh, _) = seen.iter().find(|(_, path)| path == "/next").unwrap();
    assert_eq!(seen.iter().filter(|(connection, _)| connection == fresh).count(), 1, "{seen:?}");
    let complete: Vec<_> =
        stage.app.requests().into_iter().filter(|request| !request.body.is_empty()).collect();
    assert!(complete.is_empty(), "{complete:?}");
}

#[test]
fn nothing_that_a_client_names_or_spells_takes_our_place() {
    let mut stage = Stage::new();
    let mut fields = head("GET", "/");
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_proto", "https"),
        ("forwarded", "for=10.0.0.1"),
        ("x-portcullis-app", "other"),
        ("x_portcullis_token_id", "tok_x"),
        ("x-request-id", "mine"),
        ("http2-settings", "AAMAAABk"),
        ("proxy-authorization", "Basic dTpw"),
    ] {
        fields.push((name.as_bytes(), value.as_bytes()));
    }
    let Outcome::Whole(answer, _) = stage.send(&fields, b"") else { panic!("no answer") };
    assert_eq!(answer.status, 200);
    let seen = stage.app.only().head;
    assert_eq!(
        (seen.get("x-forwarded-for"), seen.get("x-portcullis-app")),
        (Some("127.0.0.1"), Some("shop"))
    );
    assert_ne!(seen.get("x-request-id"), Some("mine"));
    for name in
        ["x_forwarded_proto", "forwarded", "x_portcullis_token_id", "http2-settings", "proxy-authorization"]
    {
        assert_eq!(seen.get(name), None, "{name}");
    }
}
