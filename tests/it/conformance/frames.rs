//! Frames of every kind: their form, their size, those that nobody knows, and error codes that nobody knows. RFC 9113,
//! sections 4.1, 4.2, 5.5 and 7.

use super::case::Owed::{Answer, Either, Goaway, Nothing, Seen};
use super::case::{case, run};
use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING,
    PRIORITY, PROTOCOL_ERROR, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
};

const UNKNOWN: u8 = 0xfa;
/// All that a header has of flags.
const ALL: u8 = 0xff;
/// The bit before a stream's number, and before an increment.
const RESERVED: u32 = 1 << 31;
/// The size up to which every server takes frames.
const MOST: usize = 1 << 14;

#[test]
fn what_means_nothing_is_ignored() {
    run(&[
        case("4.1, 5.5: an unknown kind on the connection", Nothing, |to| {
            to.send(UNKNOWN, ALL, 0, *b"what?")
        }),
        case("4.1: an unknown kind on an idle stream", Answer(1, 200), |to| {
            to.send(UNKNOWN, ALL, 1, *b"what?");
            to.get(1);
        }),
        case("4.1: an unknown kind on an open stream", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.send(UNKNOWN, ALL, 1, *b"what?");
            to.last(1, b"data");
        }),
        case("4.1: an unknown kind on a closed stream", Nothing, |to| {
            to.get(1);
            to.answer(1);
            to.send(UNKNOWN, ALL, 1, *b"what?");
        }),
        case("5.5: kinds that others have added", Nothing, |to| {
            // ALTSVC, ORIGIN, and PRIORITY_UPDATE of a stream that is still to come.
            to.send(0xa, 0, 0, *b"\0\x04here");
            to.send(0xc, 0, 0, *b"\0\x04here");
            to.send(0x10, 0, 0, *b"\0\0\0\x01u=3");
        }),
        case("4.1: an unknown kind without a payload", Nothing, |to| to.send(UNKNOWN, 0, 0, [])),
        case("4.1: an unknown kind, as large as it may be", Nothing, |to| to.send(UNKNOWN, 0, 0, [0; MOST])),
        case("4.1: a PING with all flags but its own", Nothing, |to| {
            to.send(PING, ALL & !ACK, 0, *b"12345678");
            to.echoed(*b"12345678");
        }),
        case("4.1: SETTINGS with all flags but its own", Nothing, |to| to.send(SETTINGS, ALL & !ACK, 0, [])),
        case("4.1: a WINDOW_UPDATE with all flags", Nothing, |to| {
            to.send(WINDOW_UPDATE, ALL, 0, 1u32.to_be_bytes());
        }),
        case("4.1: a PRIORITY with all flags", Nothing, |to| to.send(PRIORITY, ALL, 1, [0, 0, 0, 0, 1])),
        case("4.1: a RST_STREAM with all flags", Nothing, |to| {
            to.hang(1);
            to.send(RST_STREAM, ALL, 1, 8u32.to_be_bytes());
        }),
        case("4.1: HEADERS with all unknown flags", Answer(1, 200), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(HEADERS, END_HEADERS | END_STREAM | 0b1101_0010 & !PADDED, 1, head);
        }),
        case("4.1: DATA with all unknown flags", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.send(DATA, ALL & !PADDED, 1, *b"data");
        }),
        case("4.1: CONTINUATION with all flags", Answer(1, 200), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(HEADERS, END_STREAM, 1, &head[..9]);
            to.send(CONTINUATION, ALL, 1, &head[9..]);
        }),
        case("4.1: the reserved bit of the connection's number", Nothing, |to| {
            to.send(PING, 0, RESERVED, *b"reserved");
            to.echoed(*b"reserved");
        }),
        case("4.1: the reserved bit of a stream's number", Answer(1, 200), |to| to.get(RESERVED | 1)),
        case("6.9: the reserved bit of an increment", Nothing, |to| to.widen(0, RESERVED | 1)),
        case("7: a stream reset with an unknown code", Nothing, |to| {
            to.hang(1);
            to.reset(1, 0xff);
        }),
        case("7: a GOAWAY with an unknown code, while an answer is under way", Seen, |to| {
            to.post(1, &[]);
            to.send(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0xff]);
            to.last(1, b"data");
            assert_eq!(to.answer(1).text(), "data");
        }),
    ]);
}

#[test]
fn frames_are_as_large_as_they_may_be() {
    run(&[
        case("4.2: DATA as large as it may be", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.last(1, &[b'x'; MOST]);
        }),
        case("4.2: HEADERS as large as they may be", Answer(1, 200), |to| {
            let mut head = to.block("GET", "/", &[]);
            // A field's frame, its length in three bytes, and its name are eight bytes.
            let value = "x".repeat(MOST - head.len() - 8);
            head.extend(block(&[("x-a", &value)]));
            assert_eq!(head.len(), MOST);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
        }),
        case("4.2: DATA that is larger", Either(1, FRAME_SIZE_ERROR), |to| {
            to.post(1, &[]);
            to.data(1, &[b'x'; MOST + 1]);
        }),
        case("4.2: HEADERS that are larger", Goaway(FRAME_SIZE_ERROR), |to| {
            let mut head = to.block("GET", "/", &[]);
            head.extend(block(&[("x-long", &"x".repeat(MOST))]));
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
        }),
        case("4.2: a CONTINUATION that is larger", Goaway(FRAME_SIZE_ERROR), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(HEADERS, END_STREAM, 1, head);
            to.send(CONTINUATION, END_HEADERS, 1, block(&[("x-long", &"x".repeat(MOST))]));
        }),
        case("4.2: SETTINGS that are larger", Goaway(FRAME_SIZE_ERROR), |to| {
            to.send(SETTINGS, 0, 0, [[0xff, 0, 0, 0, 0, 0]; MOST / 6 + 1].concat());
        }),
        case("4.2: an unknown kind that is larger", Goaway(FRAME_SIZE_ERROR), |to| {
            to.send(UNKNOWN, 0, 0, [0; MOST + 1]);
        }),
        case("4.2: the largest that can be said, of which nothing comes", Goaway(FRAME_SIZE_ERROR), |to| {
            to.raw([0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]);
        }),
        case("5.5: an unknown kind between the pieces of a head", Goaway(PROTOCOL_ERROR), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(HEADERS, END_STREAM, 1, &head[..9]);
            to.send(UNKNOWN, 0, 1, []);
            to.send(CONTINUATION, END_HEADERS, 1, &head[9..]);
        }),
    ]);
}
