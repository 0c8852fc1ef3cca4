//! One request, whose answer is looked at closely: load generators tell only 2xx from others.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::app::{ANSWER, LARGE};
use super::peer::Peer;
use super::site::{HOST, Site};
use super::workload::{Request, Workload};

/// How long a proxy may take to come up, and to have logged the last request.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks once, and returns the status.
pub(super) fn run(site: &Site, peer: &Peer, workload: Workload, request: &Request) -> Result<u16> {
    let address = if workload.encrypted() { peer.encrypted } else { peer.plain };
    let mut stream = connect(address)?;
    let answer = if workload.encrypted() {
        let connection = ClientConnection::new(Arc::new(site.client()?), ServerName::try_from(HOST)?)?;
        exchange(&mut StreamOwned::new(connection, stream), request)?
    } else {
        exchange(&mut stream, request)?
    };
    let said = || String::from_utf8_lossy(&answer[..answer.len().min(1000)]).into_owned();
    let status = if workload.allowed() { 200 } else { 401 };
    ensure!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "it answered {}", said());
    if workload.allowed() {
        let length = if workload == Workload::Get1m { LARGE } else { ANSWER };
        let body = memmem::find(&answer, b"\r\n\r\n").map_or(0, |end| answer.len() - end - 4);
        ensure!(body == length, "its answer has {body} bytes: {}", said());
    }
    Ok(status)
}

/// Waits until a proxy answers as it will: some listen before they know what to do.
pub(super) fn ready(site: &Site, peer: &Peer) -> Result<()> {
    let request = Workload::Get.request(site);
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = exchange(&mut connect(peer.plain)?, &request)?;
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return Ok(());
        }
        ensure!(Instant::now() < until, "it answers {}", String::from_utf8_lossy(&answer));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for a proxy that is still coming up.
pub(super) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let until = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).context("it does not come up"),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The whole answer, which has a `Content-Length`.
pub(super) fn exchange(stream: &mut (impl Read + Write), request: &Request) -> Result<Vec<u8>> {
    stream.write_all(&request.bytes())?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if let Some(length) = length(&answer)?
            && answer.len() >= length
        {
            return Ok(answer);
        }
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "it hung up after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
}

/// Bytes of the answer at the start of `bytes`, once its head is there.
fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = head.parse(bytes)? else { return Ok(None) };
    let named = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = named.map_or(Ok("0"), |field| std::str::from_utf8(field.value))?;
    Ok(Some(end + length.trim().parse::<usize>()?))
}
