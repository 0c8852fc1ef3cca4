//! Proxies that take turns at a workload.

use anyhow::{Context, Result};

use super::child::Core;
use super::load::{self, Load};
use super::peer::{Kind, Peer, Plan};
use super::sample::{Figure, Sample, Spread};
use super::site::Site;
use super::workload::Workload;
use super::{idle, tail, two, witness};

/// How long it goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Turns that each proxy gets.
    pub rounds: usize,
    /// Length of a turn.
    pub seconds: u64,
    pub connections: usize,
}

/// Memory is the same from turn to turn, give or take little.
const ROUNDS_OF_CONNS: usize = 3;

/// One proxy's part in a contest.
pub(super) struct Entry {
    pub kind: Kind,
    /// One of each round.
    pub samples: Vec<Sample>,
}

/// What came of a workload.
pub(super) struct Contest {
    pub workload: Workload,
    pub rounds: usize,
    pub effort: Effort,
    /// The gateway's first, if it took part.
    pub entries: Vec<Entry>,
}

impl Contest {
    /// Who begins changes from round to round. A peer that fails is left out, and said to be; the gateway may not.
    pub(super) fn hold(site: &Site, peers: &[Peer], workload: Workload, effort: Effort) -> Result<Self> {
        let able = peers.iter().filter(|peer| peer.kind.can(workload));
        let mut running: Vec<_> = able.map(|peer| (peer, Vec::new())).collect();
        let rounds =
            if workload == Workload::Conns { effort.rounds.min(ROUNDS_OF_CONNS) } else { effort.rounds };
        // The first round is thrown away where it warms something up that lives on.
        let warm_up = !matches!(workload, Workload::Conns | Workload::Two);
        let mut failed: Vec<Kind> = Vec::new();
        for round in 0..rounds + usize::from(warm_up) {
            let warming = warm_up && round == 0;
            let effort = if warming { Effort { seconds: 1, ..effort } } else { effort };
            running.retain(|(peer, _): &(&Peer, Vec<Sample>)| !failed.contains(&peer.kind));
            for step in 0..running.len() {
                let place = (round + step) % running.len();
                let Some((peer, samples)) = running.get_mut(place) else { continue };
                match turn(site, peer, workload, effort) {
                    Ok(_) if warming => {}
                    Ok(sample) => samples.push(sample),
                    Err(error) if peer.kind.rival() => {
                        println!("{workload}: {} is left out: {error:#}", peer.kind);
                        failed.push(peer.kind);
                    }
                    Err(error) => return Err(error).with_context(|| format!("{workload}: {}", peer.kind)),
                }
            }
        }
        running.retain(|(peer, _)| !failed.contains(&peer.kind));
        let entries = running.into_iter().map(|(peer, samples)| Entry { kind: peer.kind, samples }).collect();
        Ok(Self { workload, rounds, effort, entries })
    }

    /// All proxies have the same figures.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let first = self.entries.iter().find_map(|entry| entry.samples.first());
        first.map(|sample| sample.0.iter().map(|(figure, _)| *figure).collect()).unwrap_or_default()
    }

    /// The gateway's figure divided by another's in the same round.
    pub(super) fn ratio(&self, entry: &Entry, figure: Figure) -> Option<Spread> {
        let ours = self.entries.first().filter(|entry| entry.kind == Kind::Portcullis)?;
        if entry.kind == Kind::Portcullis || !figure.has_ratio() {
            return None;
        }
        let pairs = ours.samples.iter().zip(&entry.samples);
        Some(Spread::of(pairs.map(|(our, their)| our.get(figure) / their.get(figure))))
    }
}

impl Entry {
    pub(super) fn spread(&self, figure: Figure) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.get(figure)))
    }
}

/// Starts those that are there and says which are not, and what others do not do.
pub(super) fn start(site: &Site, kinds: &[Kind]) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for kind in kinds {
        match fit(site, *kind) {
            Ok(peer) => peers.push(peer),
            Err(error) if kind.rival() => println!("{kind} is left out: {error:#}"),
            Err(error) => return Err(error).with_context(|| kind.to_string()),
        }
    }
    Ok(peers)
}

fn fit(site: &Site, kind: Kind) -> Result<Peer> {
    kind.version()?;
    let peer = kind.start(site, Plan::ONE)?;
    let untold = witness::untold(site, &peer)?;
    if !untold.is_empty() {
        println!("{kind} does not tell the app: {}", untold.join(", "));
    }
    Ok(peer)
}

fn turn(site: &Site, peer: &Peer, workload: Workload, effort: Effort) -> Result<Sample> {
    match workload {
        Workload::Conns => idle::run(site, peer.kind),
        Workload::Two => two::run(site, peer.kind, effort.seconds),
        Workload::Tail => tail::run(site, peer, effort.seconds),
        _ => {
            let Effort { seconds, connections, .. } = effort;
            load::run(site, peer, workload, Load { connections, seconds, core: Core::Others })
        }
    }
}
