//! Windows, on both sides: RFC 9113, sections 5.2, 6.9 and 6.9.2.

use super::case::Owed::{Answer, Either, Goaway, Nothing, Reset, Seen, Worded};
use super::case::{bare, case, run};
use crate::support::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, Frame, GOAWAY, HEADERS,
    INITIAL_WINDOW_SIZE, PADDED, PING, PROTOCOL_ERROR, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

/// The widest that a window can be.
const WIDEST: u32 = i32::MAX as u32;
/// What every window holds unless something else was said.
const USUAL: u32 = 65_535;

#[test]
fn windows_are_widened() {
    run(&[
        case("6.9: of the connection", Nothing, |to| to.widen(0, 1)),
        case("6.9: of a stream", Answer(1, 200), |to| {
            to.post(1, &[]);
            to.widen(1, 1);
            to.last(1, b"data");
        }),
        case("6.9.1: as far as can be", Answer(1, 200), |to| {
            to.widen(0, WIDEST - USUAL);
            to.post(1, &[]);
            to.widen(1, WIDEST - USUAL);
            to.last(1, b"data");
        }),
        case("6.9: by nothing, of the connection", Goaway(PROTOCOL_ERROR), |to| to.widen(0, 0)),
        case("6.9: by nothing, of a stream", Either(1, PROTOCOL_ERROR), |to| {
            to.post(1, &[]);
            to.widen(1, 0);
        }),
        case("6.9: too short", Worded(FRAME_SIZE_ERROR), |to| to.send(WINDOW_UPDATE, 0, 0, [0, 0, 1])),
        case("6.9: too long", Worded(FRAME_SIZE_ERROR), |to| to.send(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1, 0])),
        case("6.9.1: too far, of the connection", Goaway(FLOW_CONTROL_ERROR), |to| to.widen(0, WIDEST)),
        case("6.9.1: too far in two steps, of the connection", Goaway(FLOW_CONTROL_ERROR), |to| {
            to.widen(0, WIDEST - USUAL);
            to.widen(0, 1);
        }),
        case("6.9.1: too far, of a stream", Reset(1, FLOW_CONTROL_ERROR), |to| {
            to.post(1, &[]);
            to.widen(1, WIDEST);
        }),
        case("6.9.2: too far by a setting, of a stream", Goaway(FLOW_CONTROL_ERROR), |to| {
            to.post(1, &[]);
            to.widen(1, WIDEST - USUAL);
            to.settings(&[(INITIAL_WINDOW_SIZE, USUAL + 1)]);
        }),
    ]);
}

#[test]
fn no_more_is_sent_than_a_window_holds() {
    run(&[
        bare("6.9.1: of a stream that holds one byte", Seen, |to| {
            to.greet(&[(INITIAL_WINDOW_SIZE, 1)]);
            to.get(1);
            to.received(1, 1);
            to.widen(1, 2);
            to.received(1, 2);
            to.widen(1, 100);
            let last = to.client.wait(|frame| frame.kind == DATA).unwrap();
            assert_eq!((&last.payload[..], last.has(END_STREAM)), (&b"lo"[..], true));
        }),
        bare("6.9.1: of the connection", Seen, |to| {
            to.greet(&[(INITIAL_WINDOW_SIZE, 10 * USUAL)]);
            to.ask(1, "GET", "/large", &[]);
            to.received(1, USUAL as usize);
            to.widen(0, 1_000);
            to.received(1, 1_000);
        }),
        bare("6.9.2: heads need no window", Seen, |to| {
            to.greet(&[(INITIAL_WINDOW_SIZE, 0)]);
            to.get(1);
            assert_eq!(to.client.answer_head(1).status(), 200);
            to.received(1, 0);
            // Nor does an answer without a body.
            to.ask(3, "HEAD", "/", &[]);
            assert_eq!(to.answer(3).status, 200);
        }),
        bare("6.9.2: a setting widens the windows of open streams", Seen, |to| {
            to.greet(&[(INITIAL_WINDOW_SIZE, 0)]);
            to.get(1);
            to.received(1, 0);
            to.settings(&[(INITIAL_WINDOW_SIZE, 1)]);
            to.received(1, 1);
        }),
        bare("6.9.2: a setting narrows them, below nothing", Seen, |to| {
            to.greet(&[(INITIAL_WINDOW_SIZE, 3)]);
            to.get(1);
            to.received(1, 3);
            to.settings(&[(INITIAL_WINDOW_SIZE, 2)]);
            to.received(1, 0);
            to.widen(1, 1);
            to.received(1, 0);
            to.widen(1, 1);
            to.received(1, 1);
        }),
        bare("6.9.2: a setting leaves the connection's window alone", Seen, |to| {
            to.greet(&[(INITIAL_WINDOW_SIZE, 0)]);
            to.settings(&[(INITIAL_WINDOW_SIZE, WIDEST)]);
            to.ask(1, "GET", "/large", &[]);
            to.received(1, USUAL as usize);
        }),
        case("6.9: many widenings are added up", Seen, |to| {
            to.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
            to.ask(1, "GET", "/large", &[]);
            for by in 1..=10 {
                to.widen(1, by);
            }
            to.received(1, 55);
        }),
    ]);
}

#[test]
fn the_servers_own_windows_hold() {
    run(&[
        case("5.2, 6.9.1: more than a stream's window holds", Seen, |to| {
            let head = to.block("POST", "/deaf", &[]);
            to.send(HEADERS, END_HEADERS, 1, head);
            // Until every buffer on the way to an app that reads nothing is full.
            let end = loop {
                for _ in 0..16 {
                    to.data(1, &[b'x'; 16_384]);
                }
                to.send(PING, 0, 0, *b"go on???");
                let word =
                    to.client.wait(|frame| matches!(frame.kind, GOAWAY | RST_STREAM) || frame.has(ACK));
                let word = word.expect("a word before the end");
                if word.kind != PING && word.kind != SETTINGS {
                    break word;
                }
            };
            assert_eq!(end.code(), FLOW_CONTROL_ERROR);
        }),
        case("6.1, 6.9: padding counts, and is given back", Seen, |to| {
            to.post(1, &[]);
            let mut left = [0i64, 0].map(|_| i64::from(USUAL));
            for _ in 0..600 {
                while left.iter().any(|left| *left < 257) {
                    let widened =
                        to.client.wait(|frame| frame.kind == WINDOW_UPDATE).expect("a wider window");
                    let by = u32::from_be_bytes(widened.payload[..].try_into().unwrap());
                    left[usize::from(widened.stream == 1)] += i64::from(by);
                }
                let payload = [&[255, b'x'][..], &[0; 255]].concat();
                to.send(DATA, PADDED, 1, payload);
                left = left.map(|left| left - 257);
            }
            to.last(1, b"");
            assert_eq!(to.answer(1).body, [b'x'; 600]);
        }),
        case(
            "5.1, 6.9: what comes for a stream that the server has closed is given back",
            Answer(3, 200),
            |to| {
                to.post(1, &[("content-length", "4")]);
                let mut left = 65_535;
                for _ in 0..40 {
                    while left < 16_384 {
                        let of_connection = |frame: &Frame| frame.kind == WINDOW_UPDATE && frame.stream == 0;
                        let widened = to.client.wait(of_connection).expect("a wider window");
                        left += i64::from(u32::from_be_bytes(widened.payload[..].try_into().unwrap()));
                    }
                    to.data(1, &[b'x'; 16_384]);
                    left -= 16_384;
                }
                assert!(to.client.wait(|frame| frame.kind == RST_STREAM).is_some());
                to.post(3, &[]);
                to.last(3, b"data");
            },
        ),
    ]);
}
