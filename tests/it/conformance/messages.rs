//! Requests that HTTP/2 calls malformed: RFC 9113, sections 8.1 to 8.5. None of them may reach the app.

use super::case::Owed::{self, Answer, Seen};
use super::case::{case, run};
use super::peer::Peer;
use crate::support::http2::{END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, block, raw_block};

const BROKEN: Owed = Owed::Reset(1, PROTOCOL_ERROR);

/// Of bytes that h2 does not take at all, and so cannot tell from a block that does not decompress.
const UNREADABLE: Owed = Owed::Either(1, PROTOCOL_ERROR);

/// A request with one field more.
fn with(to: &mut Peer, name: &[u8], value: &[u8]) {
    let head = [to.block("GET", "/malformed", &[]), raw_block(&[(name, value)])].concat();
    to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
}

/// A request with these pseudo-fields.
fn pseudo(to: &mut Peer, fields: &[(&str, &str)]) {
    let head = [block(fields), to.pass()].concat();
    to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/malformed");
const AUTHORITY: (&str, &str) = (":authority", "shop.localhost");

#[test]
fn names_and_values_are_of_certain_bytes() {
    let site = run(&[
        case("8.2: a name with a capital", UNREADABLE, |to| with(to, b"x-Test", b"a")),
        case("8.2.1: an empty name", UNREADABLE, |to| with(to, b"", b"a")),
        case("8.2.1: a name with a blank", UNREADABLE, |to| with(to, b"x test", b"a")),
        case("8.2.1: a name with a control character", UNREADABLE, |to| with(to, b"x\x01", b"a")),
        case("8.2.1: a name with DEL", UNREADABLE, |to| with(to, b"x\x7f", b"a")),
        case("8.2.1: a name beyond ASCII", UNREADABLE, |to| with(to, "xä".as_bytes(), b"a")),
        case("8.2.1: a name with a colon", UNREADABLE, |to| with(to, b"x:y", b"a")),
        case("8.2.1: a name with CR and LF", UNREADABLE, |to| with(to, b"x\r\ny", b"a")),
        case("8.2.1: a value with NUL", UNREADABLE, |to| with(to, b"x-test", b"a\0b")),
        case("8.2.1: a value with LF", UNREADABLE, |to| with(to, b"x-test", b"a\nb: c")),
        case("8.2.1: a value with CR", UNREADABLE, |to| with(to, b"x-test", b"a\rb: c")),
        case("8.2.1: a value that begins with a blank", Answer(1, 400), |to| with(to, b"x-test", b" a")),
        case("8.2.1: a value that begins with a tab", Answer(1, 400), |to| with(to, b"x-test", b"\ta")),
        case("8.2.1: a value that ends with a blank", Answer(1, 400), |to| with(to, b"x-test", b"a ")),
    ]);
    assert_eq!(site.reached(), Vec::<String>::new());
}

#[test]
fn fields_of_a_connection_have_no_place() {
    let site = run(&[
        case("8.2.2: connection", BROKEN, |to| with(to, b"connection", b"keep-alive")),
        case("8.2.2: proxy-connection", BROKEN, |to| with(to, b"proxy-connection", b"keep-alive")),
        case("8.2.2: keep-alive", BROKEN, |to| with(to, b"keep-alive", b"timeout=5")),
        case("8.2.2: transfer-encoding", BROKEN, |to| with(to, b"transfer-encoding", b"chunked")),
        case("8.2.2: upgrade", BROKEN, |to| with(to, b"upgrade", b"h2c")),
        case("8.2.2: te that is not trailers", BROKEN, |to| with(to, b"te", b"gzip")),
        case("8.2.2: te that is not only trailers", BROKEN, |to| with(to, b"te", b"trailers, gzip")),
    ]);
    assert_eq!(site.reached(), Vec::<String>::new());
    run(&[case("8.2.2: te that is trailers", Answer(1, 200), |to| with(to, b"te", b"trailers"))]);
}

#[test]
fn pseudo_fields_are_known_first_and_single() {
    let site = run(&[
        case("8.3: an unknown one", UNREADABLE, |to| {
            pseudo(to, &[METHOD, SCHEME, PATH, AUTHORITY, (":test", "a")])
        }),
        case("8.3: one of answers", BROKEN, |to| {
            pseudo(to, &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")])
        }),
        case("8.3: after a field", BROKEN, |to| {
            pseudo(to, &[METHOD, SCHEME, PATH, ("x-test", "a"), AUTHORITY])
        }),
        case("8.3: after all fields", BROKEN, |to| with(to, b":authority", b"shop.localhost")),
        case("8.3: :method twice", BROKEN, |to| pseudo(to, &[METHOD, METHOD, SCHEME, PATH, AUTHORITY])),
        case("8.3: :scheme twice", BROKEN, |to| pseudo(to, &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY])),
        case("8.3: :path twice", BROKEN, |to| pseudo(to, &[METHOD, SCHEME, PATH, PATH, AUTHORITY])),
        case("8.3: :authority twice", BROKEN, |to| pseudo(to, &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY])),
        case("8.3.1: no :method", BROKEN, |to| pseudo(to, &[SCHEME, PATH, AUTHORITY])),
        case("8.3.1: no :scheme", BROKEN, |to| pseudo(to, &[METHOD, PATH, AUTHORITY])),
        case("8.3.1: no :path", BROKEN, |to| pseudo(to, &[METHOD, SCHEME, AUTHORITY])),
        case("8.3.1: none at all", BROKEN, |to| pseudo(to, &[])),
        case("8.3.1: an empty :path", BROKEN, |to| pseudo(to, &[METHOD, SCHEME, (":path", ""), AUTHORITY])),
        case("8.3.1: an empty :method", UNREADABLE, |to| {
            pseudo(to, &[(":method", ""), SCHEME, PATH, AUTHORITY])
        }),
        case("8.3.1: an empty :scheme", Answer(1, 400), |to| {
            pseudo(to, &[METHOD, (":scheme", ""), PATH, AUTHORITY])
        }),
        case("8.3.1: a :method that is none", UNREADABLE, |to| {
            pseudo(to, &[(":method", "G T"), SCHEME, PATH, AUTHORITY])
        }),
        case("8.3.1: a :scheme that is none", BROKEN, |to| {
            pseudo(to, &[METHOD, (":scheme", "h ttp"), PATH, AUTHORITY])
        }),
        case("8.3.1: a :path with a blank", BROKEN, |to| {
            pseudo(to, &[METHOD, SCHEME, (":path", "/a b"), AUTHORITY])
        }),
        case("8.3.1: a :path without a slash", BROKEN, |to| {
            pseudo(to, &[METHOD, SCHEME, (":path", "malformed"), AUTHORITY]);
        }),
        case("8.3.1: the asterisk, but not for OPTIONS", Answer(1, 400), |to| {
            pseudo(to, &[METHOD, SCHEME, (":path", "*"), AUTHORITY]);
        }),
        case("8.3.1: an :authority that is none", BROKEN, |to| {
            pseudo(to, &[METHOD, SCHEME, PATH, (":authority", "shop localhost")]);
        }),
        case("8.3.1: an :authority with a user", Answer(1, 400), |to| {
            pseudo(to, &[METHOD, SCHEME, PATH, (":authority", "user@shop.localhost")]);
        }),
        case("8.5: CONNECT with a path", BROKEN, |to| {
            pseudo(to, &[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY])
        }),
        case("8.5: CONNECT to nowhere", Answer(1, 405), |to| pseudo(to, &[(":method", "CONNECT")])),
        case("8.5: CONNECT, which ends here", Answer(1, 405), |to| {
            pseudo(to, &[(":method", "CONNECT"), (":authority", "shop.localhost:80")]);
        }),
        case("RFC 8441, 4: a protocol without CONNECT", BROKEN, |to| {
            pseudo(to, &[METHOD, SCHEME, PATH, AUTHORITY, (":protocol", "websocket")]);
        }),
        case("RFC 8441, 4: extended CONNECT without a path", BROKEN, |to| {
            pseudo(to, &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, AUTHORITY]);
        }),
        case("RFC 8441, 4: extended CONNECT without a scheme", BROKEN, |to| {
            pseudo(to, &[(":method", "CONNECT"), (":protocol", "websocket"), PATH, AUTHORITY]);
        }),
    ]);
    assert_eq!(site.reached(), Vec::<String>::new());
}

#[test]
fn lengths_are_true() {
    let site = run(&[
        case("8.1.1: less than was said, in one piece", BROKEN, |to| {
            to.post(1, &[("content-length", "5")]);
            to.last(1, b"data");
        }),
        case("8.1.1: more than was said, in one piece", BROKEN, |to| {
            to.post(1, &[("content-length", "3")]);
            to.last(1, b"data");
        }),
        case("8.1.1: less than was said, in many pieces", BROKEN, |to| {
            to.post(1, &[("content-length", "10")]);
            to.data(1, b"data");
            to.last(1, b"data");
        }),
        case("8.1.1: more than was said, in many pieces", BROKEN, |to| {
            to.post(1, &[("content-length", "6")]);
            to.data(1, b"data");
            to.last(1, b"data");
        }),
        case("8.1.1: a length, and no body", BROKEN, |to| to.ask(1, "POST", "/", &[("content-length", "1")])),
        case("8.1.1: a length, and no body but trailers", BROKEN, |to| {
            to.post(1, &[("content-length", "1")]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("checksum", "42")]));
        }),
        case("8.1.1: two lengths that differ", BROKEN, |to| {
            to.post(1, &[("content-length", "4"), ("content-length", "5")]);
            to.last(1, b"data");
        }),
        case("8.1.1: a length that is no number", BROKEN, |to| {
            to.post(1, &[("content-length", "four")]);
            to.last(1, b"data");
        }),
        case("8.1.1: a length below nothing", BROKEN, |to| {
            to.post(1, &[("content-length", "-4")]);
            to.last(1, b"data");
        }),
        case("8.1.1: a length that no number can hold", BROKEN, |to| {
            to.post(1, &[("content-length", "99999999999999999999999")]);
            to.last(1, b"data");
        }),
        case("8.1.1: the true length, padding not counted", Seen, |to| {
            to.post(1, &[("content-length", "4")]);
            to.send(0x0, 0x8, 1, *b"\x03data\0\0\0");
            to.last(1, b"");
            assert_eq!(to.answer(1).text(), "data");
        }),
    ]);
    let whole: Vec<_> = site.app.requests().into_iter().map(|request| request.body).collect();
    assert!(whole.iter().all(|body| matches!(&body[..], b"" | b"data")), "{whole:?}");
}

#[test]
fn trailers_are_the_end() {
    let site = run(&[
        case("8.1: after a body", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.data(1, b"data");
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("checksum", "42")]));
        }),
        case("8.1: without a body", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("checksum", "42")]));
        }),
        case("8.1: with something to follow", BROKEN, |to| {
            to.post(1, &[]);
            to.data(1, b"data");
            to.send(HEADERS, END_HEADERS, 1, block(&[("checksum", "42")]));
        }),
        // It is malformed, but h2 takes out what has no place there and says nothing of it. The app gets the rest.
        case("8.1: with a pseudo-field", Answer(1, 200), |to| {
            let head = to.block("POST", "/pseudo", &[("trailer", "checksum")]);
            to.send(HEADERS, END_HEADERS, 1, head);
            to.data(1, b"data");
            let trailers = block(&[(":path", "/elsewhere"), ("checksum", "42")]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, trailers);
        }),
        case("8.2: with a capital", UNREADABLE, |to| {
            to.post(1, &[]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("Checksum", "42")]));
        }),
        case("8.2.2: with a field of the connection", BROKEN, |to| {
            to.post(1, &[]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("connection", "close")]));
        }),
        case("8.1.1: a stream that is malformed says nothing of the next", Answer(3, 200), |to| {
            with(to, b"connection", b"close");
            assert_eq!(to.client.reset(1), PROTOCOL_ERROR);
            to.get(3);
        }),
    ]);
    let seen = String::from_utf8(site.app.bytes()).unwrap();
    assert!(seen.contains("checksum: 42\r\n") && !seen.contains("elsewhere"), "{seen}");
}
