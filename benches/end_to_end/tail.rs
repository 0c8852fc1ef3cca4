//! The time that a proxy adds at a fixed rate that it can keep up with easily: that of the app's own answers is taken
//! right before, and off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::load;
use super::peer::Peer;
use super::probe;
use super::sample::{Figure, Sample};
use super::site::Site;
use super::steady::{Pace, Steady, percentile};
use super::workload::Workload;

const PACE: Pace =
    Pace { connections: 50, requests_per_second: 5_000, warm_up: Duration::from_millis(1_000) };

pub(super) fn run(site: &Site, peer: &Peer, seconds: u64) -> Result<Sample> {
    let request = Workload::Tail.request(site);
    probe::run(site, peer, Workload::Tail, &request)?;
    let request: Arc<[u8]> = request.bytes().into();
    let long = PACE.warm_up + Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measure = |address: SocketAddr| {
        runtime.block_on(async {
            let clients = Steady::start(address, &request, PACE);
            tokio::time::sleep(long).await;
            clients.stop().await
        })
    };
    let own = measure(site.app)?;
    let cpu = peer.process.cpu()?;
    let through = measure(peer.plain)?;
    let cpu = peer.process.cpu()? - cpu;
    load::empty(peer)?;
    let added = |percent| {
        let of = |times: &[Duration]| percentile(times, percent).as_secs_f64();
        (of(&through) - of(&own)) * 1e6
    };
    let requests = long.as_secs_f64() * f64::from(PACE.requests_per_second);
    Ok(Sample(vec![
        (Figure::Cpu, cpu / requests),
        (Figure::Added50, added(50.0)),
        (Figure::Added99, added(99.0)),
        (Figure::Added999, added(99.9)),
    ]))
}
