//! The app behind the proxies: answers every request with the same 128 bytes, or 1 MiB where it is asked for more, as
//! cheaply as can be.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use anyhow::{Context, Result};
use memchr::memmem;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of the answer's body.
pub(super) const ANSWER: usize = 128;
/// Where there is more to be had.
pub(super) const LARGE_PATH: &str = "/v1/export";
pub(super) const LARGE: usize = 1 << 20;
/// Whose answer is the request's head as it came.
pub(super) const ECHO_PATH: &str = "/v1/echo";
/// A path that is never answered.
pub(super) const NEVER: &str = "/never";
/// More than a request of any workload.
const REQUEST: usize = 32 * 1024;

/// Serves until it is killed; prints its address first.
pub(super) fn run(send_buffer: Option<usize>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let listener = TcpListener::from_std(listen()?)?;
        println!("{}", listener.local_addr()?);
        let answers = Rc::new((answer(ANSWER), answer(LARGE)));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            if let Some(bytes) = send_buffer {
                SockRef::from(&stream).set_send_buffer_size(bytes)?;
            }
            let answers = answers.clone();
            // A client that goes away ends its own task and nothing else.
            tokio::task::spawn_local(async move { drop(serve(stream, &answers.0, &answers.1).await) });
        }
    }))
}

/// A listener with room for connections that come a thousand at a time: one that found none would be tried again a
/// second later.
pub(super) fn listen() -> Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn serve(mut stream: TcpStream, small: &[u8], large: &[u8]) -> Result<()> {
    let [wants_more, wants_echo, never] = [LARGE_PATH, ECHO_PATH, NEVER].map(|path| format!("GET {path}"));
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
            if buffer.starts_with(never.as_bytes()) {
                continue;
            }
            if buffer.starts_with(wants_echo.as_bytes()) {
                stream.write_all(&with_body(&buffer[..length])).await?;
                continue;
            }
            let more = buffer.starts_with(wants_more.as_bytes());
            stream.write_all(if more { large } else { small }).await?;
        }
    }
}

/// A whole answer with so many bytes.
fn answer(length: usize) -> Vec<u8> {
    with_body("x".repeat(length).as_bytes())
}

fn with_body(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
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
