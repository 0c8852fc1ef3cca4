//! The socket of an HTTP/2 connection as the HTTP library sees it, with every byte that passes being watched.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;
use super::streams::Streams;

/// A client's socket under observation.
#[derive(Debug)]
pub(super) struct Guard<S> {
    /// What was read and is still to be passed on.
    ahead: Bytes,
    socket: S,
    streams: Rc<Streams>,
}

/// A socket that its driver gets back although the HTTP library keeps what it was given.
#[derive(Clone, Debug)]
pub(super) struct Lent(Rc<RefCell<Socket>>);

impl<S> Guard<S> {
    pub(super) fn new(socket: S, ahead: Bytes, streams: Rc<Streams>) -> Self {
        Self { ahead, socket, streams }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(1..)) => self.streams.connection().wrote(),
            Poll::Ready(_) => {}
            Poll::Pending => self.streams.connection().write_blocks(),
        }
        written
    }
}

impl Lent {
    pub(super) fn new(socket: Socket) -> Self {
        Self(Rc::new(RefCell::new(socket)))
    }

    /// The socket, once nothing else has it any more.
    pub(super) fn take_back(self) -> Option<Socket> {
        Rc::into_inner(self.0).map(RefCell::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.streams.is_shut() {
            return Poll::Pending;
        }
        ready!(self.streams.poll_room(cx));
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        } else {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
            if self.ahead.is_empty() {
                self.ahead = Bytes::new();
            }
        }
        if let read @ [_, ..] = &buf.filled()[before..] {
            let passed = self.streams.heard(read);
            // What shut it is not for the library, nor what came with it.
            if self.streams.is_shut() {
                buf.set_filled(before);
                return Poll::Pending;
            }
            if passed < read.len() {
                self.ahead = [&read[passed..], &self.ahead].concat().into();
                buf.set_filled(before + passed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Encrypted bytes may wait behind a write that was done as far as the HTTP library knows.
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        match flushed {
            Poll::Ready(_) => self.streams.connection().wrote(),
            Poll::Pending => self.streams.connection().write_blocks(),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    // Without these two the library would copy every body into its own buffer first.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    /// Left to the driver, which may have to hear the client out first.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }
}
