//! Load that takes a connection and a full TLS handshake for each request: wrk would resume its sessions with those who
//! let it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::client::{ask, connect};
use super::load::{Load, Told};
use super::site::Site;
use super::steady::percentile;
use super::workload::Request;

/// Asks as fast as it can, over so many connections at a time. It runs in this process, which keeps to its core.
pub(super) fn run(site: &Site, address: SocketAddr, request: &Request, load: Load) -> Result<Told> {
    let request: Arc<[u8]> = request.bytes().into();
    let connector = TlsConnector::from(site.client()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let until = began + Duration::from_secs(load.seconds);
    let times = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..load.connections {
            let (request, connector) = (request.clone(), connector.clone());
            clients.spawn(async move { repeat(address, &connector, &request, until).await });
        }
        let mut times = Vec::new();
        for taken in clients.join_all().await {
            times.extend(taken?);
        }
        anyhow::Ok(times)
    });
    let elapsed = began.elapsed().as_secs_f64();
    let mut times = times?;
    times.sort_unstable();
    let at = |percent| percentile(&times, percent).as_secs_f64() * 1e6;
    Ok(Told {
        requests: times.len() as u64,
        requests_per_second: times.len() as f64 / elapsed,
        p50: at(50.0),
        p99: at(99.0),
        not_ok: 0,
        broken: false,
        said: String::new(),
    })
}

async fn repeat(
    address: SocketAddr,
    connector: &TlsConnector,
    request: &[u8],
    until: Instant,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let mut stream = connect(address, Some(connector)).await?;
        ask(&mut *stream, request).await?;
        times.push(began.elapsed());
        // The proxy hangs up first, as it was asked to. Whether it says so in TLS is its own affair.
        let _ = stream.read(&mut [0; 64]).await;
    }
    Ok(times)
}
