//! Opening a connection to an app: its addresses in turn, TLS where it is asked for, all within one time.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::Target;
use super::place::{Peer, Place};
use super::stream::{Socket, Stream};
use super::trust::Trust;
use crate::model::{Scheme, Upstream};

const HTTP_2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// Why there is no connection. Cheap to tell to many.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unconnected {
    #[error("{0}")]
    Unreachable(Arc<io::Error>),
    #[error("no connection in time")]
    TimedOut,
    #[error("TLS: {0}")]
    Insecure(Arc<io::Error>),
    #[error("no HTTP/2 is spoken there")]
    NotHttp2,
    /// As many connections are open as may be, and none became free in time.
    #[error("all connections are in use")]
    Full,
    /// No further connection can be opened, and those that are open take nothing for now: another app may.
    #[error("no further connection, and none that is free")]
    Passed,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Who is expected at the other end of TLS, and by whose word.
#[derive(Debug)]
pub(super) struct Expected {
    pub name: ServerName<'static>,
    pub trust: Arc<Trust>,
}

/// Opens a connection for whatever the upstream speaks best.
pub(crate) async fn dial(
    target: &Target,
    within: Duration,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<(Stream, Protocol), Unconnected> {
    match target.address {
        Upstream::Tcp(Scheme::H2c, _) => {
            let (stream, _) = open(target, within, permit, &[]).await?;
            Ok((stream, Protocol::Http2))
        }
        Upstream::Tcp(Scheme::Http | Scheme::Https, _) | Upstream::Unix(_) => {
            open(target, within, permit, &[HTTP_2, HTTP_11]).await
        }
    }
}

/// Opens a connection for HTTP/1.1, which alone can be upgraded.
pub(super) async fn dial_http1(
    target: &Target,
    within: Duration,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Stream, Unconnected> {
    open(target, within, permit, &[HTTP_11]).await.map(|(stream, _)| stream)
}

async fn open(
    target: &Target,
    within: Duration,
    permit: Option<OwnedSemaphorePermit>,
    protocols: &[&[u8]],
) -> Result<(Stream, Protocol), Unconnected> {
    let deadline = Instant::now() + within;
    let changes = target.place.changes();
    let opened = timeout_at(deadline, async {
        match &target.place {
            Place::Socket(path) => Ok((unix(path).await?, Protocol::Http1)),
            Place::Fixed(addresses) => secure(target, tcp(addresses, deadline).await?, protocols).await,
            Place::Named(name) => {
                let addresses = name.addresses().await.map_err(unreachable)?;
                secure(target, tcp(&addresses, deadline).await?, protocols).await
            }
        }
    })
    .await
    .unwrap_or(Err(Unconnected::TimedOut));
    if let (Err(_), Place::Named(name)) = (&opened, &target.place) {
        name.doubt();
    }
    opened.map(|(socket, protocol)| {
        let peer = socket.address().map(|address| Peer { address, changes });
        (Stream::new(socket, peer, permit), protocol)
    })
}

async fn unix(path: &PathBuf) -> Result<Socket, Unconnected> {
    UnixStream::connect(path).await.map(Socket::Unix).map_err(unreachable)
}

/// Tries each address for a fair share of the time that is left.
async fn tcp(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Unconnected> {
    let mut failure = unreachable(io::ErrorKind::AddrNotAvailable.into());
    for (number, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - number).unwrap_or(u32::MAX);
        let share = now + deadline.saturating_duration_since(now) / left;
        match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(unreachable)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = unreachable(error),
            Err(_) => failure = Unconnected::TimedOut,
        }
    }
    Err(failure)
}

async fn secure(
    target: &Target,
    stream: TcpStream,
    protocols: &[&[u8]],
) -> Result<(Socket, Protocol), Unconnected> {
    let Some(Expected { name, trust }) = &target.expected else {
        return Ok((Socket::Tcp(stream), Protocol::Http1));
    };
    let offer = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = TlsConnector::from(trust.config());
    let connecting = connector.with_alpn(offer).connect(name.clone(), stream);
    let stream = connecting.await.map_err(|error| match error.kind() {
        // What TLS itself found wrong, and not the connection below it.
        io::ErrorKind::InvalidData => Unconnected::Insecure(Arc::new(error)),
        _ => unreachable(error),
    })?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(HTTP_2) => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Ok((Socket::Tls(Box::new(stream)), protocol))
}

fn unreachable(error: io::Error) -> Unconnected {
    Unconnected::Unreachable(Arc::new(error))
}
