//! The handshake that an encrypted connection begins with.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::worker::Worker;
use crate::tls::{HTTP1, HTTP2, OLD_HTTP, Terminator};

/// What is spoken over TLS, the preferred first. Some old clients offer what they speak and nothing newer.
pub const PROTOCOLS: &[&[u8]] = &[HTTP2, HTTP1, OLD_HTTP];
/// Costly halves of handshakes that one worker does before it looks after its other connections again.
pub(super) const TURNS: usize = 4;

/// How handshakes have ended, counted since the start.
#[derive(Debug, Default)]
pub struct Handshakes {
    done: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client took too long.
    TimedOut,
    /// The client went away.
    Gone,
    /// What came was not TLS.
    NotTls,
    /// The client speaks none of our protocols.
    NoProtocol,
    /// The client knows no version, cipher or signature of ours.
    Incompatible,
    /// The client said why it would not go on, most often because it does not trust the certificate.
    Refused,
    /// The client broke the rules of TLS.
    Misbehaved,
}

impl Failure {
    pub const ALL: [Self; 7] = [
        Self::TimedOut,
        Self::Gone,
        Self::NotTls,
        Self::NoProtocol,
        Self::Incompatible,
        Self::Refused,
        Self::Misbehaved,
    ];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Gone => "gone",
            Self::NotTls => "not_tls",
            Self::NoProtocol => "no_protocol",
            Self::Incompatible => "incompatible",
            Self::Refused => "refused",
            Self::Misbehaved => "misbehaved",
        }
    }

    fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Gone;
        };
        match error {
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::NoApplicationProtocol => Self::NoProtocol,
            rustls::Error::PeerIncompatible(_) => Self::Incompatible,
            rustls::Error::AlertReceived(_) => Self::Refused,
            _ => Self::Misbehaved,
        }
    }
}

impl Handshakes {
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How often handshakes failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().zip(self.failed.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    fn count(&self, result: Result<(), Failure>) {
        let counter = match result {
            Ok(()) => &self.done,
            Err(failure) => &self.failed[failure as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shakes hands with a client that was accepted at `since`; `None` where that came to nothing.
pub(super) async fn handshake(
    worker: &Worker,
    stream: TcpStream,
    terminator: &Terminator,
    since: Instant,
) -> Option<TlsStream<TcpStream>> {
    let deadline = since + worker.gateway.settings.load().limits.header_timeout;
    let result = match timeout_at(deadline, shake_hands(worker, stream, terminator)).await {
        Ok(result) => result.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::TimedOut),
    };
    worker.gateway.handshakes.count(result.as_ref().map(drop).map_err(|failure| *failure));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_as_what_it_was() {
        let handshakes = Handshakes::default();
        handshakes.count(Ok(()));
        for failure in Failure::ALL {
            handshakes.count(Err(failure));
        }
        let not_tls = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let not_tls = io::Error::new(io::ErrorKind::InvalidData, not_tls);
        handshakes.count(Err(Failure::of(&not_tls)));
        handshakes.count(Err(Failure::of(&io::ErrorKind::UnexpectedEof.into())));
        assert_eq!(handshakes.done(), 1);
        for (failure, count) in handshakes.failed() {
            let expected = if matches!(failure, Failure::NotTls | Failure::Gone) { 2 } else { 1 };
            assert_eq!(count, expected, "{}", failure.as_str());
        }
    }
}
