//! Connections of our own, for what no load generator does.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::app::ANSWER;
use super::site::HOST;

pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) async fn encrypt(stream: TcpStream, connector: &TlsConnector) -> Result<TlsStream<TcpStream>> {
    Ok(connector.connect(ServerName::try_from(HOST)?, stream).await?)
}

/// Sends a request and waits for the app's small answer.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> Result<()> {
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
