//! The body of an HTTP/1 message, told from what frames it. Reference: RFC 9112, section 7.1.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::extent::Extent;
use super::head::{Offence, take_field};

/// Most fields of a trailer section.
const FIELDS: usize = 100;

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Within(Extent),
    /// With the connection, or another protocol is spoken on it.
    Open,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Content {
    ends: Ends,
    /// The trailer section, as far as it was read.
    trailers: Vec<u8>,
}

impl Content {
    pub(super) const fn new(ends: Ends) -> Self {
        Self { ends, trailers: Vec::new() }
    }

    /// Takes the next piece off what was read; `None` where it is not there yet, or nothing follows.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Offence> {
        let Ends::Within(extent) = &mut self.ends else {
            return Ok((!input.is_empty()).then(|| Frame::data(input.split().freeze())));
        };
        while !input.is_empty() && !extent.has_ended() {
            let trailing = extent.is_trailing();
            let (framing, data) = extent.advance(input)?;
            if trailing {
                self.trailers.extend_from_slice(&input[..framing]);
            }
            input.advance(framing);
            if data > 0 {
                return Ok(Some(Frame::data(input.split_to(data).freeze())));
            }
        }
        if self.trailers.is_empty() || !extent.has_ended() {
            return Ok(None);
        }
        let trailers = fields(&std::mem::take(&mut self.trailers))?;
        Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
    }

    /// Whether `input`, which is what comes next, holds all that is still to come.
    pub(super) fn ends_within(&self, input: &[u8]) -> bool {
        match self.ends {
            Ends::Within(mut extent) => extent.feed(input).is_ok() && extent.has_ended(),
            Ends::Open => false,
        }
    }

    /// Whether nothing more is to come.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.ends, Ends::Within(Extent::Ended)) && self.trailers.is_empty()
    }

    /// The connection has ended; returns whether the body may end with it.
    pub(super) fn end(&mut self) -> bool {
        let may = self.ends == Ends::Open;
        if may {
            self.ends = Ends::Within(Extent::Ended);
        }
        may
    }

    /// Bytes still to come, where it is known.
    pub(super) const fn left(&self) -> Option<u64> {
        match self.ends {
            Ends::Within(extent) => extent.left(),
            Ends::Open => None,
        }
    }
}

fn fields(mut section: &[u8]) -> Result<HeaderMap, Offence> {
    let mut fields = HeaderMap::new();
    while let Some((name, value)) = take_field(&mut section)? {
        if fields.len() == FIELDS {
            return Err(Offence::TooManyFields);
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Offence::FieldLine)?;
        fields.append(name, HeaderValue::from_bytes(value).map_err(|_| Offence::FieldValue)?);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::upstream::answer::{Asked, Awaited, Flaw};
    use super::*;

    /// An answer as it was read: status, fields, body and trailers, and whether its end has come.
    #[derive(Debug, PartialEq, Eq)]
    struct Whole {
        head: (u16, HeaderMap),
        body: Vec<u8>,
        trailers: Option<HeaderMap>,
        has_ended: bool,
        /// What of the bytes does not belong to it.
        stray: usize,
    }

    /// Reads bytes that come in pieces as long as `cuts` says, over and over.
    fn read(asked: Asked, bytes: &[u8], cuts: &[usize]) -> Result<Option<Whole>, Flaw> {
        let (mut awaited, mut input) = (Awaited::new(asked), BytesMut::new());
        let mut begun: Option<(Whole, Content)> = None;
        let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
        loop {
            if begun.is_none()
                && let Some(answer) = awaited.take(&mut input)?
            {
                let head = (answer.status.as_u16(), answer.headers);
                let whole = Whole { head, body: Vec::new(), trailers: None, has_ended: false, stray: 0 };
                begun = Some((whole, Content::new(answer.body)));
            }
            if let Some((whole, content)) = &mut begun {
                while let Some(frame) = content.take(&mut input)? {
                    match frame.into_data() {
                        Ok(data) => whole.body.extend_from_slice(&data),
                        Err(frame) => whole.trailers = frame.into_trailers().ok(),
                    }
                }
                whole.has_ended = content.has_ended();
                whole.stray = input.len() + rest.len();
            }
            if rest.is_empty() {
                return Ok(begun.map(|(whole, _)| whole));
            }
            let (piece, later) = rest.split_at(rest.len().min(*cuts.next().unwrap_or(&usize::MAX)));
            input.extend_from_slice(piece);
            rest = later;
        }
    }

    #[test]
    fn sound_answers_are_read_up_to_their_end_however_they_are_cut() {
        for (asked, answer, status, body) in [
            (Asked::Other, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            (
                Asked::Other,
                "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: 1\r\n\r\n",
                200,
                "abcd",
            ),
            (
                Asked::Other,
                "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n",
                204,
                "",
            ),
            (Asked::Other, "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", 304, ""),
            (Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, ""),
            (Asked::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, ""),
            (Asked::Upgrade, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", 400, ""),
        ] {
            let stray = "HTTP/1.1 200 OK\r\n\r\n";
            let bytes = format!("{answer}{stray}");
            let uncut = read(asked, bytes.as_bytes(), &[]).unwrap().unwrap();
            assert_eq!((uncut.head.0, &*uncut.body), (status, body.as_bytes()), "{answer:?}");
            assert!(uncut.has_ended && uncut.stray == stray.len(), "{answer:?}: {uncut:?}");
            assert_eq!(uncut.trailers.is_some(), answer.contains("T: 1"));
            for at in 1..bytes.len() {
                for cuts in [&[at][..], &[at, usize::MAX]] {
                    let cut = read(asked, bytes.as_bytes(), cuts).unwrap().unwrap();
                    assert_eq!(cut, uncut, "{answer:?} cut at {cuts:?}");
                }
            }
        }
    }

    #[test]
    fn what_says_no_length_ends_with_the_connection() {
        for open in ["HTTP/1.0 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\n\r\nto the end"] {
            let whole = read(Asked::Other, open.as_bytes(), &[3]).unwrap().unwrap();
            assert!(whole.body == b"to the end" && !whole.has_ended, "{whole:?}");
        }
        let tunnel = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x00";
        assert_eq!(read(Asked::Upgrade, tunnel, &[3]).unwrap().unwrap().body, b"\x81\x00");
    }

    #[test]
    fn malformed_framing_is_refused() {
        for (body, flaw) in [
            ("x\r\n", Flaw::Chunk),
            ("2\nhi\r\n", Flaw::Chunk),
            ("2\r\nhi0\r\n\r\n", Flaw::Chunk),
            ("0\r\nT : 1\r\n\r\n", Flaw::Field),
            ("0\r\nT\r\n\r\n", Flaw::Field),
            ("0\r\nT: a\0b\r\n\r\n", Flaw::Value),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            for cut in 1..answer.len() {
                assert_eq!(
                    read(Asked::Other, answer.as_bytes(), &[cut]),
                    Err(flaw),
                    "{body:?} cut every {cut}"
                );
            }
        }
        let many = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
            "a: b\r\n".repeat(FIELDS + 1)
        );
        assert_eq!(read(Asked::Other, many.as_bytes(), &[]), Err(Flaw::TooLarge));
    }

    #[test]
    fn what_is_wrong_does_not_depend_on_when_it_is_seen() {
        for bytes in ["abc\n\r\n", "HTTP/1.1 200 OK\n\r\n", "HTTP/1.1 100 Go\r\n\r\nabc\n\n", "\n\n"] {
            let uncut = read(Asked::Other, bytes.as_bytes(), &[]);
            assert!(uncut.is_err(), "{bytes:?}");
            for cut in 1..bytes.len() {
                assert_eq!(read(Asked::Other, bytes.as_bytes(), &[cut]), uncut, "{bytes:?} cut every {cut}");
            }
        }
    }

    /// Status, body and whether its end has come, as the HTTP library and plain arithmetic have it; `None` where the
    /// library takes the head for none, or for one that goes on.
    fn reference(asked: Asked, mut rest: &[u8]) -> Option<(u16, Vec<u8>, bool)> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut answer = httparse::Response::new(&mut fields);
            let Ok(httparse::Status::Complete(length)) = answer.parse(rest) else { return None };
            rest = &rest[length..];
            let status = answer.code?;
            let field =
                |name: &str| answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            match status {
                101 => return Some((101, rest.to_vec(), false)),
                100..200 => continue,
                204 | 304 => return Some((status, Vec::new(), true)),
                _ if asked == Asked::Head => return Some((status, Vec::new(), true)),
                _ => {}
            }
            if field("transfer-encoding").is_some() {
                let (body, has_ended) = chunks(rest)?;
                return Some((status, body, has_ended));
            }
            let Some(length) = field("content-length") else { return Some((status, rest.to_vec(), false)) };
            let length: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
            return Some((status, rest[..length.min(rest.len())].to_vec(), length <= rest.len()));
        }
    }

    fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, bool)> {
        let mut body = Vec::new();
        loop {
            let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(rest).ok()? else {
                return Some((body, false));
            };
            rest = &rest[line..];
            if size == 0 {
                let mut trailers = [httparse::EMPTY_HEADER; 64];
                let trailers = httparse::parse_headers(rest, &mut trailers);
                return Some((body, trailers.is_ok_and(|trailers| trailers.is_complete())));
            }
            let (data, after) = rest.split_at(rest.len().min(usize::try_from(size).ok()?));
            body.extend_from_slice(data);
            match after {
                [b'\r', b'\n', after @ ..] if data.len() as u64 == size => rest = after,
                [] | [b'\r'] => return Some((body, false)),
                _ => return None,
            }
        }
    }

    /// Answers that are nearly right.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        const HEADS: [&str; 7] = [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Yes\r\n\r\n",
            "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 404\r\n",
            "HTTP/1.0 304 Same\r\n",
            "HTTP/1.1 204 None\r\n",
        ];
        const PIECES: [&str; 19] = [
            "Content-Length: 3\r\n",
            "content-length: 03\r\n",
            "Transfer-Encoding:\tCHUNKED \r\n",
            "\r\n",
            "\n",
            "\r",
            "transfer-encoding: identity\r\n",
            "3\r\nabc\r\n",
            "3;a=\"\r\nabc\r\n",
            "0\r\n\r\n",
            "0\r\nT: 1\r\n",
            "abc",
            "A: b\r\n c\r\n",
            "A : b\r\n",
            "Connection: close\r\n",
            "ffffffffffffffff\r\n",
            ":",
            " ",
            "HTTP/1.1 200 OK\r\n\r\n",
        ];
        let piece = prop_oneof![
            8 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        (prop::sample::select(&HEADS[..]), prop::collection::vec(piece, 0..8))
            .prop_map(|(head, pieces)| [head.as_bytes(), &pieces.concat()].concat())
    }

    proptest! {
        #[test]
        fn what_is_taken_the_http_library_reads_the_same(bytes in answers()) {
            for asked in [Asked::Other, Asked::Head, Asked::Upgrade] {
                let Ok(Some(whole)) = read(asked, &bytes, &[]) else { continue };
                let read = (whole.head.0, whole.body, whole.has_ended);
                prop_assert_eq!(Some(read), reference(asked, &bytes), "{:?}", bytes.escape_ascii().to_string());
            }
        }

        #[test]
        fn no_bytes_cause_a_panic_and_cuts_change_nothing(
            parts in proptest::collection::vec(prop_oneof![
                Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.1 100 Go\r\n\r\n"), Just("Content-Length: 3\r\n"), Just("\r\n"),
                Just("Transfer-Encoding: chunked\r\n"), Just("3\r\nabc\r\n"), Just("0\r\n\r\n"), Just("0\r\nT: 1\r\n"),
                Just("\n"), Just("abc"), Just("A: \x01\r\n"), Just("connection: close\r\n"),
            ], 0..12),
            cuts in proptest::collection::vec(1usize..40, 1..10),
        ) {
            let bytes = parts.concat().into_bytes();
            for asked in [Asked::Other, Asked::Head, Asked::Upgrade] {
                prop_assert_eq!(read(asked, &bytes, &cuts), read(asked, &bytes, &[]));
            }
        }
    }
}
