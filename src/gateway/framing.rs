//! Where each HTTP/1 request of a connection begins and ends, told from the raw bytes however they are cut up.
//! Reference: RFC 9112, section 2.2.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Frame;
use memchr::memchr;

use super::content::{Content, Ends};
use super::extent::Extent;
use super::head::{self, HeadLimits, Judged, Offence};

/// What was read of a connection and is still to be served, and how far its present request has come.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    pub(super) input: BytesMut,
    search: Search,
    /// The body of the request whose head came last.
    content: Content,
    /// It was malformed: where it ends, nobody can tell.
    is_broken: bool,
}

/// The search for the end of a head, carried over to a later call with more bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    /// How far there is no more to be found, and where the last line begins.
    searched: usize,
    line: usize,
}

/// What stands where a request is to begin.
pub enum Begun {
    /// A whole head. After one with an offence nothing may be read.
    Head(Box<Judged>),
    /// A head that is too long to be waited for, and why.
    Overlong(Offence),
}

impl Framing {
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        let content = Content::new(Ends::Within(Extent::Ended));
        Self { limits, input: BytesMut::new(), search: Search::default(), content, is_broken: false }
    }

    /// Takes in the next bytes of the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next head once it is whole, where the body before it has ended.
    pub fn head(&mut self) -> Option<Begun> {
        loop {
            // Empty lines before a request are skipped, as RFC 9112 asks.
            while self.search.searched == 0 && self.input.starts_with(b"\r\n") {
                self.input.advance(2);
            }
            let Some(end) = self.search.end(&self.input) else {
                // One line that does not end: it is the target that is too long.
                let offence =
                    if self.search.line == 0 { Offence::TargetTooLong } else { Offence::HeadTooLarge };
                return (self.input.len() >= self.limits.bytes).then_some(Begun::Overlong(offence));
            };
            self.search = Search::default();
            let head = self.input.split_to(end).freeze();
            if *head != b"\r\n"[..] {
                let judged = Box::new(head::read(&head, self.limits));
                self.content = Content::new(Ends::Within(Extent::of(judged.head.body)));
                self.is_broken = judged.head.offence.is_some();
                return Some(Begun::Head(judged));
            }
        }
    }

    /// The next piece of the body; `None` where it is not there yet, or nothing follows.
    ///
    /// # Errors
    /// When the body is malformed.
    pub fn body(&mut self) -> Result<Option<Frame<Bytes>>, Offence> {
        let taken = self.content.take(&mut self.input);
        self.is_broken |= taken.is_err();
        taken
    }

    /// Whether the body of the request whose head came last was taken to its end.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.content.has_ended() && !self.is_broken
    }

    /// Whether all of it has arrived.
    pub(super) fn has_arrived(&self) -> bool {
        !self.is_broken && (self.has_ended() || self.content.ends_within(&self.input))
    }

    /// Bytes of it still to be taken, where that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        self.content.left()
    }

    /// Whether another request has begun and is not whole, or not looked at.
    pub(super) fn is_within_head(&self) -> bool {
        self.has_ended() && !self.input.is_empty()
    }
}

impl Search {
    /// The length of the head at the start of `bytes`, if its empty last line is there.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + at;
            let empty = matches!(&bytes[self.line..end], b"" | b"\r");
            *self = Self { searched: end + 1, line: end + 1 };
            if empty {
                return Some(end + 1);
            }
        }
        self.searched = bytes.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::head::Head;
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, fields: 100 };

    /// What the bytes of a connection hold.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Event {
        Head(Head),
        Overlong(Offence),
        BadBody(Offence),
        /// A body, whole.
        Body(Vec<u8>),
    }

    fn events(bytes: &[u8], cut: usize) -> Vec<Event> {
        let mut framing = Framing::new(LIMITS);
        let (mut events, mut body) = (Vec::new(), None);
        for piece in bytes.chunks(cut.max(1)) {
            framing.feed(piece);
            loop {
                if body.is_none() {
                    match framing.head() {
                        None => break,
                        Some(Begun::Overlong(offence)) => {
                            events.push(Event::Overlong(offence));
                            return events;
                        }
                        Some(Begun::Head(judged)) => {
                            events.push(Event::Head(judged.head));
                            if judged.head.offence.is_some() {
                                return events;
                            }
                            assert!(judged.parts.is_some());
                            body = Some(Vec::new());
                        }
                    }
                }
                match framing.body() {
                    Ok(Some(frame)) => {
                        if let (Ok(data), Some(body)) = (frame.into_data(), &mut body) {
                            body.extend_from_slice(&data);
                        }
                    }
                    Ok(None) if framing.has_ended() => events.extend(body.take().map(Event::Body)),
                    Ok(None) => break,
                    Err(offence) => {
                        events.push(Event::BadBody(offence));
                        return events;
                    }
                }
            }
        }
        events
    }

    #[test]
    fn pipelined_requests_are_told_apart() {
        let bytes = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n\
            PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n\
            GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let whole = events(bytes, usize::MAX);
        assert_eq!(whole.len(), 8);
        assert_eq!(whole[5], Event::Body(b"abc".to_vec()));
        for cut in 1..40 {
            assert_eq!(events(bytes, cut), whole, "cut every {cut}");
        }
    }

    #[test]
    fn bad_chunks_are_noticed() {
        for (bad, why) in [
            ("x\r\n", Offence::Chunk),
            ("\r\n", Offence::Chunk),
            ("3\nabc", Offence::Chunk),
            ("3\r\nabcd", Offence::Chunk),
            ("3 \r\nabc\r\n", Offence::Chunk),
            ("11111111111111111\r\n", Offence::Chunk),
            ("0\r\n\n", Offence::Chunk),
            ("0\r\n x\r\n", Offence::Chunk),
            ("0\r\nx\r\n\r\n", Offence::FieldLine),
            ("0\r\nx: \0\r\n\r\n", Offence::FieldValue),
        ] {
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
            let seen = events(request.as_bytes(), 7);
            assert_eq!(seen.last(), Some(&Event::BadBody(why)), "{bad:?}");
        }
    }

    #[test]
    fn heads_over_the_limit_are_refused_before_they_end() {
        for (begin, why) in
            [(&b"GET /a"[..], Offence::TargetTooLong), (b"GET / HTTP/1.1\r\na", Offence::HeadTooLarge)]
        {
            let mut framing = Framing::new(HeadLimits { bytes: 100, fields: 3 });
            framing.feed(begin);
            framing.feed(&[b'a'; 60]);
            assert!(framing.is_within_head() && framing.head().is_none());
            framing.feed(&[b'a'; 60]);
            assert!(matches!(framing.head(), Some(Begun::Overlong(offence)) if offence == why));
        }
        let mut framing = Framing::new(HeadLimits { bytes: 100, fields: 3 });
        framing.feed(b"GET / HTTP/1.1\r\nHost: a\r\nb: c\r\nb: c\r\nb: c\r\n\r\n");
        let Some(Begun::Head(judged)) = framing.head() else { panic!("no head") };
        assert_eq!(judged.head.offence, Some(Offence::TooManyFields));
    }

    #[test]
    fn a_body_that_has_arrived_is_known_to_before_it_is_taken() {
        for (body, arrived) in
            [("3\r\nabc\r\n0\r\n\r\n", true), ("3\r\nabc\r\n0\r\n\r", false), ("3\r\nabcd0\r\n\r\n", false)]
        {
            let mut framing = Framing::new(LIMITS);
            framing.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            framing.feed(body.as_bytes());
            assert!(framing.head().is_some() && !framing.has_ended());
            assert_eq!(framing.has_arrived(), arrived, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_read_the_same(bytes in "[ -~\r\n]{0,200}", cut in 1usize..50) {
            prop_assert_eq!(events(bytes.as_bytes(), cut), events(bytes.as_bytes(), usize::MAX));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes: Vec<u8>) {
            let _ = events(&bytes, 7);
        }

        #[test]
        fn near_requests_cut_anywhere_read_the_same(
            parts in proptest::collection::vec(prop_oneof![
                Just("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), Just("GET / HTTP/1.1\r\n"), Just("Host: a\r\n"), Just("\r\n"), Just("Content-Length: 3\r\n"),
                Just("Transfer-Encoding: chunked\r\n"), Just("3\r\nabc\r\n"), Just("0\r\n\r\n"), Just("\n"), Just("abc"),
            ], 0..12),
            cut in 1usize..40,
        ) {
            let bytes = parts.concat();
            prop_assert_eq!(events(bytes.as_bytes(), cut), events(bytes.as_bytes(), usize::MAX));
        }
    }
}
