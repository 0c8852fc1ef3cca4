//! What connections cost that are kept and not used: ten thousand at once, each after one request.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::client;
use super::peer::{Kind, Plan};
use super::sample::{Figure, Sample};
use super::site::Site;
use super::workload::Workload;

const CONNECTIONS: usize = 10_000;
/// So many connect at a time.
const AT_ONCE: usize = 64;
/// For what a proxy puts away once a connection is idle.
const SETTLE: Duration = Duration::from_secs(2);

/// Cleartext and TLS each have a process that has done nothing else: memory that others gave back would hide what these
/// take.
pub(super) fn run(site: &Site, kind: Kind) -> Result<Sample> {
    let (start, each) = measure(site, kind, false)?;
    let (_, each_encrypted) = measure(site, kind, true)?;
    Ok(Sample(vec![
        (Figure::PerConnection, each),
        (Figure::PerTlsConnection, each_encrypted),
        (Figure::AtStart, start),
    ]))
}

/// MiB before, and KiB for each connection.
fn measure(site: &Site, kind: Kind, encrypted: bool) -> Result<(f64, f64)> {
    let peer = kind.start(site, Plan::ONE)?;
    let address = if encrypted { peer.encrypted } else { peer.plain };
    std::thread::sleep(SETTLE);
    let before = peer.process.rss()?;
    let request: Arc<[u8]> = Workload::Conns.request(site).bytes().into();
    let connector =
        encrypted.then(|| site.client().map(|client| TlsConnector::from(Arc::new(client)))).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let after = runtime.block_on(async {
        let mut connecting = JoinSet::new();
        let mut idle = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS + AT_ONCE {
            if number >= AT_ONCE {
                idle.push(connecting.join_next().await.context("none is left")???);
            }
            if number < CONNECTIONS {
                connecting.spawn(used(address, connector.clone(), request.clone()));
            }
        }
        tokio::time::sleep(SETTLE).await;
        ensure!(idle.len() == CONNECTIONS, "{} connections were made", idle.len());
        peer.process.rss()
    })?;
    Ok((before, (after - before) * 1024.0 / CONNECTIONS as f64))
}

/// A connection over which one request was answered.
async fn used(
    address: SocketAddr,
    connector: Option<TlsConnector>,
    request: Arc<[u8]>,
) -> Result<Box<dyn Any + Send>> {
    let mut stream = client::connect(address).await?;
    if let Some(connector) = connector {
        let mut stream = client::encrypt(stream, &connector).await?;
        client::ask(&mut stream, &request).await?;
        return Ok(Box::new(stream));
    }
    client::ask(&mut stream, &request).await?;
    Ok(Box::new(stream))
}
