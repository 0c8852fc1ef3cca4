//! The beginning of every connection, before it is known what will be spoken on it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use super::clock;
use super::connection::{Connection, Peers};
use super::farewell;
use super::frames::PREFACE;
use super::socket::Socket;
use super::worker::{Accepted, Worker};
use super::{http1, http2, tls};
use crate::board::client::{HangUp, Protocol};
use crate::tls::HTTP2;

/// What is read at once where a request may begin: most fit, with a body of some KiB too.
const AHEAD: usize = 8 * 1024;

/// Serves one connection to its end.
pub(super) async fn drive(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, client, local, since, terminator, place: _place } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let peers = Peers { client, local, since };
    match terminator {
        None => serve(worker, Socket::Plain(stream), peers, false).await,
        Some(terminator) => {
            // Boxed: every connection would pay for the space for as long as it is open.
            let shaken = Box::pin(tls::handshake(&worker, stream, &terminator, since)).await;
            let Some(stream) = shaken else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            serve(worker, Socket::Tls(Box::new(stream)), peers, http2).await;
        }
    }
}

/// Serves one connection on which a request may come at once; `http2`: both sides have agreed on HTTP/2 already.
pub(super) async fn serve(worker: Rc<Worker>, mut socket: Socket, peers: Peers, http2: bool) {
    let limits = worker.gateway.settings.load().limits.clone();
    let connection = Rc::new(Connection::new(peers, socket.scheme(), &limits));
    let _registration = worker.register(&connection);
    let (spoken, ahead) = match http2 {
        true => (Protocol::Http2, Bytes::new()),
        false => match detect(&mut socket, &connection).await {
            Some(detected) => detected,
            None => {
                worker.clients().hang_up(HangUp::LateHead);
                return farewell::close(socket).await;
            }
        },
    };
    // Whoever only looks whether the port is open speaks nothing.
    if http2 || !ahead.is_empty() {
        worker.clients().speaks(spoken, socket.is_encrypted());
    }
    match spoken {
        Protocol::Http1 => http1::drive(worker, socket, ahead, connection, &limits).await,
        // Boxed: the other kind of connection would pay for the space otherwise.
        Protocol::Http2 => Box::pin(http2::drive(worker, socket, ahead, connection, &limits)).await,
    }
}

/// Reads until it is clear what is spoken; `None` where the client leaves it open for too long.
async fn detect(socket: &mut Socket, connection: &Connection) -> Option<(Protocol, Bytes)> {
    let mut ahead = Vec::new();
    let mut timer = pin!(sleep_until(connection.next_look(clock::now())));
    let spoken = poll_fn(|cx| {
        connection.watch(cx);
        loop {
            match read(socket, &mut ahead, cx) {
                Poll::Ready(Ok(1..)) => {
                    connection.hears(clock::look());
                    if let Some(spoken) = judge(&ahead) {
                        return Poll::Ready(Some(spoken));
                    }
                }
                // The driver of HTTP/1 knows what to make of a connection that ends.
                Poll::Ready(_) => return Poll::Ready(Some(Protocol::Http1)),
                Poll::Pending => break,
            }
        }
        connection.poll_overdue(timer.as_mut(), cx).map(|_| {
            // Methods of HTTP/1 begin like that too: its driver tells the client.
            (1..=2).contains(&ahead.len()).then_some(Protocol::Http1)
        })
    })
    .await?;
    Some((spoken, ahead.into()))
}

/// What the first bytes of a connection say; `None` as long as they are the beginning of HTTP/2's preface.
fn judge(bytes: &[u8]) -> Option<Protocol> {
    match bytes.get(..PREFACE.len()) {
        Some(first) if first == PREFACE => Some(Protocol::Http2),
        None if PREFACE.starts_with(bytes) => None,
        _ => Some(Protocol::Http1),
    }
}

/// Reads once. The buffer lives only as long as the call: whoever waits in silence shall not hold one.
pub(super) fn read(
    socket: &mut Socket,
    ahead: &mut impl BufMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); AHEAD];
    let mut buffer = ReadBuf::uninit(&mut room);
    ready!(Pin::new(socket).poll_read(cx, &mut buffer))?;
    ahead.put_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_shows_with_the_first_byte_that_differs() {
        for (bytes, spoken) in [
            (&b""[..], None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Protocol::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", Some(Protocol::Http2)),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PO", Some(Protocol::Http1)),
            (b"\r\n", Some(Protocol::Http1)),
        ] {
            assert_eq!(judge(bytes), spoken, "{bytes:?}");
        }
    }
}
