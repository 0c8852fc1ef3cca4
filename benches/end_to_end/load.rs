//! One turn at full load, and the doubts that must be out of the way before its figures count.

use std::fs::{self, File};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use memchr::memmem;

use super::child::Core;
use super::handshake::{self, Kind};
use super::peer::{Log, Peer};
use super::probe::{self, PATIENCE};
use super::sample::{Figure, Sample};
use super::site::Site;
use super::workload::Workload;
use super::{h2load, wrk};

/// How hard a turn is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub connections: usize,
    pub seconds: u64,
    /// Where the load generator runs.
    pub core: Core,
}

/// What a load generator says of its run.
pub(super) struct Told {
    pub requests: u64,
    pub requests_per_second: f64,
    /// In microseconds.
    pub p50: f64,
    pub p99: f64,
    /// Answers that were not 2xx.
    pub not_ok: u64,
    pub broken: bool,
    /// All its words.
    pub said: String,
}

/// Loads a proxy for some seconds. Fails unless every single answer was the one that the workload expects.
pub(super) fn run(site: &Site, peer: &Peer, workload: Workload, load: Load) -> Result<Sample> {
    let request = workload.request(site);
    let status = probe::run(site, peer, workload, &request)?;
    let streams = h2load::CLIENTS * h2load::STREAMS;
    // The requests that a load generator gives up on as it ends never get an answer, and their lines may come as late
    // as in the next turn: a log may hold those of two.
    let unanswered = 2 * load.connections.max(streams) as u64;
    let before = logged(peer, status, 1, unanswered)?;

    let cpu = peer.process.cpu()?;
    let told = match workload {
        Workload::H2 => h2load::run(site, peer.encrypted, &request, load)?,
        Workload::Tlsnew => handshake::run(site, peer.encrypted, &request, load, Kind::Full)?,
        Workload::Tlsagain => handshake::run(site, peer.encrypted, &request, load, Kind::Resumed)?,
        _ if workload.encrypted() => wrk::run(site, &format!("https://{}", peer.encrypted), &request, load)?,
        _ => wrk::run(site, &format!("http://{}", peer.plain), &request, load)?,
    };
    let cpu = peer.process.cpu()? - cpu;

    let Told { requests, not_ok, said, .. } = &told;
    ensure!(*requests > 0 && !told.broken, "connections broke; the load generator says:\n{said}");
    let refused = if workload.allowed() { 0 } else { *requests };
    ensure!(*not_ok == refused, "{not_ok} answers of {requests} were not 2xx:\n{said}");
    logged(peer, status, before + requests, unanswered)?;
    empty(peer)?;
    Ok(Sample(vec![
        (Figure::Cpu, cpu / *requests as f64),
        (Figure::Rate, told.requests_per_second),
        (Figure::P50, told.p50),
        (Figure::P99, told.p99),
        (Figure::Memory, peer.process.rss()?),
    ]))
}

/// Every proxy appends, so each turn begins with an empty file.
pub(super) fn empty(peer: &Peer) -> Result<()> {
    if let Some(log) = &peer.log {
        File::options().write(true).open(&log.path)?.set_len(0)?;
    }
    Ok(())
}

/// Waits until `least` requests are in the log, and returns how many are. All but `odd` have the expected status.
fn logged(peer: &Peer, status: u16, least: u64, odd: u64) -> Result<u64> {
    let Some(log) = &peer.log else { return Ok(0) };
    let least = if log.whole { least } else { least * 9 / 10 };
    let until = Instant::now() + PATIENCE;
    loop {
        let (lines, expected) = read_log(log, status)?;
        if lines >= least {
            ensure!(lines - expected <= odd, "{} answers of {lines} had another status", lines - expected);
            return Ok(lines);
        }
        ensure!(Instant::now() < until, "only {lines} of {least} requests are in its log");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Whole lines of a log, and how many of them have the expected status.
fn read_log(log: &Log, status: u16) -> Result<(u64, u64)> {
    let path = &log.path;
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mark = format!("{}{status},", log.mark);
    let whole = memchr::memrchr(b'\n', &text).map_or(&text[..0], |end| &text[..=end]);
    let lines = memchr::memchr_iter(b'\n', whole).count() as u64;
    Ok((lines, memmem::find_iter(whole, &mark).count() as u64))
}
