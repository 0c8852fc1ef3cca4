//! A connection to an app, whatever carries it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::unconstrained;
use tokio_rustls::client::TlsStream;

use super::place::Peer;

/// An open connection to an upstream.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    /// The app takes no more bytes. What it said before is still to be read: an app that refuses an upload and closes
    /// has answered, and an error here would keep us from looking.
    deaf: bool,
    /// `None`: a socket.
    peer: Option<Peer>,
    /// Its place among the connections that may be open.
    _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    /// Boxed: TLS keeps over a kilobyte of its own.
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Socket {
    /// Where it leads, of a connection over the network.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl Stream {
    pub(super) const fn new(
        socket: Socket,
        peer: Option<Peer>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { socket, deaf: false, peer, _permit: permit }
    }

    pub(super) const fn peer(&self) -> Option<Peer> {
        self.peer
    }

    pub(super) const fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Whether nothing has come, not even the end. As long as that is so it costs no system call.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = match &mut self.socket {
            Socket::Tcp(stream) => stream.try_read(&mut byte),
            Socket::Unix(stream) => stream.try_read(&mut byte),
            Socket::Tls(stream) => {
                // A task that has done its share of work would be told that nothing is there, whatever is.
                let look = unconstrained(stream.read(&mut byte));
                return pin!(look).poll(&mut Context::from_waker(Waker::noop())).is_pending();
            }
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Makes the close that follows one that cannot pass for an orderly end, where the transport has such a thing.
    pub(crate) fn reset(&self) {
        let stream = match &self.socket {
            Socket::Tcp(stream) => stream,
            Socket::Tls(stream) => stream.get_ref().0,
            Socket::Unix(_) => return,
        };
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

impl Stream {
    /// Writes, or lets the bytes go where nobody takes them any more: what is left to read decides then.
    fn write<T>(
        &mut self,
        pretended: T,
        write: impl FnOnce(&mut Socket) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.deaf {
            return Poll::Ready(Ok(pretended));
        }
        match write(&mut self.socket) {
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.deaf = true;
                Poll::Ready(Ok(pretended))
            }
            written => written,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        stream.write(buf.len(), |socket| match socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.write((), |socket| match socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            // May have to write what an earlier write left behind.
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        stream.write(bufs.iter().map(|buf| buf.len()).sum(), |socket| match socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        })
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
            Socket::Unix(stream) => stream.is_write_vectored(),
        }
    }
}
