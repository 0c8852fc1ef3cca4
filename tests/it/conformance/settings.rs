//! Settings, and what becomes of them: RFC 9113, section 6.5, and RFC 8441, section 3.

use super::case::Owed::{Goaway, Nothing, Seen, Worded};
use super::case::{bare, case, run};
use crate::support::http2::{
    ACK, DATA, ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, HEADER_TABLE_SIZE,
    HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE,
    PROTOCOL_ERROR, SETTINGS,
};

#[test]
fn settings_have_a_form() {
    run(&[
        case("6.5: none", Nothing, |to| to.settings(&[])),
        case("6.5: an acknowledgement that says more", Worded(FRAME_SIZE_ERROR), |to| {
            to.send(SETTINGS, ACK, 0, [0, 3, 0, 0, 0, 1]);
        }),
        case("6.5: on a stream", Goaway(PROTOCOL_ERROR), |to| {
            to.send(SETTINGS, 0, 1, [0, 3, 0, 0, 0, 1]);
        }),
        case("6.5: half a setting", Worded(FRAME_SIZE_ERROR), |to| to.send(SETTINGS, 0, 0, [0, 3, 0])),
        case("6.5: a setting and a byte", Worded(FRAME_SIZE_ERROR), |to| {
            to.send(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 1, 0]);
        }),
    ]);
}

#[test]
fn settings_have_values() {
    run(&[
        case("6.5.2: pushes that are neither on nor off", Goaway(PROTOCOL_ERROR), |to| {
            to.settings(&[(ENABLE_PUSH, 2)])
        }),
        case("6.5.2: pushes, on and off", Nothing, |to| to.settings(&[(ENABLE_PUSH, 1), (ENABLE_PUSH, 0)])),
        case("6.5.2: a window that is too large", Worded(FLOW_CONTROL_ERROR), |to| {
            to.settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]);
        }),
        case("6.5.2: the largest window", Nothing, |to| {
            to.settings(&[(INITIAL_WINDOW_SIZE, i32::MAX as u32)])
        }),
        case("6.5.2: frames that are too small", Goaway(PROTOCOL_ERROR), |to| {
            to.settings(&[(MAX_FRAME_SIZE, (1 << 14) - 1)]);
        }),
        case("6.5.2: frames that are too large", Goaway(PROTOCOL_ERROR), |to| {
            to.settings(&[(MAX_FRAME_SIZE, 1 << 24)]);
        }),
        case("6.5.2: the smallest and the largest frames", Nothing, |to| {
            to.settings(&[(MAX_FRAME_SIZE, 1 << 14), (MAX_FRAME_SIZE, (1 << 24) - 1)]);
        }),
        case("6.5.2: any table, no stream, no fields", Nothing, |to| {
            to.settings(&[
                (HEADER_TABLE_SIZE, u32::MAX),
                (HEADER_TABLE_SIZE, 0),
                (MAX_CONCURRENT_STREAMS, 0),
                (MAX_HEADER_LIST_SIZE, 0),
            ]);
        }),
        case("6.5.2: one that nobody knows", Nothing, |to| to.settings(&[(0xff, u32::MAX), (0, 0)])),
        case("RFC 8441, 3: extended CONNECT that is neither on nor off", Goaway(PROTOCOL_ERROR), |to| {
            to.settings(&[(ENABLE_CONNECT_PROTOCOL, 2)]);
        }),
        case("RFC 8441, 3: the server knows extended CONNECT", Seen, |to| {
            let settings = to.client.frame().unwrap().payload;
            assert!(settings.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]));
        }),
    ]);
}

#[test]
fn settings_are_kept() {
    run(&[
        case("6.5.3: each is acknowledged, in turn", Nothing, |to| {
            for round in 0..3 {
                to.settings(&[(MAX_HEADER_LIST_SIZE, 1 << 20 | round)]);
            }
            to.sync();
            for _ in 0..4 {
                assert!(to.client.wait(|frame| frame.kind == SETTINGS && frame.has(ACK)).is_some());
            }
        }),
        case("6.5.3: of two values the later counts", Seen, |to| {
            to.settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]);
            to.get(1);
            to.received(1, 1);
        }),
        case("6.5.2: frames stay as small as the client has not asked for larger", Seen, |to| {
            to.post(1, &[]);
            for _ in 0..3 {
                to.data(1, &[b'x'; 16_384]);
            }
            to.last(1, b"");
            let mut taken = 0;
            while taken < 3 * 16_384 {
                let data = to.client.wait(|frame| frame.kind == DATA && frame.stream == 1).unwrap();
                assert!(data.payload.len() <= 16_384);
                taken += data.payload.len();
            }
        }),
        bare("RFC 7541, 4.2: a table that is not to be kept is not", Seen, |to| {
            to.greet(&[]);
            for stream in [1, 3, 5] {
                to.get(stream);
                let head = to.client.wait(|frame| frame.kind == HEADERS && frame.stream == stream).unwrap();
                // What is in it can be read without what came before: nothing is put into the table, nor taken from it.
                let mut fresh = fluke_hpack::Decoder::new();
                fresh.set_max_table_size(0);
                assert!(fresh.decode(&head.payload).is_ok());
            }
        }),
    ]);
}
