//! The handshake that an encrypted connection begins with.

use std::io;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::worker::Worker;
use crate::board::handshake::Failure;
use crate::tls::{HTTP1, HTTP2, OLD_HTTP, Terminator};

/// What is spoken over TLS, the preferred first. Some old clients offer what they speak and nothing newer.
pub const PROTOCOLS: &[&[u8]] = &[HTTP2, HTTP1, OLD_HTTP];
/// Costly halves of handshakes that one worker does before it looks after its other connections again.
pub(super) const TURNS: usize = 4;

/// Shakes hands with a client that was accepted at `since`; `None` where that came to nothing.
pub(super) async fn handshake(
    worker: &Worker,
    stream: TcpStream,
    terminator: &Terminator,
    since: Instant,
) -> Option<TlsStream<TcpStream>> {
    let deadline = since + worker.gateway.settings.load().limits.header_timeout;
    let result = match timeout_at(deadline, shake_hands(worker, stream, terminator)).await {
        Ok(result) => result.map_err(|error| why(&error)),
        Err(_) => Err(Failure::TimedOut),
    };
    worker.gateway.board.handshakes.ended(result.as_ref().map(drop).map_err(|failure| *failure));
    result.ok()
}

async fn shake_hands(
    worker: &Worker,
    stream: TcpStream,
    terminator: &Terminator,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    // From here to our answer it costs a signature. Whoever stalls before or after holds nothing that others need.
    let turn = worker.turns.acquire().await.map_err(io::Error::other)?;
    let answered = hello.into_stream(terminator.config().clone());
    tokio::task::yield_now().await;
    drop(turn);
    answered.await
}

fn why(error: &io::Error) -> Failure {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Failure::Gone;
    };
    match error {
        rustls::Error::InvalidMessage(_) => Failure::NotTls,
        rustls::Error::NoApplicationProtocol => Failure::NoProtocol,
        rustls::Error::PeerIncompatible(_) => Failure::Incompatible,
        rustls::Error::AlertReceived(_) => Failure::Refused,
        _ => Failure::Misbehaved,
    }
}
