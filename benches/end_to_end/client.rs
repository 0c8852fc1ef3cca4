//! Connections of our own, for what no load generator does.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::app::ANSWER;
use super::site::HOST;

/// Bytes both ways, encrypted or not.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Over TLS if there is something to do that with.
pub(super) async fn connect(
    address: SocketAddr,
    connector: Option<&TlsConnector>,
) -> Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(match connector {
        Some(connector) => Box::new(connector.connect(ServerName::try_from(HOST)?, stream).await?),
        None => Box::new(stream),
    })
}

/// Sends a request and waits for the app's small answer.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    request: &[u8],
) -> Result<()> {
    stream.write_all(request).await?;
    let (mut answer, mut filled) = ([0; 4096], 0);
    while !answer[..filled].ends_with(&[b'x'; ANSWER]) {
        let read = stream.read(&mut answer[filled..]).await?;
        ensure!(read > 0, "it hung up after {}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..filled]));
    Ok(())
}
