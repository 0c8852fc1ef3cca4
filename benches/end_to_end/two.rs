//! Two workers: how much more they can do than one, and whether few connections are spread evenly over them.
//!
//! On two cores the load generator and the app need their share, so the rate tells little. What a second worker is worth
//! follows from the CPU time of the busiest thread for each request: the rest of its second is what it could still do.

use anyhow::Result;

use super::child::Core;
use super::load::{self, Load};
use super::peer::{Kind, Peer, Plan};
use super::sample::{Figure, Sample};
use super::site::Site;
use super::workload::Workload;

/// Of a load that is spread over both.
const MANY: usize = 64;
/// Each of these opens so few connections.
const FEW: [(usize, Figure); 3] = [(4, Figure::P99Of4), (8, Figure::P99Of8), (16, Figure::P99Of16)];

pub(super) fn run(site: &Site, kind: Kind, seconds: u64) -> Result<Sample> {
    let load = Load { connections: MANY, seconds, core: Core::Both };
    let busiest_of_one = {
        let peer = kind.start(site, Plan { workers: 1, core: Core::Both })?;
        load::run(site, &peer, Workload::Two, Load { seconds: 1, ..load })?;
        loaded(site, &peer, load)?.1
    };
    let peer = kind.start(site, Plan { workers: 2, core: Core::Both })?;
    load::run(site, &peer, Workload::Two, Load { seconds: 1, ..load })?;
    let (sample, busiest_of_two) = loaded(site, &peer, load)?;
    let mut figures = vec![
        (Figure::Cpu, sample.get(Figure::Cpu)),
        (Figure::Rate, sample.get(Figure::Rate)),
        (Figure::Scaling, busiest_of_one / busiest_of_two),
    ];
    for (connections, figure) in FEW {
        let sample = load::run(site, &peer, Workload::Two, Load { connections, ..load })?;
        figures.push((figure, sample.get(Figure::P99)));
    }
    Ok(Sample(figures))
}

/// A turn, and the CPU time of its busiest thread for each request.
fn loaded(site: &Site, peer: &Peer, load: Load) -> Result<(Sample, f64)> {
    let before = peer.process.cpu_of_threads()?;
    let (all_before, sample) = (peer.process.cpu()?, load::run(site, peer, Workload::Two, load)?);
    let all = peer.process.cpu()? - all_before;
    let after = peer.process.cpu_of_threads()?;
    let used = after.iter().map(|(thread, cpu)| cpu - before.get(thread).copied().unwrap_or(0.0));
    let busiest = used.fold(0.0, f64::max);
    let each = sample.get(Figure::Cpu) * busiest / all;
    Ok((sample, each))
}
