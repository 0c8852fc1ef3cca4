//! How fields are compressed: RFC 7541.

use super::case::Owed::{Answer, Worded};
use super::case::{case, run};
use super::peer::Peer;
use crate::support::http2::{COMPRESSION_ERROR, END_HEADERS, END_STREAM, HEADERS};

/// A request with something more in its header block.
fn with(to: &mut Peer, stream: u32, more: &[u8]) {
    let head = [&to.block("GET", "/with", &[]), more].concat();
    to.send(HEADERS, END_HEADERS | END_STREAM, stream, head);
}

/// A request with something ahead in its header block.
fn behind(to: &mut Peer, stream: u32, ahead: &[u8]) {
    let head = [ahead, &to.block("GET", "/behind", &[])].concat();
    to.send(HEADERS, END_HEADERS | END_STREAM, stream, head);
}

#[test]
fn fields_come_in_every_form() {
    let site = run(&[
        case("6.1: taken from the static table", Answer(1, 200), |to| {
            // GET, http, /, then `:authority` with a value of its own.
            let head = [b"\x82\x86\x84\x01\x0eshop.localhost", &to.pass()[..]].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
        }),
        case("6.1: the last of the static table", Answer(1, 200), |to| with(to, 1, &[0x80 | 61])),
        case("6.2.1: put into the table, its name from there", Answer(3, 200), |to| {
            with(to, 1, b"\x53\x04a/b1");
            with(to, 3, &[0x80 | 62]);
        }),
        case("6.2.1: put into the table, its name in full", Answer(5, 200), |to| {
            with(to, 1, b"\x40\x06x-form\x03one");
            // Its name alone, with another value, which comes before it in the table.
            with(to, 3, b"\x7e\x03two");
            with(to, 5, &[0x80 | 62]);
        }),
        case("6.2.2: not put into the table, its name from there", Answer(1, 200), |to| {
            with(to, 1, b"\x0f\x04\x03a/b")
        }),
        case("6.2.2: not put into the table, its name in full", Answer(1, 200), |to| {
            with(to, 1, b"\x00\x06x-form\x03one")
        }),
        case("6.2.3: never put into a table, its name from there", Answer(1, 200), |to| {
            with(to, 1, b"\x1f\x04\x03a/b")
        }),
        case("6.2.3: never put into a table, its name in full", Answer(1, 200), |to| {
            with(to, 1, b"\x10\x06x-form\x03one")
        }),
        case("5.2: an empty value", Answer(1, 200), |to| with(to, 1, b"\x00\x06x-form\x00")),
        case("5.2: a Huffman code for name and value", Answer(1, 200), |to| {
            // custom-key: custom-value, as in appendix C.4.3.
            with(to, 1, b"\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf");
        }),
        case("5.2: a Huffman code without padding", Answer(1, 200), |to| {
            // Eight times `0`, of five bits each.
            with(to, 1, b"\x00\x06x-form\x85\x00\x00\x00\x00\x00");
        }),
        case("5.1: a length in more bytes than it needs", Answer(1, 200), |to| {
            let value = "v".repeat(127);
            with(to, 1, &[b"\x00\x06x-form\x7f\x80\x00", value.as_bytes()].concat());
        }),
        case("4.1: a table that is full lets the oldest go", Answer(401, 200), |to| {
            // A hundred of 82 bytes and more are twice what the table holds.
            for number in 0..200 {
                let field = [b"\x40\x06x-form\x2c", format!("{number:044}").as_bytes()].concat();
                with(to, 2 * number + 1, &field);
                to.answer(2 * number + 1);
            }
            with(to, 401, &[0x80 | 62, 0x80 | (62 + 48)]);
        }),
        case("4.4: a field larger than the table empties it", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x40\x06x-form\x03one");
            let long = [b"\x40\x06x-long\x7f\xa1\x1f", &[b'x'; 4_000 + 128][..]].concat();
            with(to, 3, &long);
            assert_eq!(to.answer(3).text(), "hello");
            with(to, 5, &[0x80 | 62]);
        }),
    ]);
    let requests = site.app.requests();
    let fields = requests.iter().flat_map(|request| &request.head.fields);
    let ours = fields.filter(|(name, _)| ["x-form", "custom-key"].contains(&name.as_str()));
    let values: Vec<_> = ours.map(|(_, value)| value.as_str()).collect();
    for value in ["one", "two", "", "00000000", "custom-value", &"v".repeat(127)] {
        assert!(values.contains(&value), "{value}");
    }
}

#[test]
fn tables_have_the_size_that_was_agreed() {
    run(&[
        case("4.2: the whole of it", Answer(1, 200), |to| behind(to, 1, b"\x3f\xe1\x1f")),
        case("4.2: nothing", Answer(1, 200), |to| behind(to, 1, b"\x20")),
        case("4.2: nothing, and then the whole of it", Answer(1, 200), |to| {
            behind(to, 1, b"\x20\x3f\xe1\x1f")
        }),
        case("4.3: what was in it is gone", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x40\x06x-form\x03one");
            behind(to, 3, b"\x20\x3f\xe1\x1f\xbe");
        }),
        case("6.3: more than the whole", Worded(COMPRESSION_ERROR), |to| behind(to, 1, b"\x3f\xe2\x1f")),
        case("6.3: far more than the whole", Worded(COMPRESSION_ERROR), |to| {
            behind(to, 1, b"\x3f\xff\xff\xff\x07")
        }),
        case("4.2: after a field", Worded(COMPRESSION_ERROR), |to| with(to, 1, b"\x20")),
        case("4.2: between fields", Worded(COMPRESSION_ERROR), |to| {
            let head = [b"\x82\x20\x86\x84", &to.pass()[..]].concat();
            to.send(HEADERS, END_HEADERS | END_STREAM, 1, head);
        }),
    ]);
}

#[test]
fn what_cannot_be_read_ends_the_connection() {
    let site = run(&[
        case("6.1: the index 0", Worded(COMPRESSION_ERROR), |to| with(to, 1, b"\x80")),
        case("2.3.3: an index past the tables", Worded(COMPRESSION_ERROR), |to| with(to, 1, &[0x80 | 62])),
        case("2.3.3: an index far past the tables", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\xff\xff\xff\x7f")
        }),
        case("2.3.3: a name past the tables, to be put in", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x7e\x01a")
        }),
        case("2.3.3: a name past the tables, not to be put in", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x0f\x2f\x01a");
        }),
        case("2.3.3: a name past the tables, never to be put in", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x1f\x2f\x01a");
        }),
        case("5.1: an index without an end", Worded(COMPRESSION_ERROR), |to| with(to, 1, b"\xff\xff\xff")),
        case("5.1: an index that no number can hold", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, &[&[0xff; 20][..], &[0x7f]].concat());
        }),
        case("5.1: a length that no number can hold", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, &[b"\x00\x7f", &[0xff; 20][..], &[0x7f]].concat());
        }),
        case("5.1: a size that no number can hold", Worded(COMPRESSION_ERROR), |to| {
            behind(to, 1, &[b"\x3f", &[0xff; 20][..], &[0x7f]].concat());
        }),
        case("5.2: a name longer than what is there", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x00\x09x-form")
        }),
        case("5.2: a value longer than what is there", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x00\x06x-form\x09short");
        }),
        case("5.2: a name without a value", Worded(COMPRESSION_ERROR), |to| with(to, 1, b"\x00\x06x-form")),
        case("5.2: a field of which only the beginning is there", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x40")
        }),
        // `a` is 00011.
        case("5.2: padding longer than seven bits", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x00\x06x-form\x82\x1f\xff");
        }),
        case("5.2: padding that is not the beginning of EOS", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x00\x06x-form\x81\x18");
        }),
        case("5.2: EOS itself", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x00\x06x-form\x84\xff\xff\xff\xff");
        }),
        case("5.2: EOS after a letter", Worded(COMPRESSION_ERROR), |to| {
            with(to, 1, b"\x00\x06x-form\x85\x1f\xff\xff\xff\xff");
        }),
        case("5.2: half a letter", Worded(COMPRESSION_ERROR), |to| {
            // 13 bits of 1, and three of 0: no letter begins so and ends there.
            with(to, 1, b"\x00\x06x-form\x82\xff\xf8");
        }),
    ]);
    assert_eq!(site.reached(), Vec::<String>::new());
}
