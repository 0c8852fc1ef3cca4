//! Honest clients at a steady pace, and an app with answers of any size: what goes on while others stall.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::app::ANSWER;

/// Honest connections, and the time from one request to the next on each of them.
const CONNECTIONS: u32 = 32;
const PACE: Duration = Duration::from_millis(64);
/// A path that is never answered.
pub(super) const NEVER: &str = "/never";
/// What an answer to `/large` promises: more than the buffers in between can hold.
const LARGE: usize = 1 << 20;

/// Serves on a thread of its own until the program ends: 128 bytes, or for `/large` many more.
pub(super) fn start_app() -> Result<SocketAddr> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    // A thousand connections may come at once: one that found no room would be tried again a second later.
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                // A gateway that hangs up ends its own task and nothing else.
                tokio::spawn(async move { drop(answer(stream).await) });
            }
            #[expect(unreachable_code, reason = "it names the type of what `?` returns")]
            std::io::Result::Ok(())
        })
    });
    Ok(address)
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    let piece = vec![b'x'; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..read]);
        let never = head.starts_with(b"POST") || head.starts_with(format!("GET {NEVER} ").as_bytes());
        if memchr::memmem::find(&head, b"\r\n\r\n").is_none() || never {
            // No body ever comes to its end here.
            continue;
        }
        let large = head.starts_with(b"GET /large");
        let length = if large { LARGE } else { ANSWER };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        let mut left = length;
        while left > 0 {
            let more = left.min(piece.len());
            stream.write_all(&piece[..more]).await?;
            left -= more;
        }
        head.clear();
    }
}

/// Honest clients at work.
pub(super) struct Honest {
    clients: JoinSet<Result<Vec<Duration>>>,
    enough: Arc<AtomicBool>,
}

impl Honest {
    pub(super) fn start(gateway: SocketAddr, request: &Arc<[u8]>) -> Self {
        let enough = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        for number in 0..CONNECTIONS {
            let (request, enough) = (request.clone(), enough.clone());
            clients.spawn(async move { ask(gateway, &request, PACE * number / CONNECTIONS, &enough).await });
        }
        Self { clients, enough }
    }

    /// Ends the clients; the time within which 99 of 100 requests were answered, and how many there were.
    pub(super) async fn stop(self) -> Result<(Duration, usize)> {
        self.enough.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for client in self.clients.join_all().await {
            times.extend(client.context("an honest client was not served")?);
        }
        times.sort_unstable();
        let place = times.len() * 99 / 100;
        Ok((times.get(place).copied().context("no honest request was made")?, times.len()))
    }
}

/// Asks again and again. A time counts from when the request was due, so that a gateway that holds the client up does
/// not hide the requests that it keeps it from making.
async fn ask(
    gateway: SocketAddr,
    request: &[u8],
    delay: Duration,
    enough: &AtomicBool,
) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    let (mut times, mut buffer) = (Vec::new(), vec![0; 4096]);
    let mut due = Instant::now() + delay;
    while !enough.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due).await;
        stream.write_all(request).await?;
        let mut filled = 0;
        while !buffer[..filled].ends_with(&[b'x'; ANSWER]) {
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "it hung up after {}", String::from_utf8_lossy(&buffer[..filled]));
            filled += read;
        }
        ensure!(buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&buffer[..filled]));
        times.push(due.elapsed());
        due += PACE;
    }
    Ok(times)
}
