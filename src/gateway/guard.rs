//! The socket as the HTTP library sees it, with the connection watching every byte that passes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use super::socket::Socket;

/// A client's socket under observation.
#[derive(Debug)]
pub(super) struct Guard {
    socket: Socket,
    connection: Rc<Connection>,
}

impl Guard {
    pub(super) fn new(socket: Socket, connection: Rc<Connection>) -> Self {
        Self { socket, connection }
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(1..)) => self.connection.wrote(),
            Poll::Ready(_) => {}
            Poll::Pending => self.connection.write_blocks(),
        }
        written
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if let read @ [_, ..] = &buf.filled()[before..] {
            self.connection.heard(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Encrypted bytes may wait behind a write that was done as far as the HTTP library knows.
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        match flushed {
            Poll::Ready(_) => self.connection.wrote(),
            Poll::Pending => self.connection.write_blocks(),
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
