//! Clients that stall, a process of their own: they live on other machines than the honest ones, and are not to take
//! the core from these.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::app::{LARGE_PATH, NEVER};
use super::child::{Core, Process, pinned};

/// The gateway's limits here.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(6);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// How far apart those come that stall: a thousand are there before the first is hung up on. What a thousand new
/// connections in an instant cost is not the question here.
const APART: Duration = Duration::from_millis(4);
/// When a client that is still connected is given up on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a client that does not read looks whether its connection still stands.
const LOOK: Duration = Duration::from_millis(250);
/// Where its requests go.
pub(super) const OTHER_HOST: &str = "bulk.example.com";

/// Who they are and whom they trouble.
#[derive(Args)]
pub(super) struct Crowd {
    #[arg(value_enum)]
    pub kind: Kind,
    pub gateway: SocketAddr,
    pub clients: usize,
    pub bearer: String,
}

impl Crowd {
    /// Has them come and stall; how long the last of them stayed connected after its last byte.
    pub(super) fn start(&self) -> Result<Process> {
        let kind = self.kind.to_possible_value().context("every kind has a name")?;
        let (gateway, clients) = (self.gateway.to_string(), self.clients.to_string());
        let mut command = pinned(Core::Yielding, std::env::current_exe()?);
        command.args(["crowd", kind.get_name(), &gateway, &clients, &self.bearer]);
        Process::start(command.stdout(Stdio::piped()))
    }

    /// Is the crowd; prints for how many milliseconds the last of them stayed connected after its last byte.
    pub(super) fn run(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let last = runtime.block_on(self.stall())?;
        println!("{}", last.as_millis());
        Ok(())
    }

    async fn stall(&self) -> Result<Duration> {
        let opening: Arc<[u8]> = self.kind.opening(&self.bearer).into();
        let mut stalling = JoinSet::new();
        let mut turns = interval(APART);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let kind = self.kind;
        for _ in 0..self.clients {
            turns.tick().await;
            let stream = connect(kind, self.gateway).await?;
            let opening = opening.clone();
            stalling.spawn(async move { timeout(PATIENCE, until_closed(kind, stream, &opening)).await });
        }
        let mut last = Duration::ZERO;
        for stayed in stalling.join_all().await {
            last = last.max(stayed.context("a client is still connected")??);
        }
        Ok(last)
    }
}

/// What a crowd told in the end. It is waited for on a thread of its own, so that honest clients go on.
pub(super) async fn stayed(mut crowd: Process) -> Result<Duration> {
    let mut stdout = crowd.child().stdout.take().context("no standard output")?;
    tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said)?;
        drop(crowd);
        let last: u64 = said.trim().parse().context("the clients that stall did not end well")?;
        Ok(Duration::from_millis(last))
    })
    .await?
}

/// A way to stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Silent,
    /// Of TLS.
    HalfHandshake,
    HalfHead,
    StalledBody,
    StalledReader,
    IdleKeepAlive,
    /// Speaks HTTP/2 and asks for nothing.
    SilentHttp2,
    /// Waits for an answer over HTTP/2, and does not say that it is still there when it is asked.
    DeafHttp2,
}

impl Kind {
    pub(super) const fn limit(self) -> Duration {
        match self {
            Self::Silent | Self::HalfHandshake | Self::HalfHead => HEADER_TIMEOUT,
            Self::StalledBody | Self::StalledReader | Self::IdleKeepAlive | Self::SilentHttp2 => IDLE_TIMEOUT,
            // Asked after so long, it has as long to answer.
            Self::DeafHttp2 => IDLE_TIMEOUT.saturating_mul(2),
        }
    }

    /// What the client sends before it stalls.
    fn opening(self, bearer: &str) -> Vec<u8> {
        let head = |line: &str| {
            format!("{line} HTTP/1.1\r\nHost: {OTHER_HOST}\r\nAuthorization: Bearer {bearer}\r\n")
        };
        match self {
            Self::Silent => Vec::new(),
            Self::HalfHead => head("GET /").into_bytes(),
            Self::StalledBody => (head("POST /") + "Content-Length: 1000\r\n\r\nsome").into_bytes(),
            Self::StalledReader => (head(&format!("GET {LARGE_PATH}")) + "\r\n").into_bytes(),
            Self::IdleKeepAlive => (head("GET /") + "\r\n").into_bytes(),
            // A record of 512 bytes that begins with a greeting of 508.
            Self::HalfHandshake => b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03half".to_vec(),
            Self::SilentHttp2 => GREETING.to_vec(),
            Self::DeafHttp2 => [GREETING, &get_over_http2(NEVER, bearer)].concat(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Silent => "silent",
            Self::HalfHandshake => "half a handshake",
            Self::HalfHead => "half a head",
            Self::StalledBody => "stalled body",
            Self::StalledReader => "stalled reader",
            Self::IdleKeepAlive => "idle keep-alive",
            Self::SilentHttp2 => "silent HTTP/2",
            Self::DeafHttp2 => "deaf HTTP/2",
        })
    }
}

/// HTTP/2's preface and empty settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A HEADERS frame that is a whole request. Names come from the static table, values stand in full: RFC 7541, section
/// 6.2.2.
fn get_over_http2(path: &str, bearer: &str) -> Vec<u8> {
    // GET, and http.
    let mut block = vec![0x82, 0x86];
    let bearer = format!("Bearer {bearer}");
    for (name, value) in [(&[0x04][..], path), (&[0x01], OTHER_HOST), (&[0x0f, 23 - 15], &bearer)] {
        block.extend_from_slice(name);
        // Values of fewer than 127 bytes.
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    let [.., high, low] = block.len().to_be_bytes();
    // HEADERS of stream 1, END_STREAM and END_HEADERS.
    [&[0, high, low, 0x1, 0x5, 0, 0, 0, 1][..], &block].concat()
}

async fn connect(kind: Kind, gateway: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if kind == Kind::StalledReader {
        // Before it connects: the window is agreed on then.
        socket.set_recv_buffer_size(4096)?;
    }
    Ok(socket.connect(gateway).await?)
}

async fn until_closed(kind: Kind, mut stream: TcpStream, opening: &[u8]) -> Result<Duration> {
    stream.write_all(opening).await?;
    let mut began = Instant::now();
    if kind == Kind::StalledReader {
        // It does look whether the answer has begun: from then on it is its turn.
        stream.readable().await?;
        began = Instant::now();
        while stream.take_error()?.is_none() {
            tokio::time::sleep(LOOK).await;
        }
        return Ok(began.elapsed());
    }
    let mut buffer = [0; 4096];
    // A reset is as good as an end here.
    while let Ok(1..) = stream.read(&mut buffer).await {
        if kind == Kind::IdleKeepAlive {
            began = Instant::now();
        }
    }
    Ok(began.elapsed())
}
