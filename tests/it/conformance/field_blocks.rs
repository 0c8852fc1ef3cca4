//! Field blocks in one frame and in many, and what they leave behind: RFC 9113, sections 4.3, 6.2 and 6.10.

use super::case::Owed::{Answer, Goaway, Seen, Worded};
use super::case::{case, run};
use super::peer::Peer;
use crate::support::http2::{
    COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, block,
};

/// Sends the first piece of a head, and then the rest of it behind something else.
fn interrupt(to: &mut Peer, something: impl FnOnce(&mut Peer)) {
    let head = to.block("GET", "/cut", &[]);
    to.send(HEADERS, END_STREAM, 1, &head[..20]);
    something(to);
    to.send(CONTINUATION, END_HEADERS, 1, &head[20..]);
}

#[test]
fn heads_come_in_pieces() {
    run(&[
        case("6.10: in two", Answer(1, 200), |to| interrupt(to, |_| {})),
        case("6.10: in many, some of them empty", Answer(1, 200), |to| {
            let head = to.block("GET", "/", &[]);
            let (first, rest) = head.split_at(1);
            to.send(HEADERS, END_STREAM, 1, first);
            to.send(CONTINUATION, 0, 1, []);
            to.send(CONTINUATION, 0, 1, &rest[..60]);
            to.send(CONTINUATION, 0, 1, &rest[60..61]);
            to.send(CONTINUATION, 0, 1, &rest[61..]);
            to.send(CONTINUATION, END_HEADERS, 1, []);
        }),
        case("6.10: none of it in the first", Answer(1, 200), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(HEADERS, END_STREAM, 1, []);
            to.send(CONTINUATION, END_HEADERS, 1, head);
        }),
        case("6.10: the first padded", Answer(1, 200), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(HEADERS, END_STREAM | PADDED, 1, [&[9], &head[..20], &[0; 9]].concat());
            to.send(CONTINUATION, END_HEADERS, 1, &head[20..]);
        }),
        case("6.10: before a body", Seen, |to| {
            let head = to.block("POST", "/", &[]);
            to.send(HEADERS, 0, 1, &head[..20]);
            to.send(CONTINUATION, END_HEADERS, 1, &head[20..]);
            to.last(1, b"data");
            assert_eq!(to.answer(1).text(), "data");
        }),
        case("6.10, 8.1: trailers", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.data(1, b"data");
            let trailers = block(&[("checksum", "42")]);
            to.send(HEADERS, END_STREAM, 1, &trailers[..4]);
            to.send(CONTINUATION, END_HEADERS, 1, &trailers[4..]);
        }),
    ]);
}

#[test]
fn nothing_comes_between_the_pieces() {
    let site = run(&[
        case("6.10: a CONTINUATION of nothing", Goaway(PROTOCOL_ERROR), |to| {
            to.get(1);
            to.answer(1);
            to.send(CONTINUATION, END_HEADERS, 3, []);
        }),
        case("6.10: on the connection itself", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(CONTINUATION, END_HEADERS, 0, block(&[("x-a", "b")])));
        }),
        case("6.10: without anything before", Goaway(PROTOCOL_ERROR), |to| {
            to.send(CONTINUATION, END_HEADERS, 0, []);
        }),
        case("6.10: of another stream", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(CONTINUATION, END_HEADERS, 3, []));
        }),
        case("6.10: after HEADERS that were whole", Goaway(PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            to.send(CONTINUATION, END_HEADERS, 1, block(&[("x-a", "b")]));
        }),
        case("6.10: after a CONTINUATION that was the last", Goaway(PROTOCOL_ERROR), |to| {
            let head = to.block("POST", "/", &[]);
            to.send(HEADERS, 0, 1, &head[..20]);
            to.send(CONTINUATION, END_HEADERS, 1, &head[20..]);
            to.send(CONTINUATION, END_HEADERS, 1, block(&[("x-a", "b")]));
        }),
        case("6.10: after DATA", Goaway(PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            to.data(1, b"data");
            to.send(CONTINUATION, END_HEADERS, 1, block(&[("x-a", "b")]));
        }),
        case("6.2: DATA between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(DATA, 0, 1, *b"data"))
        }),
        case("6.2: HEADERS of the same stream between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(HEADERS, 0, 1, []));
        }),
        case("6.2: HEADERS of another stream between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.ask(3, "GET", "/cut", &[]));
        }),
        case("4.3: PRIORITY between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 15]));
        }),
        case("4.3: RST_STREAM between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(RST_STREAM, 0, 1, [0, 0, 0, 8]));
        }),
        case("4.3: SETTINGS between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(SETTINGS, 0, 0, []));
        }),
        case("4.3: PING between", Goaway(PROTOCOL_ERROR), |to| {
            interrupt(to, |to| to.send(PING, 0, 0, [0; 8]))
        }),
        case("4.3: WINDOW_UPDATE between", Goaway(PROTOCOL_ERROR), |to| interrupt(to, |to| to.widen(0, 1))),
    ]);
    assert!(!site.reached().contains(&"/cut".to_owned()), "half a head is none");
}

/// Puts a field into the table of the server's side, which then is its first: 62.
fn remember(block: &mut Vec<u8>) {
    block.extend(b"\x40\x06x-kept\x05first");
}

/// A request with the field that is in the table.
fn recall(to: &mut Peer, stream: u32) {
    let mut head = to.block("GET", "/recalled", &[]);
    head.push(0x80 | 62);
    to.send(HEADERS, END_HEADERS | END_STREAM, stream, head);
}

#[test]
fn blocks_leave_their_fields_behind_whatever_becomes_of_the_stream() {
    let site = run(&[
        case("4.3: of a request that was answered", Answer(3, 200), |to| {
            let mut head = to.block("GET", "/", &[]);
            remember(&mut head);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
            recall(to, 3);
        }),
        case("4.3: of a malformed request", Answer(3, 200), |to| {
            let mut head = to.block("GET", "/", &[("connection", "close")]);
            remember(&mut head);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
            recall(to, 3);
        }),
        case("4.3: of a request that was refused for its size", Answer(3, 200), |to| {
            let mut head = to.block("GET", "/", &[]);
            let long = "x".repeat(14_000);
            to.send(HEADERS, END_STREAM, 1, &*head);
            for _ in 0..5 {
                to.send(CONTINUATION, 0, 1, block(&[("x-long", &long)]));
            }
            head.clear();
            remember(&mut head);
            to.send(CONTINUATION, END_HEADERS, 1, head);
            assert_eq!(to.client.answer_head(1).status(), 431);
            recall(to, 3);
        }),
        case("4.3: of one that was taken back", Answer(3, 200), |to| {
            let mut head = to.block("GET", "/wait", &[]);
            remember(&mut head);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
            to.reset(1, 8);
            recall(to, 3);
        }),
        case("4.3: of one too many", Answer(207, 200), |to| {
            for stream in 0..100 {
                to.hang(2 * stream + 1);
            }
            let mut head = to.block("GET", "/", &[]);
            remember(&mut head);
            to.send(HEADERS, END_HEADERS | END_STREAM, 201, head);
            assert_eq!(to.client.reset(201), 7);
            to.reset(1, 8);
            to.reset(3, 8);
            recall(to, 207);
        }),
        case("4.3: of trailers", Answer(3, 200), |to| {
            to.post(1, &[]);
            let mut trailers = block(&[("checksum", "42")]);
            remember(&mut trailers);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, trailers);
            recall(to, 3);
        }),
        case("4.3: of trailers that come too late", Answer(3, 200), |to| {
            to.post(1, &[("content-length", "1")]);
            to.data(1, b"more");
            assert_eq!(to.client.reset(1), PROTOCOL_ERROR);
            let mut trailers = block(&[("checksum", "42")]);
            remember(&mut trailers);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, trailers);
            recall(to, 3);
        }),
        case("4.3: a block that cannot be read", Worded(COMPRESSION_ERROR), |to| {
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, [0xff; 12]);
        }),
        case("4.3: trailers that cannot be read", Worded(COMPRESSION_ERROR), |to| {
            to.post(1, &[]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, [0xff; 12]);
        }),
    ]);
    let requests = site.app.requests();
    let recalled: Vec<_> = requests.iter().filter(|request| request.head.target() == "/recalled").collect();
    assert_eq!(recalled.len() % 7, 0);
    assert!(recalled.iter().all(|request| request.head.get("x-kept") == Some("first")));
}
