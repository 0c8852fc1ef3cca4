//! What each kind of frame may look like: RFC 9113, sections 6.1 to 6.8.

use super::case::Owed::{Answer, Goaway, Nothing, Reset, Seen, Worded};
use super::case::{case, run};
use crate::support::http2::{
    ACK, CANCEL, DATA, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, GOAWAY, HEADERS, NO_ERROR, PADDED, PING,
    PRIORITIZED, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM,
};

/// Depends on no stream, with a middling weight.
const NOBODY: [u8; 5] = [0, 0, 0, 0, 15];

/// A payload with `padding` bytes behind it.
fn padded(payload: &[u8], padding: u8) -> Vec<u8> {
    [&[padding], payload, &vec![0; padding.into()]].concat()
}

#[test]
fn data_carries_bodies() {
    run(&[
        case("6.1: in pieces", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.data(1, b"in ");
            to.data(1, b"");
            to.last(1, b"pieces");
        }),
        case("6.1: padding is no part of a body", Seen, |to| {
            to.post(1, &[]);
            to.send(DATA, PADDED, 1, padded(b"data", 255));
            to.send(DATA, PADDED, 1, padded(b"", 0));
            to.send(DATA, PADDED, 1, padded(b"", 7));
            to.send(DATA, PADDED | END_STREAM, 1, padded(b" and more", 0));
            assert_eq!(to.answer(1).text(), "data and more");
        }),
        case("6.1: on the connection itself", Goaway(PROTOCOL_ERROR), |to| to.last(0, b"data")),
        case("6.1: padding as long as the payload", Goaway(PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            to.send(DATA, PADDED, 1, *b"\x05data");
        }),
        case("6.1: padding longer than the payload", Goaway(PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            to.send(DATA, PADDED | END_STREAM, 1, *b"\xffdata");
        }),
        case("6.1: padded, without the length of the padding", Worded(FRAME_SIZE_ERROR), |to| {
            to.post(1, &[]);
            to.send(DATA, PADDED, 1, []);
        }),
    ]);
}

#[test]
fn headers_open_streams() {
    run(&[
        case("6.2: with padding", Answer(1, 200), |to| {
            let head = padded(&to.block("GET", "/", &[]), 200);
            to.send(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, head);
        }),
        case("6.2: with a priority", Answer(1, 200), |to| {
            let head = [&NOBODY[..], &to.block("GET", "/", &[])].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, head);
        }),
        case("6.2: with both", Answer(1, 200), |to| {
            let head = padded(&[&NOBODY[..], &to.block("GET", "/", &[])].concat(), 3);
            to.send(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITIZED, 1, head);
        }),
        case("6.2: with a priority over a stream that is not there", Answer(3, 200), |to| {
            let head = [&[0x80, 0, 0, 99, 255][..], &to.block("GET", "/", &[])].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 3, head);
        }),
        case("6.2: on the connection itself", Goaway(PROTOCOL_ERROR), |to| to.get(0)),
        case("6.2: padding longer than the payload", Goaway(PROTOCOL_ERROR), |to| {
            let head = [&[255], &to.block("GET", "/", &[])[..100]].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, head);
        }),
        case("6.2: padding that reaches into the priority", Goaway(PROTOCOL_ERROR), |to| {
            let flags = END_HEADERS | END_STREAM | PADDED | PRIORITIZED;
            to.send(HEADERS, flags, 1, [&[5], &NOBODY[..], &[0]].concat());
        }),
        case("6.2: padded, without the length of the padding", Worded(FRAME_SIZE_ERROR), |to| {
            to.send(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, []);
        }),
        case("6.2: half a priority", Worded(FRAME_SIZE_ERROR), |to| {
            to.send(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, &NOBODY[..4]);
        }),
        case("5.3.2: a priority over itself", Reset(1, PROTOCOL_ERROR), |to| {
            let head = [&[0, 0, 0, 1, 15][..], &to.block("GET", "/", &[])].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, head);
        }),
    ]);
}

#[test]
fn priorities_change_nothing() {
    run(&[
        case("6.3: on an idle stream", Answer(1, 200), |to| {
            to.send(PRIORITY, 0, 3, NOBODY);
            to.get(1);
        }),
        case(
            "6.3: of the least and of the most weight, exclusive, on another stream",
            Answer(1, 200),
            |to| {
                to.post(1, &[]);
                to.send(PRIORITY, 0, 1, [0, 0, 0, 0, 0]);
                to.send(PRIORITY, 0, 1, [0x80, 0, 0, 7, 255]);
                to.last(1, b"");
            },
        ),
        case("6.3: on a closed stream", Nothing, |to| {
            to.get(1);
            to.answer(1);
            to.send(PRIORITY, 0, 1, NOBODY);
        }),
        case("6.3: on the connection itself", Goaway(PROTOCOL_ERROR), |to| to.send(PRIORITY, 0, 0, NOBODY)),
        // An error of the stream alone would do. It is idle, and cannot be reset without an error of the server's own.
        case("6.3: too short", Worded(FRAME_SIZE_ERROR), |to| to.send(PRIORITY, 0, 1, [0; 4])),
        case("6.3: too long", Worded(FRAME_SIZE_ERROR), |to| to.send(PRIORITY, 0, 1, [0; 6])),
        case("5.3.2: over itself", Reset(1, PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            to.send(PRIORITY, 0, 1, [0, 0, 0, 1, 15]);
        }),
    ]);
}

#[test]
fn resets_end_streams() {
    run(&[
        case("6.4: of a request under way", Nothing, |to| {
            to.hang(1);
            to.reset(1, CANCEL);
        }),
        case("6.4: of a body under way", Nothing, |to| {
            to.post(1, &[]);
            to.data(1, b"data");
            to.reset(1, NO_ERROR);
        }),
        case("5.4.2: is not answered with another", Nothing, |to| {
            to.hang(1);
            to.reset(1, PROTOCOL_ERROR);
            to.sync();
            assert_eq!(to.client.kept(RST_STREAM), 0);
        }),
        case("6.4: of the connection itself", Goaway(PROTOCOL_ERROR), |to| to.reset(0, CANCEL)),
        case("6.4: of an idle stream", Goaway(PROTOCOL_ERROR), |to| to.reset(1, CANCEL)),
        case("6.4: too short", Worded(FRAME_SIZE_ERROR), |to| {
            to.hang(1);
            to.send(RST_STREAM, 0, 1, [0; 3]);
        }),
        case("6.4: too long", Worded(FRAME_SIZE_ERROR), |to| {
            to.hang(1);
            to.send(RST_STREAM, 0, 1, [0; 5]);
        }),
    ]);
}

#[test]
fn clients_push_nothing() {
    run(&[
        case("8.4: on a stream that is open", Goaway(PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            let promise = [&[0, 0, 0, 2][..], &to.block("GET", "/pushed", &[])].concat();
            to.send(PUSH_PROMISE, END_HEADERS, 1, promise);
        }),
        case("8.4: on an idle stream", Goaway(PROTOCOL_ERROR), |to| {
            let promise = [&[0, 0, 0, 3][..], &to.block("GET", "/pushed", &[])].concat();
            to.send(PUSH_PROMISE, END_HEADERS, 1, promise);
        }),
        case("6.6: on the connection itself", Goaway(PROTOCOL_ERROR), |to| {
            let promise = [&[0, 0, 0, 2][..], &to.block("GET", "/pushed", &[])].concat();
            to.send(PUSH_PROMISE, END_HEADERS, 0, promise);
        }),
        case("6.6: half a promised stream", Worded(FRAME_SIZE_ERROR), |to| {
            to.post(1, &[]);
            to.send(PUSH_PROMISE, END_HEADERS, 1, [0; 3]);
        }),
    ]);
}

#[test]
fn pings_come_back() {
    run(&[
        case("6.7: with what they brought", Nothing, |to| {
            to.send(PING, 0, 0, *b"h2 there");
            to.echoed(*b"h2 there");
        }),
        case("6.7: between the pieces of a body", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.data(1, b"da");
            to.send(PING, 0, 0, *b"in there");
            to.echoed(*b"in there");
            to.last(1, b"ta");
        }),
        case("6.7: answers are not answered", Nothing, |to| {
            to.send(PING, ACK, 0, *b"no thing");
            to.send(PING, 0, 0, *b"h2 there");
            to.echoed(*b"h2 there");
        }),
        case("6.7: on a stream", Goaway(PROTOCOL_ERROR), |to| to.send(PING, 0, 1, [0; 8])),
        case("6.7: too short", Worded(FRAME_SIZE_ERROR), |to| to.send(PING, 0, 0, [0; 7])),
        case("6.7: too long", Worded(FRAME_SIZE_ERROR), |to| to.send(PING, 0, 0, [0; 9])),
        case("6.7: empty", Worded(FRAME_SIZE_ERROR), |to| to.send(PING, 0, 0, [])),
    ]);
}

#[test]
fn goaways_let_streams_finish() {
    run(&[
        case("6.8: those that are under way", Seen, |to| {
            to.post(1, &[]);
            to.send(GOAWAY, 0, 0, [&[0; 8][..], b"that was all"].concat());
            to.last(1, b"data");
            assert_eq!(to.answer(1).text(), "data");
            assert!(to.client.frame().is_none_or(|frame| frame.kind != RST_STREAM));
        }),
        case("6.8: on a stream", Goaway(PROTOCOL_ERROR), |to| to.send(GOAWAY, 0, 1, [0; 8])),
        case("6.8: too short", Worded(FRAME_SIZE_ERROR), |to| to.send(GOAWAY, 0, 0, [0; 7])),
        case("6.8: ours names the last stream that we looked at", Seen, |to| {
            to.get(1);
            to.answer(1);
            to.get(5);
            to.answer(5);
            to.send(PING, 0, 9, [0; 8]);
            let goaway = to.client.wait(|frame| frame.kind == GOAWAY).unwrap();
            assert_eq!((goaway.stream, &goaway.payload[..4]), (0, &[0, 0, 0, 5][..]));
        }),
    ]);
}
