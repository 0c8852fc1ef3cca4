//! An HTTP/1 connection to an app as the HTTP library sees it, with every byte of the answers looked at before.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answers::{Answers, Asked};
use super::stream::Stream;

/// A connection under observation.
#[derive(Debug)]
pub(crate) struct Observed {
    stream: Stream,
    notes: Rc<Notes>,
}

/// What whoever asks over the connection and its observation tell each other.
#[derive(Debug)]
pub(crate) struct Notes {
    answers: RefCell<Answers>,
    flawed: Cell<bool>,
}

impl Observed {
    pub(super) fn new(stream: Stream) -> (Self, Rc<Notes>) {
        let notes = Rc::new(Notes { answers: RefCell::new(Answers::new()), flawed: Cell::new(false) });
        (Self { stream, notes: notes.clone() }, notes)
    }

    pub(crate) fn into_inner(self) -> Stream {
        self.stream
    }
}

impl Notes {
    /// A request is about to be sent.
    pub(super) fn ask(&self, asked: Asked) {
        self.answers.borrow_mut().ask(asked);
    }

    /// Whether an answer was refused for what it looked like.
    pub(super) fn is_flawed(&self) -> bool {
        self.flawed.get()
    }

    /// Whether another request may be sent.
    pub(super) fn is_fit(&self) -> bool {
        !self.answers.borrow().is_closed()
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        const UNASKED: &str = "bytes behind the end of the answer";
        let before = buf.filled().len();
        if self.notes.answers.borrow().is_closed() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, UNASKED)));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        match self.notes.answers.borrow_mut().feed(read) {
            // An answer that is whole is passed on; what came behind it is what the next read fails for.
            Ok(0) if !read.is_empty() => {
                buf.set_filled(before);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, UNASKED)))
            }
            Ok(sound) => {
                buf.set_filled(before + sound);
                Poll::Ready(Ok(()))
            }
            Err(flaw) => {
                buf.set_filled(before);
                self.notes.flawed.set(true);
                tracing::debug!("an app's answer was refused: {flaw}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flaw)))
            }
        }
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
