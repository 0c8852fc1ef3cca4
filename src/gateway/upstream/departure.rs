//! A request on its way to an app over HTTP/1: its head, and its body as it comes. Reference: RFC 9112, sections 3, 6
//! and 7.1.

use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, header};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::super::crossing::{Crossing, Fields as _};
use super::super::head::BodyLength;
use super::super::upload::{Stopped, Upload};
use super::Target;
use super::sender::Fate;
use super::stream::Stream;

/// What is still to be written. Not for formatting: it holds secrets.
pub(super) struct Departure {
    /// The head, or what stands before a piece of the body.
    text: Vec<u8>,
    piece: Bytes,
    after: &'static [u8],
    /// How much of these three was written.
    written: usize,
    rest: Rest,
    /// The trailers that the head announces.
    announced: Vec<HeaderName>,
    is_over: bool,
}

/// What of the body has yet to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Bytes(u64),
    Chunks,
    Nothing,
}

impl Departure {
    /// Of a request whose head is written into `text`.
    pub(super) fn new(mut text: Vec<u8>, crossing: &Crossing, target: &Target, upload: &Upload) -> Self {
        let rest = match crossing.body {
            BodyLength::Known(length @ 1..) => Rest::Bytes(length),
            // A body that turned out to be none needs no end.
            BodyLength::Chunked if !upload.is_end_stream() => Rest::Chunks,
            BodyLength::None | BodyLength::Known(_) | BodyLength::Chunked => Rest::Nothing,
        };
        let parts = [crossing.method.as_str(), " ", crossing.target.as_str(), " HTTP/1.1\r\n"];
        text.clear();
        for part in parts {
            text.extend_from_slice(part.as_bytes());
        }
        if let Some(host) = crossing.host(target) {
            text.copy(&header::HOST, host);
        }
        crossing.fields(&mut text);
        crossing.connection_fields(rest == Rest::Chunks, &mut text);
        text.extend_from_slice(b"\r\n");
        let announced = if rest == Rest::Chunks { crossing.announced() } else { Vec::new() };
        Self { text, piece: Bytes::new(), after: b"", written: 0, rest, announced, is_over: false }
    }

    /// Whether all of it was written.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What the head was written into.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// Writes what there is, until all is written.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        upload: &mut Upload,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fate>> {
        while !self.is_over {
            // With the head goes what is there of the body already.
            while self.rest != Rest::Nothing && self.piece.is_empty() {
                match Pin::new(&mut *upload).poll_frame(cx) {
                    Poll::Ready(frame) => self.load(frame, upload.is_end_stream())?,
                    Poll::Pending => break,
                }
            }
            if self.unwritten() > 0 {
                ready!(self.write(stream, cx))?;
                continue;
            }
            // Encrypted bytes may wait behind a write that was done.
            let flushed = Pin::new(&mut *stream).poll_flush(cx);
            if self.rest != Rest::Nothing {
                return Poll::Pending;
            }
            ready!(flushed).map_err(|_| Fate::Closed)?;
            self.is_over = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next of the body; `last`: there is nothing behind it.
    fn load(&mut self, frame: Option<Result<Frame<Bytes>, Stopped>>, last: bool) -> Result<(), Fate> {
        let frame = frame.transpose().map_err(|_| Fate::BrokenOff)?;
        let (data, trailers) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (data, None),
            Some(Err(frame)) => (Bytes::new(), frame.into_trailers().ok()),
            None => (Bytes::new(), None),
        };
        let is_end = last || trailers.is_some();
        match self.rest {
            Rest::Bytes(left) => {
                // More or less than was promised would be taken for something else.
                let left = left.checked_sub(data.len() as u64).ok_or(Fate::BrokenOff)?;
                if is_end && left > 0 {
                    return Err(Fate::BrokenOff);
                }
                self.rest = if left == 0 { Rest::Nothing } else { Rest::Bytes(left) };
            }
            Rest::Chunks if !data.is_empty() => {
                // Writing to memory does not fail.
                let _ = write!(self.text, "{:x}\r\n", data.len());
                self.after = if is_end { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                self.rest = if is_end { Rest::Nothing } else { Rest::Chunks };
            }
            Rest::Chunks if is_end => {
                self.text.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    let is_announced = |name: &HeaderName| self.announced.contains(name);
                    for (name, value) in trailers.iter().filter(|(name, _)| is_announced(name)) {
                        self.text.copy(name, value);
                    }
                }
                self.text.extend_from_slice(b"\r\n");
                self.rest = Rest::Nothing;
            }
            Rest::Chunks | Rest::Nothing => {}
        }
        self.piece = data;
        Ok(())
    }

    fn write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Fate>> {
        let stream = Pin::new(stream);
        let written = if self.piece.is_empty() {
            stream.poll_write(cx, &self.text[self.written..])
        } else {
            let mut skipped = self.written;
            let pieces = [&self.text[..], &self.piece, self.after].map(|piece| {
                let skip = skipped.min(piece.len());
                skipped -= skip;
                IoSlice::new(&piece[skip..])
            });
            stream.poll_write_vectored(cx, &pieces)
        };
        match ready!(written) {
            Ok(written @ 1..) => self.written += written,
            Ok(0) | Err(_) => return Poll::Ready(Err(Fate::Closed)),
        }
        if self.unwritten() == 0 {
            self.text.clear();
            (self.piece, self.after, self.written) = (Bytes::new(), b"", 0);
        }
        Poll::Ready(Ok(()))
    }

    fn unwritten(&self) -> usize {
        self.text.len() + self.piece.len() + self.after.len() - self.written
    }
}
