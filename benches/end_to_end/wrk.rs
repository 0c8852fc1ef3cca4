//! Load over HTTP/1.1.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::child::{Core, pinned};
use super::load::{Load, Told};
use super::site::{HOST, Site};
use super::workload::Request;

/// Sends the request again and again over each connection.
pub(super) fn run(site: &Site, base: &str, request: &Request, load: Load) -> Result<Told> {
    let Load { connections, seconds, core } = load;
    let long = Duration::from_secs(seconds);
    let output =
        command(site, base, request, connections, long, core)?.output().context("cannot start wrk")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    read(&said).with_context(|| format!("wrk says:\n{said}"))
}

/// The same for somebody else to start.
pub(super) fn command(
    site: &Site,
    base: &str,
    request: &Request,
    connections: usize,
    long: Duration,
    core: Core,
) -> Result<Command> {
    let mut script = format!("wrk.method = \"{}\"\nwrk.headers[\"Host\"] = \"{HOST}\"\n", request.method);
    for (name, value) in &request.fields {
        let _ = writeln!(script, "wrk.headers[\"{name}\"] = \"{value}\"");
    }
    if request.body > 0 {
        let _ = writeln!(script, "wrk.body = string.rep(\"x\", {})", request.body);
    }
    let path = site.scratch("wrk.lua");
    std::fs::write(&path, script)?;
    let mut command = pinned(core, "wrk");
    command
        .args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{}s", long.as_secs())])
        .arg("-s")
        .arg(path)
        .arg(format!("{base}{}", request.target));
    Ok(command)
}

fn read(said: &str) -> Result<Told> {
    let after = |mark: &str| {
        let found = said.lines().find_map(|line| line.trim().strip_prefix(mark));
        found.map(str::trim).with_context(|| format!("there is no `{mark}`"))
    };
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    Ok(Told {
        requests: requests.context("there is no count of requests")?.0.parse()?,
        requests_per_second: after("Requests/sec:")?.parse()?,
        p50: microseconds(after("50%")?)?,
        p99: microseconds(after("99%")?)?,
        not_ok: after("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?,
        broken: after("Socket errors:").is_ok(),
        said: said.to_owned(),
    })
}

/// Reads `813.00us`, `1.52ms` or `2.00s`.
fn microseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("{text} is not a time")
}
