//! Memory over time: all kinds of work in turns, with connections that come and go, for as long as is wanted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::child::Core;
use super::load::{self, Load};
use super::peer::{Kind, Plan};
use super::site::Site;
use super::workload::Workload;

/// In the order in which they come again and again.
const WORK: [Workload; 9] = [
    Workload::Get,
    Workload::Deny,
    Workload::Query,
    Workload::Post4k,
    Workload::Get1m,
    Workload::Tls,
    Workload::Tlsnew,
    Workload::Tlsagain,
    Workload::H2,
];
const LOAD: Load = Load { connections: 64, seconds: 2, core: Core::Others };
/// What may come on top after the first rounds.
const TOLERATED: f64 = 1.1;
/// A row of the output for each.
const ROW: Duration = Duration::from_secs(60);

/// Fails if the gateway has more at the end than it had after a quarter of the time.
pub(super) fn run(minutes: u64) -> Result<()> {
    let site = Site::prepare()?;
    let gateway = Kind::Portcullis.start(&site, Plan::ONE)?;
    let began = Instant::now();
    let long = Duration::from_secs(minutes * 60);
    let (mut early, mut most, mut row) = (None, 0.0_f64, began);
    println!("{:>8}{:>14}", "minute", "RSS");
    while began.elapsed() < long {
        most = 0.0;
        for workload in WORK {
            load::run(&site, &gateway, workload, LOAD)?;
            most = most.max(gateway.process.rss()?);
        }
        if began.elapsed() >= long / 4 {
            early.get_or_insert(most);
        }
        if row.elapsed() >= ROW {
            row = Instant::now();
            println!("{:>8}{most:>10.1} MiB", began.elapsed().as_secs() / 60);
        }
    }
    let early = early.unwrap_or(most);
    println!("{early:.1} MiB after a quarter of the time, {most:.1} MiB at the end");
    ensure!(most <= early * TOLERATED, "it has grown");
    Ok(())
}
