//! Load over HTTP/2.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::child::pinned;
use super::load::{Load, Told};
use super::site::{HOST, Site};
use super::workload::Request;

/// Connections, and requests under way on each.
pub(super) const CLIENTS: usize = 8;
pub(super) const STREAMS: usize = 16;

/// Sends the request again and again, so many at a time.
pub(super) fn run(site: &Site, address: SocketAddr, request: &Request, load: Load) -> Result<Told> {
    let log = site.scratch("h2load.log");
    // It appends.
    let _ = fs::remove_file(&log);
    let mut command = pinned(load.core, "h2load");
    command
        .args(["-t1", &format!("-c{CLIENTS}"), &format!("-m{STREAMS}"), &format!("-D{}", load.seconds)])
        .args([format!("--connect-to={address}"), format!("--log-file={}", log.display())]);
    for (name, value) in &request.fields {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let output = command.arg(format!("https://{HOST}{}", request.target)).output();
    let output = output.context("cannot start h2load")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let times = fs::read_to_string(&log).with_context(|| format!("h2load says:\n{said}"))?;
    read(&said, &times).with_context(|| format!("h2load says:\n{said}"))
}

fn read(said: &str, times: &str) -> Result<Told> {
    let number = |mark: &str, after: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(mark));
        let found = line.and_then(|line| line.split(", ").find_map(|part| part.strip_suffix(after)));
        found.map(str::trim).with_context(|| format!("there is no `{after}` after `{mark}`"))
    };
    // A line a request: when it began, its status, and how long it took, in microseconds.
    let mut taken: Vec<u32> =
        times.lines().filter_map(|line| line.rsplit('\t').next()?.parse().ok()).collect();
    taken.sort_unstable();
    let at = |share: usize| taken.get(taken.len() * share / 100).copied().map_or(f64::NAN, f64::from);
    let (succeeded, failed) = (number("requests:", " succeeded")?, number("requests:", " failed")?);
    let (succeeded, failed) = (succeeded.parse::<u64>()?, failed.parse::<u64>()?);
    Ok(Told {
        requests: succeeded + failed,
        requests_per_second: number("finished in ", " req/s")?.parse()?,
        p50: at(50),
        p99: at(99),
        not_ok: failed,
        broken: number("requests:", " errored")? != "0" || number("requests:", " timeout")? != "0",
        said: said.to_owned(),
    })
}
