//! Load that takes a connection and a TLS handshake for each request, and knows of what kind: wrk resumes its sessions
//! with some proxies and not with others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustls::HandshakeKind;
use rustls::client::Resumption;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::client;
use super::load::{Load, Told};
use super::site::Site;
use super::steady::percentile;
use super::workload::Request;

/// Of a handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    /// With a ticket from the connection before.
    Resumed,
}

/// Asks as fast as it can, over so many connections at a time. It runs in this process, which keeps to its core.
pub(super) fn run(
    site: &Site,
    address: SocketAddr,
    request: &Request,
    load: Load,
    kind: Kind,
) -> Result<Told> {
    let request: Arc<[u8]> = request.bytes().into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let until = began + Duration::from_secs(load.seconds);
    let (mut times, others) = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..load.connections {
            let mut client = site.client()?;
            if kind == Kind::Resumed {
                client.resumption = Resumption::in_memory_sessions(1);
            }
            let (request, connector) = (request.clone(), TlsConnector::from(Arc::new(client)));
            clients.spawn(async move { repeat(address, &connector, &request, until, kind).await });
        }
        let (mut times, mut others) = (Vec::new(), 0);
        for done in clients.join_all().await {
            let done = done?;
            times.extend(done.0);
            others += done.1;
        }
        anyhow::Ok((times, others))
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let requests = times.len() + others;
    // The first of each client has nothing to resume.
    ensure!(others <= load.connections, "{others} handshakes of {requests} were of another kind");
    let at = |percent| percentile(&times, percent).as_secs_f64() * 1e6;
    Ok(Told {
        requests: requests as u64,
        requests_per_second: requests as f64 / elapsed,
        p50: at(50.0),
        p99: at(99.0),
        not_ok: 0,
        broken: false,
        said: String::new(),
    })
}

/// The times of those with the wanted kind of handshake, and how many others there were.
async fn repeat(
    address: SocketAddr,
    connector: &TlsConnector,
    request: &[u8],
    until: Instant,
    kind: Kind,
) -> Result<(Vec<Duration>, usize)> {
    let (mut times, mut others) = (Vec::new(), 0);
    while Instant::now() < until {
        let began = Instant::now();
        let mut stream = client::encrypt(client::connect(address).await?, connector).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        client::ask(&mut stream, request).await?;
        if resumed == (kind == Kind::Resumed) {
            times.push(began.elapsed());
        } else {
            others += 1;
        }
        // The proxy hangs up first, as it was asked to. Whether it says so in TLS is its own affair.
        let _ = stream.read(&mut [0; 64]).await;
    }
    Ok((times, others))
}
