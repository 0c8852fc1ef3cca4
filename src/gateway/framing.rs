//! Where each HTTP/1 request begins and ends, judged on the raw bytes and more strictly than the HTTP library does.
//!
//! The library removes a `Content-Length` beside `Transfer-Encoding`, drops an equal second one and takes a bare LF
//! for a line end, all without a word. A server behind us may read such a request differently, so it is refused.
//! Reference: RFC 9112, sections 2.2, 5, 6 and 7.1.

use memchr::{memchr, memchr2};

/// Longest chunk-size line, extensions included.
const CHUNK_LINE: usize = 4096;
/// Longest trailer section.
const TRAILERS: usize = 16 * 1024;

/// Why a request may not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A line that does not end in CR LF, or a CR within one.
    LineEnd,
    /// A request line that is not `METHOD SP TARGET SP HTTP/1.x`.
    RequestLine,
    /// A field line without a name, folded onto the next line, or with space around its name.
    FieldLine,
    Host,
    ContentLength,
    TransferEncoding,
    HeadTooLarge,
    TooManyFields,
    Chunk,
    /// Bytes after a request that was the last one allowed.
    AfterOffence,
}

impl Offence {
    /// What to tell the sender.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::LineEnd => "every line of a request's head ends in CR LF, and CR appears nowhere else",
            Self::RequestLine => {
                "the request line is not a method, a target and HTTP/1.0 or HTTP/1.1, separated by single spaces"
            }
            Self::FieldLine => "a header line is not a name directly followed by a colon, on one line",
            Self::Host => "a request names exactly one Host",
            Self::ContentLength => {
                "Content-Length is one plain decimal number, given once and not beside Transfer-Encoding"
            }
            Self::TransferEncoding => {
                "Transfer-Encoding is `chunked` and nothing else, given once and on HTTP/1.1"
            }
            Self::HeadTooLarge => "the request's head is larger than this gateway accepts",
            Self::TooManyFields => "the request has more header fields than this gateway accepts",
            Self::Chunk => "the chunked body is malformed",
            Self::AfterOffence => "the connection had already been refused",
        }
    }
}

/// How a request says that its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    None,
    Known(u64),
    Chunked,
}

/// What the raw head of one request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub offence: Option<Offence>,
    pub body: BodyLength,
    /// Field lines, to be compared with what the HTTP library saw.
    pub fields: usize,
}

/// Limits on one head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub bytes: usize,
    pub fields: usize,
}

/// Follows the requests of one connection through its bytes, however they are cut up.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    stage: Stage,
    /// The beginning of a head whose end has yet to arrive.
    partial: Vec<u8>,
    /// How far `partial` has been searched for line ends, and where its last line begins.
    searched: usize,
    line: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    Body(u64),
    ChunkSize {
        size: u64,
        digits: u8,
        length: usize,
        part: SizePart,
    },
    ChunkData(u64),
    /// After the data: CR, then LF.
    ChunkEnd {
        cr: bool,
    },
    /// The trailer section: bytes of it so far, bytes of its present line, and whether that ended in CR.
    Trailers {
        total: usize,
        line: usize,
        cr: bool,
    },
    /// Nothing after this may be passed on.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SizePart {
    Digits,
    Extension,
    Lf,
}

const CHUNK_START: Stage = Stage::ChunkSize { size: 0, digits: 0, length: 0, part: SizePart::Digits };

/// What a stretch of bytes brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Head(Head),
    /// The body of the request whose head came last is malformed.
    BadBody(Offence),
    /// The request whose head came last has ended.
    BodyEnd,
}

impl Framing {
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self { limits, stage: Stage::Head, partial: Vec::new(), searched: 0, line: 0 }
    }

    /// Whether a head has begun and not yet ended.
    #[must_use]
    pub fn within_head(&self) -> bool {
        matches!(self.stage, Stage::Head) && !self.partial.is_empty()
    }

    /// Takes the next bytes of the connection and tells what they hold.
    pub fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Event)) {
        while !bytes.is_empty() {
            let used = match self.stage {
                Stage::Head => self.feed_head(bytes, &mut tell),
                Stage::Body(left) => {
                    let used = left.min(bytes.len() as u64);
                    self.stage = if used == left { Stage::Head } else { Stage::Body(left - used) };
                    if used == left {
                        tell(Event::BodyEnd);
                    }
                    used as usize
                }
                Stage::ChunkData(left) => {
                    let used = left.min(bytes.len() as u64);
                    self.stage = if used == left {
                        Stage::ChunkEnd { cr: false }
                    } else {
                        Stage::ChunkData(left - used)
                    };
                    used as usize
                }
                Stage::ChunkSize { .. } | Stage::ChunkEnd { .. } | Stage::Trailers { .. } => {
                    match self.stage.step(bytes[0]) {
                        Some(stage) => {
                            self.stage = stage;
                            if matches!(stage, Stage::Head) {
                                tell(Event::BodyEnd);
                            }
                        }
                        None => {
                            self.stage = Stage::Closed;
                            tell(Event::BadBody(Offence::Chunk));
                        }
                    }
                    1
                }
                Stage::Closed => return,
            };
            bytes = &bytes[used..];
        }
    }

    /// Takes bytes up to the end of the head or all of them; returns how many.
    fn feed_head(&mut self, bytes: &[u8], tell: &mut impl FnMut(Event)) -> usize {
        if self.partial.is_empty() {
            // Empty lines before a request are skipped, as RFC 9112 asks.
            if bytes.starts_with(b"\r\n") {
                return 2;
            }
            // Nearly every head arrives whole: it is judged where it lies.
            if let Some(end) = head_end(bytes, &mut 0, &mut 0) {
                self.conclude(&bytes[..end], tell);
                return end;
            }
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        match head_end(&self.partial, &mut self.searched, &mut self.line) {
            Some(end) => {
                let head = std::mem::take(&mut self.partial);
                (self.searched, self.line) = (0, 0);
                if &head[..end] != b"\r\n" {
                    self.conclude(&head[..end], tell);
                }
                end - before
            }
            None if self.partial.len() > self.limits.bytes => {
                self.stage = Stage::Closed;
                self.partial = Vec::new();
                tell(Event::Head(Head {
                    offence: Some(Offence::HeadTooLarge),
                    body: BodyLength::None,
                    fields: 0,
                }));
                bytes.len()
            }
            None => bytes.len(),
        }
    }

    fn conclude(&mut self, head: &[u8], tell: &mut impl FnMut(Event)) {
        let head = judge(head, self.limits);
        self.stage = match (head.offence, head.body) {
            (Some(_), _) => Stage::Closed,
            (None, BodyLength::None | BodyLength::Known(0)) => Stage::Head,
            (None, BodyLength::Known(length)) => Stage::Body(length),
            (None, BodyLength::Chunked) => CHUNK_START,
        };
        tell(Event::Head(head));
        if matches!(self.stage, Stage::Head) {
            tell(Event::BodyEnd);
        }
    }
}

impl Stage {
    /// One byte of a chunked body's own syntax; `None` if it does not belong there.
    fn step(self, byte: u8) -> Option<Self> {
        match self {
            Self::ChunkSize { size, digits, length, part } => {
                if length >= CHUNK_LINE {
                    return None;
                }
                let length = length + 1;
                let go_on = |part| Some(Self::ChunkSize { size, digits, length, part });
                match (part, byte) {
                    (SizePart::Digits, b'\r') if digits > 0 => go_on(SizePart::Lf),
                    (SizePart::Digits, b';') if digits > 0 => go_on(SizePart::Extension),
                    (SizePart::Digits, _) if digits < 16 => {
                        let digit = (byte as char).to_digit(16)?;
                        let size = size << 4 | u64::from(digit);
                        Some(Self::ChunkSize { size, digits: digits + 1, length, part })
                    }
                    (SizePart::Digits, _) => None,
                    (SizePart::Extension, b'\r') => go_on(SizePart::Lf),
                    (SizePart::Extension, b'\n' | 0) => None,
                    (SizePart::Extension, _) => go_on(SizePart::Extension),
                    (SizePart::Lf, b'\n') if size == 0 => {
                        Some(Self::Trailers { total: 0, line: 0, cr: false })
                    }
                    (SizePart::Lf, b'\n') => Some(Self::ChunkData(size)),
                    (SizePart::Lf, _) => None,
                }
            }
            Self::ChunkEnd { cr: false } => (byte == b'\r').then_some(Self::ChunkEnd { cr: true }),
            Self::ChunkEnd { cr: true } => (byte == b'\n').then_some(CHUNK_START),
            Self::Trailers { total, line, cr } => {
                let total = total + 1;
                match (byte, cr) {
                    (b'\n', true) if line == 0 => Some(Self::Head),
                    (b'\n', true) => Some(Self::Trailers { total, line: 0, cr: false }),
                    (b'\n', false) | (_, true) => None,
                    (b'\r', false) => Some(Self::Trailers { total, line, cr: true }),
                    (b' ' | b'\t', false) if line == 0 => None,
                    (_, false) if total > TRAILERS => None,
                    (_, false) => Some(Self::Trailers { total, line: line + 1, cr: false }),
                }
            }
            Self::Head | Self::Body(_) | Self::ChunkData(_) | Self::Closed => None,
        }
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

/// Judges one whole head, its last empty line included.
fn judge(head: &[u8], limits: HeadLimits) -> Head {
    let mut seen = Head { offence: None, body: BodyLength::None, fields: 0 };
    if head.len() > limits.bytes {
        seen.offence = Some(Offence::HeadTooLarge);
        return seen;
    }
    seen.offence = judge_lines(head, limits, &mut seen).err();
    seen
}

fn judge_lines(mut head: &[u8], limits: HeadLimits, seen: &mut Head) -> Result<(), Offence> {
    let version_11 = request_line(take_line(&mut head)?)?;
    let (mut hosts, mut length, mut chunked) = (0, None, false);
    loop {
        let line = take_line(&mut head)?;
        if line.is_empty() {
            break;
        }
        seen.fields += 1;
        let colon = memchr(b':', line).ok_or(Offence::FieldLine)?;
        let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
        if !is_token(name) {
            return Err(Offence::FieldLine);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let value = canonical_decimal(value).ok_or(Offence::ContentLength)?;
                if length.replace(value).is_some() {
                    return Err(Offence::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || !version_11 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Offence::TransferEncoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    if hosts > 1 || (version_11 && hosts == 0) {
        return Err(Offence::Host);
    }
    if seen.fields > limits.fields {
        return Err(Offence::TooManyFields);
    }
    seen.body = match (length, chunked) {
        (Some(_), true) => return Err(Offence::ContentLength),
        (None, true) => BodyLength::Chunked,
        (Some(length), false) => BodyLength::Known(length),
        (None, false) => BodyLength::None,
    };
    Ok(())
}

/// Takes a line off `head` and returns it without its CR LF.
fn take_line<'a>(head: &mut &'a [u8]) -> Result<&'a [u8], Offence> {
    let end = memchr2(b'\r', b'\n', head).ok_or(Offence::LineEnd)?;
    let (line, rest) = head.split_at(end);
    *head = rest.strip_prefix(b"\r\n").ok_or(Offence::LineEnd)?;
    Ok(line)
}

/// Whether a request line is HTTP/1.1 (else 1.0).
fn request_line(line: &[u8]) -> Result<bool, Offence> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Offence::RequestLine);
    };
    // The HTTP library cuts a target off at `#` without a word.
    if !is_token(method) || target.is_empty() || memchr(b'#', target).is_some() {
        return Err(Offence::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Offence::RequestLine),
    }
}

fn is_token(name: &[u8]) -> bool {
    const PUNCTUATION: &[u8] = b"!#$%&'*+-.^_`|~";
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || PUNCTUATION.contains(byte))
}

/// Without the spaces and tabs around it, and nothing else.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A decimal without sign, leading zero, list or blank.
fn canonical_decimal(value: &[u8]) -> Option<u64> {
    let plain = value == b"0" || value.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    (plain && value.iter().all(u8::is_ascii_digit)).then(|| std::str::from_utf8(value).ok()?.parse().ok())?
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

    fn offence(fields: &str) -> Option<Offence> {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        match events(head.as_bytes(), usize::MAX)[0] {
            Event::Head(head) => head.offence,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lengths_that_two_servers_could_read_differently() {
        for bad in ["5, 5", "+5", "0x5", "", "010", "-1", "5 5", "99999999999999999999", "5\u{b}"] {
            assert_eq!(offence(&format!("Content-Length: {bad}")), Some(Offence::ContentLength), "{bad:?}");
        }
        assert_eq!(offence("Content-Length: 5\r\ncontent-length: 5"), Some(Offence::ContentLength));
        assert_eq!(offence("Content-Length: 5\r\nTransfer-Encoding: chunked"), Some(Offence::ContentLength));
        assert_eq!(offence("Content-Length: 0"), None);
    }

    #[test]
    fn encodings_that_two_servers_could_read_differently() {
        for bad in
            [",chunked", "gzip, chunked", "xchunked", "\u{b}chunked", "chunked, chunked", "identity", ""]
        {
            assert_eq!(
                offence(&format!("Transfer-Encoding: {bad}")),
                Some(Offence::TransferEncoding),
                "{bad:?}"
            );
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked";
        assert_eq!(offence(twice), Some(Offence::TransferEncoding));
        assert_eq!(offence("transfer-encoding: ChUnKeD"), None);
        let old = events(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 1);
        assert!(matches!(old[0], Event::Head(Head { offence: Some(Offence::TransferEncoding), .. })));
    }

    #[test]
    fn lines_and_names_are_plain() {
        for (bad, why) in [
            ("x: x\nTransfer-Encoding: chunked", Offence::LineEnd),
            ("x: a\rb", Offence::LineEnd),
            ("x: a\r\n b", Offence::FieldLine),
            ("x : a", Offence::FieldLine),
            ("x", Offence::FieldLine),
            (": a", Offence::FieldLine),
            ("Host: b", Offence::Host),
        ] {
            assert_eq!(offence(bad), Some(why), "{bad:?}");
        }
        for bad in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/2.0",
            "GET /#a HTTP/1.1",
            "G(T / HTTP/1.1",
            " / HTTP/1.1",
        ] {
            let seen = events(format!("{bad}\r\nHost: a\r\n\r\n").as_bytes(), 3);
            assert!(
                matches!(seen[0], Event::Head(Head { offence: Some(Offence::RequestLine), .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            events(b"GET / HTTP/1.1\r\n\r\n", 5)[0],
            Event::Head(Head { offence: Some(Offence::Host), .. })
        ));
        assert!(matches!(events(b"GET / HTTP/1.0\r\n\r\n", 5)[0], Event::Head(Head { offence: None, .. })));
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
        let mut framing = Framing::new(HeadLimits { bytes: 100, fields: 3 });
        let mut seen = Vec::new();
        framing.feed(&[b'a'; 60], |event| seen.push(event));
        assert!(framing.within_head() && seen.is_empty());
        framing.feed(&[b'a'; 60], |event| seen.push(event));
        assert!(matches!(seen[0], Event::Head(Head { offence: Some(Offence::HeadTooLarge), .. })));
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
