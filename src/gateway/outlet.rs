//! An answer on its way to an HTTP/1 client: its head, and its body as it comes. Reference: RFC 9112, sections 6, 7.1 and
//! 9.3.

use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};

use super::crossing::Fields as _;
use super::head::{Wishes, canonical_decimal};
use super::headers;
use super::inlet::Inlet;
use super::response::Body;
use super::spare;

/// Pieces up to this length are brought together: to copy them costs less than to have the kernel gather them.
const SHORT: usize = 4 * 1024;
/// An answer of less is given at once, whatever is still to come of its request.
const SHORT_ANSWER: u64 = 16 * 1024;
/// Gathered before anything is written.
const FULL: usize = 16 * 1024;

/// What is still to be written.
#[derive(Debug)]
pub(super) struct Outlet {
    /// The head, and what stands before a piece of the body.
    text: Vec<u8>,
    piece: Bytes,
    after: &'static [u8],
    /// How much of these three was written.
    written: usize,
    /// Kept beyond its end until all of it is written: so long the request is in flight. `None`: it is.
    body: Option<Body>,
    rest: Rest,
    /// No other answer may follow.
    pub closes: bool,
    /// The trailers that the head announces, to a client that takes any.
    announced: Vec<HeaderName>,
}

/// What of the body has yet to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Bytes(u64),
    Chunks,
    /// Its end is that of the connection.
    Open,
    Nothing,
}

/// The answer cannot be brought to its end.
pub(super) struct Broken;

impl Outlet {
    /// Of an answer whose head is written into `text`; `is_early`: the request has not arrived whole.
    pub(super) fn new(
        text: Vec<u8>,
        response: Response<Body>,
        wishes: &Wishes,
        last: bool,
        is_early: bool,
        date: &[u8],
    ) -> Self {
        let (parts, body) = response.into_parts();
        let has_body = !wishes.head_only
            && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            && parts.status != StatusCode::SWITCHING_PROTOCOLS;
        let rest = match length(&parts, &body) {
            _ if !has_body => Rest::Nothing,
            Some(0) => Rest::Nothing,
            Some(length) => Rest::Bytes(length),
            None if wishes.version_11 => Rest::Chunks,
            None => Rest::Open,
        };
        let says_close =
            || parts.headers.get_all(header::CONNECTION).iter().any(|it| headers::lists(it, "close"));
        // A short answer is over before the rest of the request is here, and that is not waited for.
        let last = last || (is_early && matches!(rest, Rest::Nothing | Rest::Bytes(..SHORT_ANSWER)));
        let closes = last || !wishes.keeps || rest == Rest::Open || says_close();
        let mut outlet = Self {
            text,
            piece: Bytes::new(),
            after: b"",
            written: 0,
            body: Some(body),
            rest,
            closes,
            announced: Vec::new(),
        };
        outlet.head(&parts, wishes, has_body, date);
        spare::give(parts.headers);
        outlet
    }

    fn head(&mut self, parts: &response::Parts, wishes: &Wishes, has_body: bool, date: &[u8]) {
        let text = &mut self.text;
        let upgrades = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        text.extend_from_slice(if wishes.version_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        text.extend_from_slice(parts.status.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(parts.status.canonical_reason().unwrap_or("<none>").as_bytes());
        text.extend_from_slice(b"\r\n");
        let mut dated = false;
        for (name, value) in &parts.headers {
            match *name {
                header::CONNECTION if !upgrades => continue,
                // What stands here is the length of what is sent, but for an answer to HEAD, which tells of another.
                header::CONTENT_LENGTH if !wishes.head_only => continue,
                header::TRANSFER_ENCODING => continue,
                header::TRAILER if self.rest != Rest::Chunks => continue,
                header::TRAILER if wishes.takes_trailers => self.announced.extend(headers::named(value)),
                header::DATE => dated = true,
                _ => {}
            }
            text.copy(name, value);
        }
        match self.rest {
            Rest::Bytes(length) => {
                text.set(&header::CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes())
            }
            Rest::Chunks => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Rest::Nothing if has_body => text.extend_from_slice(b"content-length: 0\r\n"),
            Rest::Open | Rest::Nothing => {}
        }
        if !upgrades {
            match (self.closes, wishes.version_11) {
                (true, _) => text.extend_from_slice(b"connection: close\r\n"),
                (false, false) => text.extend_from_slice(b"connection: keep-alive\r\n"),
                (false, true) => {}
            }
        }
        if !dated {
            text.set(&header::DATE, date);
        }
        text.extend_from_slice(b"\r\n");
    }

    /// Writes what there is, until all is written.
    pub(super) fn poll(&mut self, inlet: &Inlet, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            // With the head goes what is there of the body already.
            while self.written == 0 && self.piece.is_empty() && self.text.len() < FULL {
                let Some(body) = self.body.as_mut().filter(|_| self.rest != Rest::Nothing) else { break };
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                    // Over HTTP/2 an app may say only later that this was all.
                    if self.rest == Rest::Bytes(0) {
                        self.rest = Rest::Nothing;
                        self.is_being_taken();
                    }
                    break;
                };
                let last = body.is_end_stream();
                self.load(frame, last)?;
            }
            if self.text.len() + self.piece.len() > 0 {
                ready!(self.write(inlet, cx))?;
                continue;
            }
            let flushed = inlet.poll_flush(cx);
            if self.rest != Rest::Nothing {
                return Poll::Pending;
            }
            ready!(flushed).map_err(|_| Broken)?;
            if let Some(body) = self.body.take() {
                body.has_reached_the_client();
            }
            return Poll::Ready(Ok(()));
        }
    }

    /// What the head was written into.
    pub(super) fn into_text(mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Takes the next of the body.
    fn load<E>(&mut self, frame: Option<Result<Frame<Bytes>, E>>, last: bool) -> Result<(), Broken> {
        let is_whole = self.rest == Rest::Bytes(0);
        let last = last || frame.is_none();
        let frame = match frame.transpose() {
            // The client has all that it was promised.
            Err(_) if is_whole => None,
            frame => frame.map_err(|_| Broken)?,
        };
        let last = last || (is_whole && frame.is_none());
        let (data, trailers) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (data, None),
            Some(Err(frame)) => (Bytes::new(), frame.into_trailers().ok()),
            None => (Bytes::new(), None),
        };
        let is_end = match self.rest {
            Rest::Bytes(left) => {
                // More or less than was promised would be taken for something else.
                let left = left.checked_sub(data.len() as u64).ok_or(Broken)?;
                self.rest = Rest::Bytes(left);
                if left > 0 && (last || trailers.is_some()) {
                    return Err(Broken);
                }
                self.put(data, b"");
                // Over HTTP/2 an app may say later that this was all.
                last || trailers.is_some()
            }
            Rest::Chunks => {
                let is_end = last || trailers.is_some();
                if !data.is_empty() {
                    // Writing to memory does not fail.
                    let _ = write!(self.text, "{:x}\r\n", data.len());
                    self.put(data, if is_end { b"\r\n0\r\n\r\n" } else { b"\r\n" });
                } else if is_end {
                    self.end(trailers.as_ref());
                }
                is_end
            }
            Rest::Open | Rest::Nothing => {
                self.put(data, b"");
                last
            }
        };
        if is_end {
            self.rest = Rest::Nothing;
            self.is_being_taken();
        }
        Ok(())
    }

    fn put(&mut self, data: Bytes, after: &'static [u8]) {
        if data.len() > SHORT {
            (self.piece, self.after) = (data, after);
        } else {
            self.text.extend_from_slice(&data);
            self.text.extend_from_slice(after);
        }
    }

    /// The end of a body in chunks.
    fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.text.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| self.announced.contains(name))
        {
            self.text.copy(name, value);
        }
        self.text.extend_from_slice(b"\r\n");
    }

    fn write(&mut self, inlet: &Inlet, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut skipped = self.written;
        let pieces = [&self.text[..], &self.piece, self.after].map(|piece| {
            let skip = skipped.min(piece.len());
            skipped -= skip;
            IoSlice::new(&piece[skip..])
        });
        let pieces = if self.piece.is_empty() { &pieces[..1] } else { &pieces[..] };
        let left: usize = pieces.iter().map(|piece| piece.len()).sum();
        let written = ready!(inlet.poll_write(cx, pieces)).map_err(|_| Broken)?;
        if written == left {
            self.text.clear();
            (self.piece, self.after, self.written) = (Bytes::new(), b"", 0);
        } else {
            self.written += written;
        }
        Poll::Ready(Ok(()))
    }

    fn is_being_taken(&self) {
        if let Some(body) = &self.body {
            body.is_being_taken();
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Some(body) = &mut self.body {
            body.was_cut();
        }
    }
}

/// The length of a body, if it is known.
fn length(parts: &response::Parts, body: &Body) -> Option<u64> {
    if body.is_end_stream() {
        return Some(0);
    }
    let told = || parts.headers.get(header::CONTENT_LENGTH).and_then(|it| canonical_decimal(it.as_bytes()));
    body.size_hint().exact().or_else(told)
}
