//! The app behind the proxies: answers every request with the same 128 bytes, as cheaply as can be.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the answer's body.
pub(super) const ANSWER: usize = 128;
/// More than a request of any workload.
const REQUEST: usize = 32 * 1024;

/// Serves until it is killed; prints its address first.
pub(super) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // A client that goes away ends its own task and nothing else.
            tokio::task::spawn_local(async move { drop(serve(stream).await) });
        }
    }))
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {ANSWER}\r\n\r\n{}",
        "x".repeat(ANSWER)
    );
    let mut buffer = vec![0; REQUEST];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if let Some(length) = request_length(&buffer[..filled])?
            && filled >= length
        {
            // No proxy sends a second request before the first is answered.
            filled = 0;
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

/// Bytes of the request at the start of `bytes`, once its head is there.
fn request_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    let mut length = 0;
    // Only a POST has a body here; looking for its length in every head would make the app dearer than it need be.
    if head.starts_with(b"POST") {
        let fields = head.split(|byte| *byte == b'\n').filter_map(|line| line.split_at_checked(15));
        let (_, value) = fields
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"))
            .context("a POST without a length")?;
        length = std::str::from_utf8(value)?.trim().parse()?;
    }
    Ok(Some(end + 4 + length))
}
