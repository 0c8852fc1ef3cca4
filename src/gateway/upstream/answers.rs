//! Where each HTTP/1 answer of an app begins and ends, judged on the raw bytes and more strictly than the HTTP library
//! does: an answer that a client could read differently from us is not passed on, and neither is what nobody asked for.
//! Reference: RFC 9112, sections 4, 6 and 9.2.

use super::super::extent::Extent;
use super::super::framing::PartialHead;
use super::super::head::{BodyLength, Fields, Offence, take_line};

/// Longest head.
const HEAD: usize = 64 * 1024;
/// Most fields; the HTTP library takes no more.
const FIELDS: usize = 100;
/// Most interim answers before the one that counts.
const INTERIM: u8 = 32;

/// Follows the answers of one connection.
#[derive(Debug)]
pub(super) struct Answers {
    stage: Stage,
    partial: PartialHead,
    interim: u8,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing was asked.
    Silent,
    Head(Asked),
    Body(Extent),
    /// The body ends with the connection, or another protocol is spoken.
    Open,
    /// Nothing after this may be passed on.
    Closed,
}

/// What was asked, as far as the shape of the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// For a head without its body.
    Head,
    Upgrade,
    Other,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("a line of the head does not end in CR LF, or holds a CR")]
    Line,
    #[error("the status line is not HTTP/1.x and a status from 100 to 599")]
    Status,
    #[error("a header line is not a name directly followed by a colon")]
    Field,
    #[error("Content-Length is not one plain decimal number, or contradicts the rest")]
    Length,
    #[error("Transfer-Encoding is not `chunked` alone, or stands where there can be none")]
    Encoding,
    #[error("the head is too large")]
    TooLarge,
    #[error("the chunked body is malformed")]
    Chunk,
    #[error("too many interim answers")]
    Interim,
    #[error("the protocol was switched unasked")]
    Switch,
}

impl From<Offence> for Flaw {
    fn from(offence: Offence) -> Self {
        match offence {
            Offence::LineEnd => Self::Line,
            Offence::RequestLine | Offence::TargetTooLong => Self::Status,
            Offence::FieldLine | Offence::Host => Self::Field,
            Offence::ContentLength => Self::Length,
            Offence::TransferEncoding => Self::Encoding,
            Offence::HeadTooLarge | Offence::TooManyFields => Self::TooLarge,
            Offence::Chunk | Offence::AfterOffence => Self::Chunk,
        }
    }
}

impl Answers {
    pub(super) const fn new() -> Self {
        Self { stage: Stage::Silent, partial: PartialHead::new(), interim: 0 }
    }

    /// A request is about to be sent: one answer is due.
    pub(super) fn ask(&mut self, asked: Asked) {
        if matches!(self.stage, Stage::Silent) {
            (self.stage, self.interim) = (Stage::Head(asked), 0);
        }
    }

    /// Whether what comes next may still be passed on.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Takes the next bytes; returns how many of them belong to answers that were asked for. What follows these closes
    /// the connection.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let used = match &mut self.stage {
                Stage::Open => return Ok(bytes.len()),
                Stage::Silent | Stage::Closed => {
                    self.stage = Stage::Closed;
                    return Ok(at);
                }
                Stage::Head(asked) => {
                    let asked = *asked;
                    self.feed_head(asked, rest)
                }
                Stage::Body(body) => {
                    let fed = body.feed(rest);
                    if body.has_ended() {
                        self.stage = Stage::Silent;
                    }
                    fed.map_err(Flaw::from)
                }
            };
            at += used.inspect_err(|_| self.stage = Stage::Closed)?;
        }
        Ok(at)
    }

    fn feed_head(&mut self, asked: Asked, bytes: &[u8]) -> Result<usize, Flaw> {
        let (used, head) = self.partial.take(bytes);
        let length = head.as_ref().map_or(self.partial.len(), |head| head.len());
        if length > HEAD {
            return Err(Flaw::TooLarge);
        }
        let Some(head) = head else { return Ok(used) };
        self.stage = match judge(&head, asked)? {
            Verdict::Interim if self.interim == INTERIM => return Err(Flaw::Interim),
            Verdict::Interim => {
                self.interim += 1;
                Stage::Head(asked)
            }
            Verdict::Body(body) if body.has_ended() => Stage::Silent,
            Verdict::Body(body) => Stage::Body(body),
            Verdict::Open => Stage::Open,
        };
        Ok(used)
    }
}

enum Verdict {
    Interim,
    Body(Extent),
    Open,
}

fn judge(mut head: &[u8], asked: Asked) -> Result<Verdict, Flaw> {
    let (status, version_11) = status_line(take_line(&mut head)?)?;
    let fields = Fields::read(head, version_11)?;
    if fields.count > FIELDS {
        return Err(Flaw::TooLarge);
    }
    let bodyless = status < 200 || status == 204;
    match fields.body {
        BodyLength::Known(1..) if bodyless => return Err(Flaw::Length),
        BodyLength::Chunked if bodyless => return Err(Flaw::Encoding),
        BodyLength::None | BodyLength::Known(_) | BodyLength::Chunked => {}
    }
    Ok(match status {
        101 if asked == Asked::Upgrade => Verdict::Open,
        101 => return Err(Flaw::Switch),
        100..=199 => Verdict::Interim,
        204 | 304 => Verdict::Body(Extent::Ended),
        _ if asked == Asked::Head => Verdict::Body(Extent::Ended),
        _ if fields.body == BodyLength::None => Verdict::Open,
        _ => Verdict::Body(Extent::of(fields.body)),
    })
}

/// The status, and whether it is HTTP/1.1 (else 1.0).
fn status_line(line: &[u8]) -> Result<(u16, bool), Flaw> {
    let version_11 = match line.get(..9) {
        Some(b"HTTP/1.1 ") => true,
        Some(b"HTTP/1.0 ") => false,
        _ => return Err(Flaw::Status),
    };
    match line[9..] {
        [hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', ref reason @ ..]
            if reason.first().is_none_or(|first| *first == b' ') =>
        {
            let digit = |byte: u8| u16::from(byte - b'0');
            Ok((digit(hundreds) * 100 + digit(tens) * 10 + digit(ones), version_11))
        }
        _ => Err(Flaw::Status),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(asked: Asked, bytes: &[u8], cut: usize) -> Result<usize, Flaw> {
        let mut answers = Answers::new();
        answers.ask(asked);
        let mut sound = 0;
        for piece in bytes.chunks(cut.max(1)) {
            let used = answers.feed(piece)?;
            sound += used;
            if used < piece.len() {
                break;
            }
        }
        Ok(sound)
    }

    fn other(text: &str) -> Result<usize, Flaw> {
        feed(Asked::Other, text.as_bytes(), usize::MAX)
    }

    #[test]
    fn sound_answers_pass_up_to_their_end() {
        for (asked, answer) in [
            (Asked::Other, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            (Asked::Other, "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"),
            (
                Asked::Other,
                "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n",
            ),
            (Asked::Other, "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n"),
            (Asked::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            (Asked::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (Asked::Upgrade, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"),
        ] {
            for cut in 1..60 {
                let stray = format!("{answer}HTTP/1.1 200 OK\r\n\r\n");
                assert_eq!(
                    feed(asked, stray.as_bytes(), cut),
                    Ok(answer.len()),
                    "{answer:?} cut every {cut}"
                );
            }
        }
        for open in ["HTTP/1.0 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK"] {
            assert_eq!(other(open), Ok(open.len()));
        }
        let tunnel = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x00";
        assert_eq!(feed(Asked::Upgrade, tunnel, 3), Ok(tunnel.len()));
    }

    #[test]
    fn what_two_clients_could_read_differently_is_refused() {
        let with = |fields: &str| other(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
        for (fields, flaw) in [
            ("Content-Length: 5\r\nContent-Length: 5", Flaw::Length),
            ("Content-Length: 5, 5", Flaw::Length),
            ("Content-Length: +5", Flaw::Length),
            ("Content-Length: 05", Flaw::Length),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Flaw::Length),
            ("Transfer-Encoding: gzip, chunked", Flaw::Encoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Flaw::Encoding),
            ("Transfer-Encoding: identity", Flaw::Encoding),
            ("A: b\nContent-Length: 5", Flaw::Line),
            ("A: b\rc", Flaw::Line),
            ("A: b\r\n c", Flaw::Field),
            ("A : b", Flaw::Field),
            ("A", Flaw::Field),
        ] {
            assert_eq!(with(fields), Err(flaw), "{fields:?}");
        }
        assert_eq!(with(&"a: b\r\n".repeat(101)), Err(Flaw::TooLarge));
        assert_eq!(with(&format!("a: {}", "b".repeat(HEAD))), Err(Flaw::TooLarge));
        for (answer, flaw) in [
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::Encoding),
            ("HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n", Flaw::Length),
            ("HTTP/1.1 100 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::Encoding),
            ("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", Flaw::Switch),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Flaw::Chunk),
            ("hello\r\n\r\n", Flaw::Status),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Flaw::Status),
            ("HTTP/2 200 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 600 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 099 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 2000 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1  200 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 200\tOK\r\n\r\n", Flaw::Status),
        ] {
            assert_eq!(other(answer), Err(flaw), "{answer:?}");
        }
        let endless = "HTTP/1.1 102 Wait\r\n\r\n".repeat(usize::from(INTERIM) + 1);
        assert_eq!(other(&endless), Err(Flaw::Interim));
    }

    #[test]
    fn a_head_without_end_is_refused_before_it_ends() {
        let mut answers = Answers::new();
        answers.ask(Asked::Other);
        assert_eq!(answers.feed(&[b'a'; HEAD]), Ok(HEAD));
        assert_eq!(answers.feed(b"a"), Err(Flaw::TooLarge));
        assert!(answers.is_closed());
    }

    #[test]
    fn nothing_passes_unasked() {
        let mut answers = Answers::new();
        assert_eq!(answers.feed(b"HTTP/1.1 408 Slow\r\n\r\n"), Ok(0));
        answers.ask(Asked::Other);
        assert_eq!(answers.feed(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(0));
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic_and_cuts_change_nothing(
            parts in proptest::collection::vec(prop_oneof![
                Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.1 100 Go\r\n\r\n"), Just("Content-Length: 3\r\n"), Just("\r\n"),
                Just("Transfer-Encoding: chunked\r\n"), Just("3\r\nabc\r\n"), Just("0\r\n\r\n"), Just("\n"), Just("abc"),
            ], 0..12),
            cut in 1usize..40,
        ) {
            let bytes = parts.concat().into_bytes();
            prop_assert_eq!(feed(Asked::Other, &bytes, cut), feed(Asked::Other, &bytes, usize::MAX));
        }
    }
}
