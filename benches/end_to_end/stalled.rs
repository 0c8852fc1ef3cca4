//! A thousand clients that stall, of each kind, while honest ones go on: the first are to be hung up on within their
//! limit and a second, the others are to notice little.

use std::fmt;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portcullis::credential::{Kind as Credential, Plaintext};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::app::{LARGE_PATH, NEVER};
use super::child::{Core, Process};
use super::peer::{free_address, start_gateway};
use super::site::{HOST, STORE, Site, mint, own};
use super::steady::{Pace, Steady, percentile};

/// The gateway's limits here.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// How much later than its limit a client may be hung up on.
const GRACE: Duration = Duration::from_secs(1);
/// When a client that is still connected is given up on.
const PATIENCE: Duration = Duration::from_secs(30);
const CALM: Duration = Duration::from_secs(5);
/// Of the honest ones.
const PACE: Pace = Pace { connections: 32, requests_per_second: 500, warm_up: Duration::ZERO };
/// How far apart those come that stall. Of a thousand in the same instant nobody can tell which are honest, and all of them
/// wait for their turn.
const APART: Duration = Duration::from_millis(1);
/// The app of those that stall is another one: a thousand large answers keep it busy, and honest clients are not to wait
/// for that.
const OTHER_APP: &str = "bulk";
const OTHER_HOST: &str = "bulk.example.com";
/// How often a client that does not read looks whether its connection still stands.
const LOOK: Duration = Duration::from_millis(100);

/// A way to stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
    const ALL: [Self; 8] = [
        Self::Silent,
        Self::HalfHandshake,
        Self::HalfHead,
        Self::StalledBody,
        Self::StalledReader,
        Self::IdleKeepAlive,
        Self::SilentHttp2,
        Self::DeafHttp2,
    ];

    const fn limit(self) -> Duration {
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

/// Runs all kinds one after the other. Fails if a client was hung up on too late.
pub(super) fn run(clients: usize) -> Result<()> {
    let site = Site::prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let encrypted = free_address()?;
    let (_other, other) = own(Core::Others, &["app"])?;
    let stalling = Plaintext::generate(Credential::Token)?;
    let (_gateway, address) = gateway(&site, encrypted, other, &stalling)?;
    runtime.block_on(async {
        let bearer = site.token().reveal();
        let request: Arc<[u8]> =
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {bearer}\r\n\r\n")
                .into_bytes()
                .into();

        let honest = Steady::start(address, &request, PACE);
        tokio::time::sleep(CALM).await;
        let times = honest.stop().await?;
        let (calm, asked) = (percentile(&times, 99.0), times.len());
        println!("{clients} stalled clients of each kind, 500 honest requests a second\n");
        println!(
            "{:<18}{:>10}{:>14}{:>14}{:>12}{:>10}",
            "", "limit", "last closed", "honest p99", "to calm", "honest"
        );
        println!("{:<18}{:>10}{:>14}{:>11.2} ms{:>12}{asked:>10}", "calm", "", "", ms(calm), "");

        let mut late = Vec::new();
        for kind in Kind::ALL {
            let honest = Steady::start(address, &request, PACE);
            let gateway = if kind == Kind::HalfHandshake { encrypted } else { address };
            let last =
                stall(kind, gateway, clients, stalling.reveal()).await.with_context(|| format!("{kind}"))?;
            let times = honest.stop().await?;
            let (p99, asked) = (percentile(&times, 99.0), times.len());
            let limit = kind.limit();
            println!(
                "{kind:<18}{:>8.1} s{:>12.2} s{:>11.2} ms{:>12.2}{asked:>10}",
                limit.as_secs_f64(),
                last.as_secs_f64(),
                ms(p99),
                p99.as_secs_f64() / calm.as_secs_f64(),
            );
            late.extend((last > limit + GRACE).then_some(kind));
        }
        ensure!(late.is_empty(), "hung up on too late: {late:?}");
        Ok(())
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn gateway(
    site: &Site,
    encrypted: SocketAddr,
    other: SocketAddr,
    stalling: &Plaintext,
) -> Result<(Process, SocketAddr)> {
    let text = format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\n\
         [[gateway.tls]]\nlisten = \"{encrypted}\"\ncertificate = \"{}\"\nprivate_key = \"{}\"\n\n\
         [gateway.limits]\nheader_timeout = \"{}s\"\nidle_timeout = \"{}s\"\n\n\
         [gateway.access_log]\npath = \"stalled.log\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [apps.shop.environments.production]\nhosts = [\"{HOST}\"]\nupstreams = [\"http://{}\"]\n\n\
         [apps.{OTHER_APP}.environments.production]\nhosts = [\"{OTHER_HOST}\"]\nupstreams = [\"http://{other}\"]\n",
        site.certificate().display(),
        site.key().display(),
        HEADER_TIMEOUT.as_secs(),
        IDLE_TIMEOUT.as_secs(),
        site.app,
    );
    let home = site.home("stalled")?;
    site.copy_store(&home)?;
    mint(&home.join(STORE), slice::from_ref(stalling), OTHER_APP)?;
    start_gateway(&home, Core::Proxy, &text)
}

/// Has so many clients come one after the other and stall; returns how long the last of them stayed connected after its last byte.
async fn stall(kind: Kind, gateway: SocketAddr, clients: usize, bearer: &str) -> Result<Duration> {
    let opening: Arc<[u8]> = kind.opening(bearer).into();
    let mut stalling = JoinSet::new();
    let mut turns = interval(APART);
    for _ in 0..clients {
        turns.tick().await;
        let stream = connect(kind, gateway).await?;
        let opening = opening.clone();
        stalling.spawn(async move { timeout(PATIENCE, until_closed(kind, stream, &opening)).await });
    }
    let mut last = Duration::ZERO;
    for stayed in stalling.join_all().await {
        last = last.max(stayed.context("a client is still connected")??);
    }
    Ok(last)
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
