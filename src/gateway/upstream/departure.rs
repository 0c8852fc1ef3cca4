//! A request on its way to an app over HTTP/1: its head, and its body as it comes. Reference: RFC 9112, sections 3, 6
//! and 7.1.

use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, header};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;
use zeroize::Zeroize as _;

use super::super::crossing::{Crossing, Fields, Size};
use super::super::head::BodyLength;
use super::super::upload::Upload;
use super::Target;
use super::sender::Fate;
use super::stream::Stream;

/// What is still to be written. Not for formatting: it holds secrets.
pub(super) struct Departure {
    /// The head, or what stands before a piece of the body.
    text: Vec<u8>,
    /// Nothing of the head may stay in memory.
    is_secret: bool,
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
        let line = [crossing.method.as_str(), " ", crossing.target.as_str(), " HTTP/1.1\r\n"];
        text.clear();
        let is_secret = crossing.is_secret();
        if is_secret {
            let mut size = Size(line.iter().map(|part| part.len()).sum::<usize>() + 2);
            write_fields(crossing, target, rest, &mut size);
            // A buffer that grows leaves a copy behind.
            text.reserve_exact(size.0);
        }
        for part in line {
            text.extend_from_slice(part.as_bytes());
        }
        write_fields(crossing, target, rest, &mut text);
        text.extend_from_slice(b"\r\n");
        let announced = if rest == Rest::Chunks { crossing.announced() } else { Vec::new() };
        Self::of(text, is_secret, rest, announced)
    }

    fn of(text: Vec<u8>, is_secret: bool, rest: Rest, announced: Vec<HeaderName>) -> Self {
        Self { text, is_secret, piece: Bytes::new(), after: b"", written: 0, rest, announced, is_over: false }
    }

    /// Whether all of it was written.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What the head was written into.
    pub(super) fn into_text(mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// Writes what there is, until all is written.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        upload: &mut (impl Body<Data = Bytes> + Unpin),
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

    /// Takes the next of the body; `last`: it says that there is nothing behind it.
    fn load<E>(&mut self, frame: Option<Result<Frame<Bytes>, E>>, last: bool) -> Result<(), Fate> {
        let last = last || frame.is_none();
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
            self.clear();
            (self.piece, self.after, self.written) = (Bytes::new(), b"", 0);
        }
        Poll::Ready(Ok(()))
    }

    fn clear(&mut self) {
        if self.is_secret {
            self.text.zeroize();
        }
        self.text.clear();
    }

    fn unwritten(&self) -> usize {
        self.text.len() + self.piece.len() + self.after.len() - self.written
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write_fields(crossing: &Crossing, target: &Target, rest: Rest, out: &mut impl Fields) {
    if let Some(host) = crossing.host(target) {
        out.copy(&header::HOST, host);
    }
    crossing.fields(out);
    crossing.connection_fields(rest == Rest::Chunks, out);
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http::{HeaderMap, HeaderValue};
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::super::stream::Socket;
    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\n\r\n";

    /// A body that comes as it is told, with a pause before each frame.
    struct Frames {
        frames: VecDeque<Result<Frame<Bytes>, ()>>,
        paused: bool,
        /// Whether it says that its last frame is the last.
        tells: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            self.paused = !self.paused;
            if self.paused {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.frames.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.tells && self.frames.is_empty()
        }
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, ()> {
        Ok(Frame::data(text.into()))
    }

    fn trailers(names: &[&'static str]) -> Result<Frame<Bytes>, ()> {
        let field = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        Ok(Frame::trailers(names.iter().map(field).collect::<HeaderMap>()))
    }

    /// What the app gets behind the head, and how the sending ends. That does not depend on what the body tells of its
    /// end, but for how much of a broken one has gone when it shows.
    async fn sent(rest: Rest, frames: &[Result<Frame<Bytes>, ()>]) -> (String, Result<(), Fate>) {
        let mut outcomes = Vec::new();
        for tells in [false, true] {
            let frames = frames.iter().map(copy).collect();
            let mut body = Frames { frames, paused: false, tells };
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let sending = async move {
                let mut stream = Stream::new(Socket::Unix(ours), None, None);
                let announced = vec![HeaderName::from_static("x-sum")];
                let mut departure = Departure::of(HEAD.into(), tells, rest, announced);
                let sent = poll_fn(|cx| departure.poll(&mut stream, &mut body, cx)).await;
                assert_eq!(sent.is_ok(), departure.is_over());
                sent
            };
            let mut got = String::new();
            let (sent, read) = tokio::join!(sending, theirs.read_to_string(&mut got));
            read.unwrap();
            // Where the first frame shows it, not even the head has.
            outcomes.push((got.strip_prefix(HEAD).unwrap_or_default().to_owned(), sent));
        }
        assert_eq!(outcomes[0].1, outcomes[1].1, "told or not");
        assert!(outcomes[0].1.is_err() || outcomes[0].0 == outcomes[1].0, "{outcomes:?}");
        outcomes.swap_remove(0)
    }

    fn copy(frame: &Result<Frame<Bytes>, ()>) -> Result<Frame<Bytes>, ()> {
        let Ok(frame) = frame else { return Err(()) };
        let trailers = || frame.trailers_ref().cloned().unwrap_or_default();
        Ok(frame.data_ref().cloned().map_or_else(|| Frame::trailers(trailers()), Frame::data))
    }

    #[tokio::test]
    async fn a_body_of_known_length_is_sent_as_it_is() {
        let whole = [data("he"), data(""), data("llo")];
        assert_eq!(sent(Rest::Bytes(5), &whole).await, ("hello".into(), Ok(())));
        assert_eq!(sent(Rest::Nothing, &[]).await, (String::new(), Ok(())));
        let with_trailers = [data("hello"), trailers(&["x-sum"])];
        assert_eq!(sent(Rest::Bytes(5), &with_trailers).await, ("hello".into(), Ok(())));
    }

    #[tokio::test]
    async fn more_or_less_than_was_promised_is_never_sent_as_whole() {
        for (frames, before) in [
            (&[data("he"), data("llo!")][..], "he"),
            (&[data("hello!")], ""),
            (&[data("hell")], "hell"),
            (&[data("hell"), trailers(&["x-sum"])], "hell"),
            (&[data("hell"), Err(())], "hell"),
            (&[], ""),
        ] {
            let (got, outcome) = sent(Rest::Bytes(5), frames).await;
            assert_eq!(outcome, Err(Fate::BrokenOff), "{frames:?}");
            // What was taken may be on its way still: never more than was promised.
            assert!(before.starts_with(&got), "{got:?} of {frames:?}");
        }
    }

    #[tokio::test]
    async fn a_chunked_body_ends_with_its_own_end_alone() {
        for (frames, chunks) in [
            (&[][..], "0\r\n\r\n"),
            (
                &[data("hello"), data(""), data("hello, world!")],
                "5\r\nhello\r\nd\r\nhello, world!\r\n0\r\n\r\n",
            ),
            (&[data("a"), trailers(&["x-sum", "x-other"])], "1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"),
            (&[trailers(&["x-other"])], "0\r\n\r\n"),
        ] {
            assert_eq!(sent(Rest::Chunks, frames).await, (chunks.into(), Ok(())), "{frames:?}");
        }
        let (got, outcome) = sent(Rest::Chunks, &[data("a"), Err(())]).await;
        assert_eq!(outcome, Err(Fate::BrokenOff));
        assert!("1\r\na\r\n".starts_with(&got), "{got:?}");
    }

    #[tokio::test]
    async fn what_an_app_takes_slowly_arrives_whole() {
        let long: &'static str = "0123456789abcdef".repeat(64 * 1024).leak();
        let (got, outcome) = sent(Rest::Bytes(2 * long.len() as u64), &[data(long), data(long)]).await;
        assert_eq!(outcome, Ok(()));
        assert!(got.len() == 2 * long.len() && got[..long.len()] == *long && got[long.len()..] == *long);
    }

    #[test]
    fn room_for_a_head_is_told_beforehand() {
        fn write(out: &mut impl Fields) {
            out.set(&header::HOST, b"a");
            out.copy(&header::ACCEPT, &HeaderValue::from_static("text/html"));
        }
        let (mut size, mut text) = (Size(0), Vec::new());
        write(&mut size);
        write(&mut text);
        assert_eq!(size.0, text.len());
    }
}
