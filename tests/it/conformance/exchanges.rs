//! Requests and answers as they should be: RFC 9113, section 8, with all that may go on beside them.

use super::case::Owed::{Answer, Nothing, Seen};
use super::case::{case, run};
use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITIZED, PRIORITY, RST_STREAM, block,
};

#[test]
fn every_method_is_answered() {
    run(&[
        case("8.8: GET", Answer(1, 200), |to| to.get(1)),
        case("8.8: HEAD, without a body", Seen, |to| {
            to.ask(1, "HEAD", "/", &[]);
            let head = to.client.wait(|frame| frame.stream == 1).unwrap();
            assert!(head.kind == HEADERS && head.has(END_STREAM), "{head:?}");
        }),
        case("8.8: POST", Seen, |to| {
            to.post(1, &[("content-length", "4")]);
            to.last(1, b"data");
            assert_eq!(to.answer(1).text(), "data");
        }),
        case("8.8: POST with trailers", Seen, |to| {
            to.post(1, &[("trailer", "checksum")]);
            to.data(1, b"data");
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("checksum", "42")]));
            assert_eq!(to.answer(1).text(), "data");
        }),
        case("8.3.1: OPTIONS for the whole server", Answer(1, 200), |to| to.ask(1, "OPTIONS", "*", &[])),
        case("8.3.1: a method of the app's own", Answer(1, 200), |to| to.ask(1, "BREW", "/", &[])),
        case("8.3.1: a query", Answer(1, 200), |to| to.ask(1, "GET", "/?a=b&c", &[])),
        case("8.3.1: a scheme of another sort", Answer(1, 400), |to| {
            let fields =
                [(":method", "GET"), (":scheme", "gopher"), (":path", "/"), (":authority", "shop.localhost")];
            let head = [block(&fields), to.pass()].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
        }),
    ]);
}

#[test]
fn answers_have_the_form_that_they_must_have() {
    run(&[
        case("8.2, 8.3.2: names are small, :status comes first and alone", Seen, |to| {
            for (stream, path) in [(1, "/"), (3, "/hop")] {
                to.ask(stream, "GET", path, &[]);
                let head = to.client.wait(|frame| frame.kind == HEADERS && frame.stream == stream).unwrap();
                let fields = fluke_hpack::Decoder::new().decode(&head.payload).unwrap();
                assert_eq!(fields[0], (b":status".to_vec(), b"200".to_vec()));
                for (name, _) in &fields[1..] {
                    assert!(!name.starts_with(b":") && name.to_ascii_lowercase() == *name);
                    let of_connection = [&b"connection"[..], b"keep-alive", b"transfer-encoding", b"upgrade"];
                    assert!(!of_connection.contains(&&name[..]), "{}", name.escape_ascii());
                }
            }
        }),
        case("8.1: an answer before the end of its request", Seen, |to| {
            let fields =
                [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "shop.localhost")];
            to.send(HEADERS, END_HEADERS, 1, block(&fields));
            let answer = to.answer(1);
            answer.refused(401, "token_missing");
            // It may say that the rest is of no use, and nothing worse.
            to.sync();
            assert!(to.client.wait(|frame| frame.kind == RST_STREAM).is_none_or(|reset| reset.code() == 0));
        }),
    ]);
}

#[test]
fn much_goes_on_at_once() {
    run(&[
        case("5.1.2: streams side by side, each with its own body", Nothing, |to| {
            let streams = || (0..50).map(|number| 2 * number + 1);
            streams().for_each(|stream| to.post(stream, &[]));
            streams().for_each(|stream| to.data(stream, b"body of "));
            streams().rev().for_each(|stream| to.last(stream, stream.to_string().as_bytes()));
            streams().for_each(|stream| assert_eq!(to.answer(stream).text(), format!("body of {stream}")));
        }),
        case("6: every frame that a request may have", Answer(1, 200), |to| {
            to.settings(&[]);
            to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 15]);
            let head = to.block("POST", "/", &[]);
            to.send(HEADERS, PADDED | PRIORITIZED, 1, [&[2, 0, 0, 0, 0, 15], &head[..9], &[0; 2]].concat());
            to.send(CONTINUATION, 0, 1, &head[9..30]);
            to.send(CONTINUATION, END_HEADERS, 1, &head[30..]);
            to.widen(0, 1);
            to.widen(1, 1);
            to.send(0x6, 0, 0, *b"12345678");
            to.send(DATA, PADDED, 1, *b"\x01data\0");
            to.send(PRIORITY, 0, 1, [0x80, 0, 0, 9, 255]);
            to.send(0xfa, 0xff, 1, *b"what?");
            to.send(HEADERS, END_STREAM, 1, []);
            to.send(CONTINUATION, END_HEADERS, 1, block(&[("checksum", "42")]));
        }),
    ]);
}
