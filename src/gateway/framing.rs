//! Where each HTTP/1 request of a connection begins and ends, followed through the raw bytes however they are cut up.
//! Reference: RFC 9112, section 2.2.

use std::borrow::Cow;

use memchr::memchr;

use super::extent::Extent;
use super::head::{self, Head, HeadLimits, Offence};

/// Follows the requests of one connection through its bytes, however they are cut up.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    stage: Stage,
    partial: PartialHead,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    Body(Extent),
    /// Nothing after this may be passed on.
    Closed,
}

/// The beginning of a head whose end has yet to arrive.
#[derive(Debug, Default)]
pub(super) struct PartialHead {
    bytes: Vec<u8>,
    /// How far it has been searched for line ends, and where its last line begins.
    searched: usize,
    line: usize,
}

/// What a stretch of bytes brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Head(Head),
    /// A head that is too long to be waited for, and why.
    Overlong(Offence),
    /// The body of the request whose head came last is malformed.
    BadBody(Offence),
    /// The request whose head came last has ended.
    BodyEnd,
}

impl Framing {
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self { limits, stage: Stage::Head, partial: PartialHead::new() }
    }

    /// Whether a head has begun and not yet ended.
    #[must_use]
    pub fn within_head(&self) -> bool {
        matches!(self.stage, Stage::Head) && self.partial.len() > 0
    }

    /// Takes the next bytes of the connection and tells what they hold.
    pub fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Event)) {
        while !bytes.is_empty() {
            let used = match &mut self.stage {
                Stage::Head => self.feed_head(bytes, &mut tell),
                Stage::Body(body) => match body.feed(bytes) {
                    Ok(used) => {
                        if body.has_ended() {
                            self.stage = Stage::Head;
                            tell(Event::BodyEnd);
                        }
                        used
                    }
                    Err(offence) => {
                        self.stage = Stage::Closed;
                        tell(Event::BadBody(offence));
                        return;
                    }
                },
                Stage::Closed => return,
            };
            bytes = &bytes[used..];
        }
    }

    /// Takes bytes up to the end of the head or all of them; returns how many.
    fn feed_head(&mut self, bytes: &[u8], tell: &mut impl FnMut(Event)) -> usize {
        // Empty lines before a request are skipped, as RFC 9112 asks.
        if self.partial.len() == 0 && bytes.starts_with(b"\r\n") {
            return 2;
        }
        let (used, head) = self.partial.take(bytes);
        match head {
            Some(head) if &*head == b"\r\n" => {}
            Some(head) => self.conclude(&head, tell),
            None if self.partial.len() >= self.limits.bytes => {
                // One line that does not end: it is the target that is too long.
                let offence = match self.partial.line {
                    0 => Offence::TargetTooLong,
                    _ => Offence::HeadTooLarge,
                };
                self.stage = Stage::Closed;
                self.partial = PartialHead::new();
                tell(Event::Overlong(offence));
            }
            None => {}
        }
        used
    }

    fn conclude(&mut self, head: &[u8], tell: &mut impl FnMut(Event)) {
        let head = head::judge(head, self.limits);
        let body = Extent::of(head.body);
        self.stage = match head.offence {
            Some(_) => Stage::Closed,
            None if body.has_ended() => Stage::Head,
            None => Stage::Body(body),
        };
        tell(Event::Head(head));
        if matches!(self.stage, Stage::Head) {
            tell(Event::BodyEnd);
        }
    }
}

impl PartialHead {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), searched: 0, line: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes bytes up to the end of the head or all of them; returns how many, and the head if it is whole.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> (usize, Option<Cow<'a, [u8]>>) {
        // Nearly every head arrives whole: it is judged where it lies.
        if self.bytes.is_empty()
            && let Some(end) = head_end(bytes, &mut 0, &mut 0)
        {
            return (end, Some(Cow::Borrowed(&bytes[..end])));
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let Some(end) = head_end(&self.bytes, &mut self.searched, &mut self.line) else {
            return (bytes.len(), None);
        };
        let mut head = std::mem::take(self).bytes;
        head.truncate(end);
        (end - before, Some(Cow::Owned(head)))
    }
}

/// The length of the head at the start of `bytes`, if its empty last line is there. `searched` and `line` carry the
/// search over to a later call with more bytes.
fn head_end(bytes: &[u8], searched: &mut usize, line: &mut usize) -> Option<usize> {
    while let Some(at) = memchr(b'\n', &bytes[*searched..]) {
        let end = *searched + at;
        let empty = matches!(&bytes[*line..end], b"" | b"\r");
        (*searched, *line) = (end + 1, end + 1);
        if empty {
            return Some(end + 1);
        }
    }
    *searched = bytes.len();
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, fields: 100 };

    fn events(bytes: &[u8], cut: usize) -> Vec<Event> {
        let mut framing = Framing::new(LIMITS);
        let mut events = Vec::new();
        for piece in bytes.chunks(cut.max(1)) {
            framing.feed(piece, |event| events.push(event));
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
        for cut in 1..40 {
            assert_eq!(events(bytes, cut), whole, "cut every {cut}");
        }
    }

    #[test]
    fn bad_chunks_are_noticed() {
        for bad in [
            "x\r\n",
            "\r\n",
            "3\nabc",
            "3\r\nabcd",
            "3 \r\nabc\r\n",
            "11111111111111111\r\n",
            "0\r\n\n",
            "0\r\n x\r\n",
        ] {
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
            let seen = events(request.as_bytes(), 7);
            assert_eq!(seen.last(), Some(&Event::BadBody(Offence::Chunk)), "{bad:?}");
        }
    }

    #[test]
    fn heads_over_the_limit_are_refused_before_they_end() {
        let mut seen = Vec::new();
        for (begin, why) in
            [(&b"GET /a"[..], Offence::TargetTooLong), (b"GET / HTTP/1.1\r\na", Offence::HeadTooLarge)]
        {
            let mut framing = Framing::new(HeadLimits { bytes: 100, fields: 3 });
            seen.clear();
            framing.feed(begin, |event| seen.push(event));
            framing.feed(&[b'a'; 60], |event| seen.push(event));
            assert!(framing.within_head() && seen.is_empty());
            framing.feed(&[b'a'; 60], |event| seen.push(event));
            assert_eq!(seen, [Event::Overlong(why)]);
        }
        let mut framing = Framing::new(HeadLimits { bytes: 100, fields: 3 });
        framing.feed(b"GET / HTTP/1.1\r\nHost: a\r\nb: c\r\nb: c\r\nb: c\r\n\r\n", |event| seen.push(event));
        assert!(matches!(seen[1], Event::Head(Head { offence: Some(Offence::TooManyFields), .. })));
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
            ], 0..20),
            cut in 1usize..50,
        ) {
            let bytes = parts.concat();
            prop_assert_eq!(events(bytes.as_bytes(), cut), events(bytes.as_bytes(), usize::MAX));
        }
    }
}
