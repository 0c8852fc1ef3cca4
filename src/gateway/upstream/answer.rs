//! The heads of an app's HTTP/1 answers, judged on the raw bytes: an answer that a client could read differently from us
//! is not passed on. Reference: RFC 9112, sections 4, 6 and 9.3.

use bytes::{Bytes, BytesMut};
use http::header::{self, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::content::Ends;
use super::super::extent::Extent;
use super::super::framing::Search;
use super::super::head::{BodyLength, Fields, Offence, take_line};
use super::super::{headers, spare};

/// Longest head.
const HEAD: usize = 64 * 1024;
/// Most fields of a head.
const FIELDS: usize = 100;
/// Most interim answers before the one that counts.
const INTERIM: u8 = 32;
/// Fields that there is room for at once.
const USUAL: usize = 6;
/// How every answer begins.
const BEGIN: &[u8] = b"HTTP/1.";

/// What was asked, as far as the shape of the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// For a head without its body.
    Head,
    Upgrade,
    Other,
}

/// An answer that is waited for.
#[derive(Debug)]
pub(in crate::gateway) struct Awaited {
    asked: Asked,
    search: Search,
    interim: u8,
}

/// The head of the answer that counts.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Ends,
    /// The app takes another request on the connection.
    pub keeps: bool,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Flaw {
    #[error("a line of the head does not end in CR LF, or holds a CR")]
    Line,
    #[error("the status line is not HTTP/1.x and a status from 100 to 599")]
    Status,
    #[error("a header line is not a name directly followed by a colon")]
    Field,
    #[error("the value of a header holds a control character")]
    Value,
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
            Offence::FieldValue => Self::Value,
            Offence::ContentLength => Self::Length,
            Offence::TransferEncoding => Self::Encoding,
            Offence::HeadTooLarge | Offence::TooManyFields => Self::TooLarge,
            Offence::Chunk => Self::Chunk,
        }
    }
}

impl Awaited {
    pub(in crate::gateway) fn new(asked: Asked) -> Self {
        Self { asked, search: Search::default(), interim: 0 }
    }

    /// Takes the head of the answer that counts off what was read, once it is whole.
    pub(in crate::gateway) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Answer>, Flaw> {
        loop {
            // What speaks another protocol may never come to an empty line.
            let begin = input.len().min(BEGIN.len());
            if input[..begin] != BEGIN[..begin] {
                return Err(Flaw::Status);
            }
            let end = self.search.end(input);
            if end.unwrap_or(input.len()) > HEAD {
                return Err(Flaw::TooLarge);
            }
            let Some(end) = end else { return Ok(None) };
            self.search = Search::default();
            let answer = read(&input.split_to(end).freeze(), self.asked)?;
            if answer.is_some() {
                return Ok(answer);
            }
            if self.interim == INTERIM {
                return Err(Flaw::Interim);
            }
            self.interim += 1;
        }
    }
}

/// Reads one whole head; `None` of an interim answer.
fn read(head: &Bytes, asked: Asked) -> Result<Option<Answer>, Flaw> {
    let mut lines: &[u8] = head;
    let (status, version_11) = status_line(take_line(&mut lines)?)?;
    let is_interim = (100..200).contains(&status) && status != 101;
    let mut headers = if is_interim { HeaderMap::new() } else { spare::take(USUAL) };
    let (mut named, mut says_close, mut says_keep_alive) = (Vec::new(), false, false);
    let fields = Fields::read(lines, version_11, |name, value| {
        let name = match usual_name(name) {
            Some(name) => name,
            None => HeaderName::from_bytes(name).map_err(|_| Flaw::Field)?,
        };
        // What most say, and of no more use.
        if name == CONNECTION && value == b"keep-alive" && status != 101 {
            says_keep_alive = true;
            return Ok(());
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| Flaw::Value)?;
        if headers.len() == FIELDS {
            return Err(Flaw::TooLarge);
        }
        if name == CONNECTION {
            says_close |= headers::lists(&value, "close");
            says_keep_alive |= headers::lists(&value, "keep-alive");
            named.extend(headers::named(&value));
        }
        // What belongs to this connection goes no further; but it says which protocol was switched to.
        if status == 101 || !headers::is_hop_by_hop(name.as_str()) {
            headers.append(name, value);
        }
        Ok(())
    })?;
    if fields.count > FIELDS {
        return Err(Flaw::TooLarge);
    }
    for name in named.into_iter().filter(|_| status != 101) {
        headers.remove(name);
    }
    let bodyless = status < 200 || status == 204;
    let body = match fields.body {
        BodyLength::Known(1..) if bodyless => return Err(Flaw::Length),
        BodyLength::Chunked if bodyless => return Err(Flaw::Encoding),
        _ if is_interim => return Ok(None),
        _ if status == 101 && asked == Asked::Upgrade => Ends::Open,
        _ if status == 101 => return Err(Flaw::Switch),
        _ if bodyless || status == 304 || asked == Asked::Head => Ends::Within(Extent::Ended),
        BodyLength::None => Ends::Open,
        length @ (BodyLength::Known(_) | BodyLength::Chunked) => Ends::Within(Extent::of(length)),
    };
    let keeps = body != Ends::Open && !says_close && (version_11 || says_keep_alive);
    let status = StatusCode::from_u16(status).map_err(|_| Flaw::Status)?;
    Ok(Some(Answer { status, headers, body, keeps }))
}

/// The name of a field that many answers have, where it is written as nearly every app does: it is known at once, and not
/// by each of its letters.
fn usual_name(name: &[u8]) -> Option<HeaderName> {
    let is = |title: &[u8], lower: &[u8]| name == title || name == lower;
    Some(match name.len() {
        4 if is(b"Date", b"date") => header::DATE,
        4 if is(b"ETag", b"etag") => header::ETAG,
        4 if is(b"Vary", b"vary") => header::VARY,
        6 if is(b"Server", b"server") => header::SERVER,
        8 if is(b"Location", b"location") => header::LOCATION,
        10 if is(b"Connection", b"connection") => CONNECTION,
        10 if is(b"Set-Cookie", b"set-cookie") => header::SET_COOKIE,
        12 if is(b"Content-Type", b"content-type") => header::CONTENT_TYPE,
        13 if is(b"Cache-Control", b"cache-control") => header::CACHE_CONTROL,
        13 if is(b"Last-Modified", b"last-modified") => header::LAST_MODIFIED,
        14 if is(b"Content-Length", b"content-length") => header::CONTENT_LENGTH,
        16 if is(b"Content-Encoding", b"content-encoding") => header::CONTENT_ENCODING,
        17 if is(b"Transfer-Encoding", b"transfer-encoding") => header::TRANSFER_ENCODING,
        _ => return None,
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
            if is_reason(reason) =>
        {
            let digit = |byte: u8| u16::from(byte - b'0');
            Ok((digit(hundreds) * 100 + digit(tens) * 10 + digit(ones), version_11))
        }
        _ => Err(Flaw::Status),
    }
}

fn is_reason(reason: &[u8]) -> bool {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    reason.first().is_none_or(|first| *first == b' ') && reason.iter().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(text: &str) -> Result<Option<Answer>, Flaw> {
        Awaited::new(Asked::Other).take(&mut BytesMut::from(text))
    }

    #[test]
    fn an_answer_says_whether_another_may_follow() {
        for (answer, keeps) in [
            ("HTTP/1.1 204 None\r\n\r\n", true),
            ("HTTP/1.1 204 None\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.1 204 None\r\nConnection: Keep-Alive, Close\r\n\r\n", false),
            ("HTTP/1.1 204 None\r\nConnection: a\r\nconnection: close\r\n\r\n", false),
            ("HTTP/1.0 204 None\r\n\r\n", false),
            ("HTTP/1.0 204 None\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
        ] {
            assert_eq!(other(answer).unwrap().unwrap().keeps, keeps, "{answer:?}");
        }
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
            (": a", Flaw::Field),
            ("A: b\0c", Flaw::Value),
            ("A: b\x7fc", Flaw::Value),
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
            ("hello\r\n\r\n", Flaw::Status),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Flaw::Status),
            ("HTTP/2 200 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 600 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 099 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 2000 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1  200 OK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 200\tOK\r\n\r\n", Flaw::Status),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Flaw::Status),
        ] {
            assert_eq!(other(answer), Err(flaw), "{answer:?}");
        }
        let endless = "HTTP/1.1 102 Wait\r\n\r\n".repeat(usize::from(INTERIM) + 1);
        assert_eq!(other(&endless), Err(Flaw::Interim));
    }

    #[test]
    fn what_belongs_to_the_connection_goes_no_further() {
        let answer = "HTTP/1.1 200 OK\r\nX-Hop: a\r\nConnection: close, X-Hop\r\nKeep-Alive: 5\r\n\
                      Transfer-Encoding: chunked\r\nX-Kept: b\r\n\r\n";
        let headers = other(answer).unwrap().unwrap().headers;
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
        let mut switched =
            BytesMut::from("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        let answer = Awaited::new(Asked::Upgrade).take(&mut switched).unwrap().unwrap();
        assert_eq!((answer.headers["connection"].as_bytes(), answer.headers.len()), (&b"upgrade"[..], 2));
    }

    #[test]
    fn a_head_without_end_is_refused_before_it_ends() {
        let mut awaited = Awaited::new(Asked::Other);
        let mut input = BytesMut::from(BEGIN);
        input.resize(HEAD, b'a');
        assert_eq!(awaited.take(&mut input), Ok(None));
        input.extend_from_slice(b"a");
        assert_eq!(awaited.take(&mut input), Err(Flaw::TooLarge));
        assert_eq!(other("SSH-2.0-sshd\r\n"), Err(Flaw::Status));
        assert_eq!(other("HTT"), Ok(None));
    }
}
