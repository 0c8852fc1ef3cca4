//! What a request costs from end to end: CPU time of the gateway for each request, beside a forwarder that looks at
//! nothing and beside other proxies that do the same job, all in the same run.
//!
//! The proxy under load has core 0 to itself, load generator and app share core 1. The proxies take turns, so that
//! whatever else the machine does meets all of them; the ratios are what to quote.
//!
//! Apart from that, `stalled`: what clients that stall do to others.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod app;
mod child;
mod forwarder;
mod honest;
mod load;
mod peer;
mod report;
mod site;
mod stalled;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use self::load::{Sample, Workload};
use self::peer::Peer;
use self::report::Table;
use self::site::Site;

#[derive(Parser)]
struct Arguments {
    /// Turns that each proxy gets in each workload.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a turn.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Workloads to run; all of them by default.
    #[arg(long = "workload", value_enum)]
    workloads: Vec<Workload>,
    /// Cargo adds this.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What else this program does, or is when it starts itself.
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
enum Role {
    /// Clients that stall, while honest ones go on.
    Stalled {
        /// Of each kind.
        #[arg(long, default_value_t = 1000)]
        clients: usize,
    },
    #[command(hide = true)]
    App,
    #[command(hide = true)]
    Forwarder { upstream: SocketAddr },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Stalled { clients }) => stalled::run(clients),
        Some(Role::App) => app::run(),
        Some(Role::Forwarder { upstream }) => forwarder::run(upstream),
        None => compare(&arguments),
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.seconds > 0, "at least one round of one second");
    let site = Site::prepare()?;
    let peers = peer::start_all(&site)?;
    let workloads = match &arguments.workloads[..] {
        [] => &Workload::ALL[..],
        chosen => chosen,
    };
    for workload in workloads {
        let peers: Vec<_> = peers.iter().filter(|peer| peer.can(*workload)).collect();
        for peer in &peers {
            let warm_up = load::run(&site, peer, *workload, arguments.connections, 1);
            warm_up.with_context(|| format!("{} is not fit to be measured", peer.name))?;
        }
        let mut rounds = Vec::with_capacity(arguments.rounds);
        for round in 0..arguments.rounds {
            rounds.push(play(&site, &peers, *workload, round, arguments)?);
        }
        let names: Vec<_> = peers.iter().map(|peer| peer.name).collect();
        println!("{}", Table { workload: *workload, names: &names, rounds: &rounds });
    }
    Ok(())
}

/// One turn of each proxy; who begins changes from round to round. The samples are in the order of `peers`.
fn play(
    site: &Site,
    peers: &[&Peer],
    workload: Workload,
    round: usize,
    arguments: &Arguments,
) -> Result<Vec<Sample>> {
    let mut samples: Vec<Option<Sample>> = peers.iter().map(|_| None).collect();
    for step in 0..peers.len() {
        let place = (round + step) % peers.len();
        let peer = peers[place];
        let sample =
            load::run(site, peer, workload, arguments.connections, arguments.seconds).with_context(|| {
                format!("nothing is reported: {}, {workload}, round {}", peer.name, round + 1)
            })?;
        samples[place] = Some(sample);
    }
    samples.into_iter().collect::<Option<_>>().context("a turn was left out")
}
