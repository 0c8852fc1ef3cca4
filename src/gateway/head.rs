//! The head of an HTTP/1 request, read more strictly than a server needs to.
//!
//! What a server behind us may read differently is refused: a bare LF for a line end, a `Content-Length` beside
//! `Transfer-Encoding` or given twice, a folded line. Reference: RFC 9112, sections 2.2, 3, 5 and 6.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use memchr::{memchr, memchr2};

use super::{headers, spare};

/// Longest request target; the library that takes them apart takes none longer.
const TARGET: usize = 65_534;
/// Fields that there is room for at once.
const USUAL: usize = 6;

/// Why a request may not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A line that does not end in CR LF, or a CR within one.
    LineEnd,
    /// A request line that is not `METHOD SP TARGET SP HTTP/1.x`.
    RequestLine,
    /// A field line without a name, folded onto the next line, or with space around its name.
    FieldLine,
    /// A control character in a value.
    FieldValue,
    Host,
    ContentLength,
    TransferEncoding,
    TargetTooLong,
    HeadTooLarge,
    TooManyFields,
    Chunk,
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
            Self::FieldValue => "the value of a header holds a control character",
            Self::Host => "a request names exactly one Host",
            Self::ContentLength => {
                "Content-Length is one plain decimal number, given once and not beside Transfer-Encoding"
            }
            Self::TransferEncoding => {
                "Transfer-Encoding is `chunked` and nothing else, given once and on HTTP/1.1"
            }
            Self::TargetTooLong => "the request target is longer than this gateway accepts",
            Self::HeadTooLarge => "the request's head is larger than this gateway accepts",
            Self::TooManyFields => "the request has more header fields than this gateway accepts",
            Self::Chunk => "the chunked body is malformed",
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
    pub fields: usize,
}

/// Limits on one head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub bytes: usize,
    pub fields: usize,
}
/// A head, judged, and the request as far as it could be told from it.
pub struct Judged {
    pub head: Head,
    /// `None`: not even a request line could.
    pub parts: Option<Parts>,
    pub wishes: Wishes,
}

/// What a client asks of its connection and of the way it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// HTTP/1.1, else 1.0.
    pub version_11: bool,
    /// It may send another request.
    pub keeps: bool,
    /// It waits for a word before it sends the body.
    pub expects_continue: bool,
    pub takes_trailers: bool,
    /// It asks for a head alone.
    pub head_only: bool,
}

/// Reads one whole head, its last empty line included.
pub(super) fn read(head: &Bytes, limits: HeadLimits) -> Judged {
    let mut judged = Judged {
        head: Head { offence: None, body: BodyLength::None, fields: 0 },
        parts: None,
        wishes: Wishes {
            version_11: true,
            keeps: false,
            expects_continue: false,
            takes_trailers: false,
            head_only: false,
        },
    };
    judged.head.offence = read_lines(head, limits, &mut judged).err();
    judged
}

fn read_lines(head: &Bytes, limits: HeadLimits, judged: &mut Judged) -> Result<(), Offence> {
    let mut lines: &[u8] = head;
    let line = take_line(&mut lines).and_then(request_line);
    if head.len() > limits.bytes {
        // A long target is told as such, whatever follows it.
        return Err(line.err().filter(|why| *why == Offence::TargetTooLong).unwrap_or(Offence::HeadTooLarge));
    }
    let RequestLine { method, target, version_11 } = line?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(method).map_err(|_| Offence::RequestLine)?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(target)).map_err(|_| Offence::RequestLine)?;
    parts.version = if version_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    parts.headers = spare::take(USUAL);
    let wishes = &mut judged.wishes;
    (wishes.version_11, wishes.head_only) = (version_11, parts.method == Method::HEAD);
    let parts = judged.parts.insert(parts);
    let (mut says_close, mut says_keep_alive) = (false, false);
    let fields = Fields::read(lines, version_11, |name, value| {
        if parts.headers.len() == limits.fields {
            return Err(Offence::TooManyFields);
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Offence::FieldLine)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| Offence::FieldValue)?;
        match name {
            header::CONNECTION => {
                says_close |= headers::lists(&value, "close");
                says_keep_alive |= headers::lists(&value, "keep-alive");
            }
            header::EXPECT => {
                wishes.expects_continue =
                    version_11 && value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            header::TE => wishes.takes_trailers |= version_11 && headers::lists(&value, "trailers"),
            _ => {}
        }
        parts.headers.try_append(name, value).map_err(|_| Offence::TooManyFields)?;
        Ok(())
    })?;
    if fields.hosts > 1 || (version_11 && fields.hosts == 0) {
        return Err(Offence::Host);
    }
    wishes.keeps = !says_close && (version_11 || says_keep_alive);
    (judged.head.fields, judged.head.body) = (fields.count, fields.body);
    Ok(())
}

/// What the fields of a head say, of a request or an answer, as far as it matters to where the message ends.
pub(super) struct Fields {
    pub count: usize,
    hosts: usize,
    pub body: BodyLength,
}

impl Fields {
    /// Reads field lines up to the empty one, and hands each to `take`.
    pub(super) fn read<E: From<Offence>>(
        mut head: &[u8],
        version_11: bool,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (mut count, mut hosts, mut length, mut chunked) = (0, 0, None, false);
        // As nearly everybody writes it: to fold the case of each letter takes longer.
        let is = |name: &[u8], usual: &[u8]| name == usual || name.eq_ignore_ascii_case(usual);
        while let Some((name, value)) = take_field(&mut head)? {
            count += 1;
            match name.len() {
                4 if is(name, b"Host") => hosts += 1,
                14 if is(name, b"Content-Length") => {
                    let value = canonical_decimal(value).ok_or(Offence::ContentLength)?;
                    if length.replace(value).is_some() {
                        return Err(Offence::ContentLength.into());
                    }
                }
                17 if is(name, b"Transfer-Encoding") => {
                    if chunked || !version_11 || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Offence::TransferEncoding.into());
                    }
                    chunked = true;
                }
                _ => {}
            }
            take(name, value)?;
        }
        let body = match (length, chunked) {
            (Some(_), true) => return Err(Offence::ContentLength.into()),
            (None, true) => BodyLength::Chunked,
            (Some(length), false) => BodyLength::Known(length),
            (None, false) => BodyLength::None,
        };
        Ok(Self { count, hosts, body })
    }
}

/// Takes a line off `head` and returns it without its CR LF.
pub(super) fn take_line<'a>(head: &mut &'a [u8]) -> Result<&'a [u8], Offence> {
    let end = memchr2(b'\r', b'\n', head).ok_or(Offence::LineEnd)?;
    let (line, rest) = head.split_at(end);
    *head = rest.strip_prefix(b"\r\n").ok_or(Offence::LineEnd)?;
    Ok(line)
}

/// The name and the value of a field.
pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

/// Takes a field off `head`; `None` at the empty line that ends it.
pub(super) fn take_field<'a>(head: &mut &'a [u8]) -> Result<Option<Field<'a>>, Offence> {
    if let Some(rest) = head.strip_prefix(b"\r\n") {
        *head = rest;
        return Ok(None);
    }
    // Nearly every line begins with a name and a colon; what is wrong with one that does not is told below.
    if let (name @ [_, ..], [b':', value @ ..]) = head.split_at(token_length(head)) {
        *head = value;
        return Ok(Some((name, trim_blanks(take_line(head)?))));
    }
    let line = take_line(head)?;
    let colon = memchr(b':', line).ok_or(Offence::FieldLine)?;
    let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
    if is_token(name) { Ok(Some((name, value))) } else { Err(Offence::FieldLine) }
}

/// A request line in its parts; HTTP/1.1, else 1.0.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version_11: bool,
}

fn request_line(line: &[u8]) -> Result<RequestLine<'_>, Offence> {
    let (begin, version_11) = match line.split_last_chunk() {
        Some((begin, b" HTTP/1.1")) => (begin, true),
        Some((begin, b" HTTP/1.0")) => (begin, false),
        _ => return Err(Offence::RequestLine),
    };
    let (method, rest) = begin.split_at(token_length(begin));
    // The library that takes targets apart cuts them off at `#` without a word.
    let target = match rest {
        [b' ', target @ ..] if !target.is_empty() && memchr2(b' ', b'#', target).is_none() => target,
        _ => return Err(Offence::RequestLine),
    };
    if method.is_empty() {
        return Err(Offence::RequestLine);
    }
    if target.len() > TARGET {
        return Err(Offence::TargetTooLong);
    }
    Ok(RequestLine { method, target, version_11 })
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && token_length(name) == name.len()
}

/// How long the token is with which `text` begins.
fn token_length(text: &[u8]) -> usize {
    // Nearly all are of letters and hyphens, which are looked for eight at a time.
    let mut length = 0;
    while let Some(word) = text[length..].first_chunk() {
        let other = not_plain(u64::from_le_bytes(*word));
        if other != 0 {
            length += other.trailing_zeros() as usize / 8;
            break;
        }
        length += 8;
    }
    length + text[length..].iter().take_while(|byte| IS_TOKEN[usize::from(**byte)]).count()
}

/// Marks, in the highest bit of each byte, which of eight are neither letters nor hyphens.
const fn not_plain(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    // A byte of seven bits reaches the highest with what is added if it is at least so much.
    let seven = word & !HIGH;
    let lower = seven | (0x20 * EACH);
    let from_a = lower + (0x80 - b'a' as u64) * EACH;
    let after_z = lower + (0x80 - b'z' as u64 - 1) * EACH;
    let not_hyphen = (seven ^ (b'-' as u64 * EACH)) + 0x7f * EACH;
    ((!from_a | after_z) & not_hyphen | word) & HIGH
}

/// Characters of methods and field names, as a table: this looks at every byte of every name.
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// Without the spaces and tabs around it, and nothing else.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A decimal without sign, leading zero, list or blank.
pub(super) fn canonical_decimal(value: &[u8]) -> Option<u64> {
    let plain = value == b"0" || value.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    let mut digits = value.iter().filter(|_| plain);
    let number = digits.try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| plain)
}
#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 65_536, fields: 100 };

    fn offence(fields: &str) -> Option<Offence> {
        judge(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
    }

    fn judge(head: &str) -> Option<Offence> {
        read(&Bytes::copy_from_slice(head.as_bytes()), LIMITS).head.offence
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
        let old = judge("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old, Some(Offence::TransferEncoding));
    }

    #[test]
    fn every_byte_ends_a_token_or_does_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for before in 0..20 {
                let text = [&b"Abcdefgh-zAbcdefgh-Z"[..before], &[byte], b"xyz:"].concat();
                let length = before + if IS_TOKEN[usize::from(byte)] { 4 } else { 0 };
                assert_eq!(token_length(&text), length, "{byte} after {before}");
            }
        }
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
            let seen = judge(&format!("{bad}\r\nHost: a\r\n\r\n"));
            assert_eq!(seen, Some(Offence::RequestLine), "{bad}");
        }
        assert_eq!(judge("GET / HTTP/1.1\r\n\r\n"), Some(Offence::Host));
        assert_eq!(judge("GET / HTTP/1.0\r\n\r\n"), None);
    }
}
