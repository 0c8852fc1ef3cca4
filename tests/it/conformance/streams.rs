//! The states of a stream, and its number: RFC 9113, sections 5.1, 5.1.1, 5.1.2 and 5.4.

use super::case::Owed::{Answer, Goaway, Nothing, Reset, Seen, Worded};
use super::case::{case, run};
use crate::support::http2::{
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM,
    RST_STREAM, STREAM_CLOSED, block,
};

/// As many as the gateway allows at once.
const STREAMS: u32 = 100;

#[test]
fn idle_streams_only_begin() {
    run(&[
        case("5.1, idle: DATA", Goaway(PROTOCOL_ERROR), |to| to.last(1, b"data")),
        case("5.1, idle: RST_STREAM", Goaway(PROTOCOL_ERROR), |to| to.reset(1, CANCEL)),
        case("5.1, idle: WINDOW_UPDATE", Goaway(PROTOCOL_ERROR), |to| to.widen(1, 100)),
        case("5.1, idle: CONTINUATION", Goaway(PROTOCOL_ERROR), |to| {
            let head = to.block("GET", "/", &[]);
            to.send(CONTINUATION, END_HEADERS, 1, head);
        }),
        case("5.1, idle: PRIORITY", Nothing, |to| to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 15])),
        case("5.1, idle: streams of the server's own", Goaway(PROTOCOL_ERROR), |to| to.last(2, b"data")),
    ]);
}

#[test]
fn what_has_been_said_to_be_whole_is_not_continued() {
    run(&[
        case("5.1, half-closed: DATA", Worded(STREAM_CLOSED), |to| {
            to.hang(1);
            to.last(1, b"data");
        }),
        case("5.1, half-closed: HEADERS", Worded(STREAM_CLOSED), |to| {
            to.hang(1);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("trailer", "late")]));
        }),
        case("5.1, half-closed: DATA after a body", Worded(STREAM_CLOSED), |to| {
            let head = to.block("POST", "/wait", &[]);
            to.send(HEADERS, END_HEADERS, 1, head);
            to.last(1, b"data");
            to.last(1, b"data");
        }),
        case("5.1, half-closed: CONTINUATION", Goaway(PROTOCOL_ERROR), |to| {
            to.hang(1);
            to.send(CONTINUATION, END_HEADERS, 1, block(&[("more", "fields")]));
        }),
        case("5.1, half-closed: WINDOW_UPDATE, PRIORITY and RST_STREAM", Nothing, |to| {
            to.hang(1);
            to.widen(1, 100);
            to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 15]);
            to.reset(1, CANCEL);
        }),
    ]);
}

#[test]
fn closed_streams_stay_closed() {
    run(&[
        case("5.1, closed by its answer: DATA", Reset(1, STREAM_CLOSED), |to| {
            to.get(1);
            to.answer(1);
            to.last(1, b"data");
        }),
        case("5.1, closed by its answer: HEADERS", Worded(STREAM_CLOSED), |to| {
            to.get(1);
            to.answer(1);
            to.get(1);
        }),
        case("5.1, closed by its answer: CONTINUATION", Goaway(PROTOCOL_ERROR), |to| {
            to.get(1);
            to.answer(1);
            to.send(CONTINUATION, END_HEADERS, 1, []);
        }),
        case("5.1, closed by its answer: WINDOW_UPDATE, PRIORITY and RST_STREAM", Nothing, |to| {
            to.get(1);
            to.answer(1);
            to.widen(1, 100);
            to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 15]);
            to.reset(1, CANCEL);
        }),
        case("5.1, closed by the client: DATA", Reset(1, STREAM_CLOSED), |to| {
            to.post(1, &[]);
            to.reset(1, CANCEL);
            to.last(1, b"data");
        }),
        case("5.1, closed by the client: HEADERS", Worded(STREAM_CLOSED), |to| {
            to.hang(1);
            to.reset(1, CANCEL);
            to.get(1);
        }),
        case("5.1, closed by the client: CONTINUATION", Goaway(PROTOCOL_ERROR), |to| {
            to.hang(1);
            to.reset(1, CANCEL);
            to.send(CONTINUATION, END_HEADERS, 1, []);
        }),
        case("5.1, closed by the server: what was on its way", Nothing, |to| {
            to.post(1, &[("content-length", "4")]);
            // Too much, which is an error of this stream.
            to.data(1, b"more than that");
            assert_eq!(to.client.reset(1), PROTOCOL_ERROR);
            to.data(1, b"data");
            to.widen(1, 100);
            to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 15]);
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("trailer", "late")]));
        }),
    ]);
}

#[test]
fn numbers_are_odd_and_rise() {
    run(&[
        case("5.1.1: an even one", Goaway(PROTOCOL_ERROR), |to| to.get(2)),
        case("5.1.1: one below the last", Goaway(PROTOCOL_ERROR), |to| {
            to.hang(5);
            to.get(3);
        }),
        case("5.1.1: the last again, under way", Reset(5, PROTOCOL_ERROR), |to| {
            to.post(5, &[]);
            to.post(5, &[]);
        }),
        case("5.1.1: some left out", Answer(77, 200), |to| {
            to.get(5);
            to.answer(5);
            to.get(77);
        }),
        case("5.1.1: WINDOW_UPDATE, RST_STREAM and PRIORITY on one that was left out", Nothing, |to| {
            to.get(5);
            to.answer(5);
            to.widen(3, 1);
            to.reset(3, CANCEL);
            to.send(PRIORITY, 0, 3, [0, 0, 0, 0, 15]);
        }),
        case("5.1.1: the very last", Seen, |to| {
            to.get(i32::MAX as u32);
            assert_eq!(to.answer(i32::MAX as u32).text(), "hello");
        }),
    ]);
}

#[test]
fn no_more_streams_than_allowed() {
    run(&[
        case("5.1.2: one too many", Reset(2 * STREAMS + 1, REFUSED_STREAM), |to| {
            for stream in 0..=STREAMS {
                to.hang(2 * stream + 1);
            }
            // There is to be room for the request that follows.
            to.sync();
            to.reset(1, CANCEL);
        }),
        case("5.1.2: one after the other, of as many as there may be", Nothing, |to| {
            for stream in 0..STREAMS {
                to.get(2 * stream + 1);
            }
            for stream in 0..STREAMS {
                assert_eq!(to.answer(2 * stream + 1).text(), "hello");
            }
            assert_eq!(to.client.kept(RST_STREAM), 0);
        }),
    ]);
}
