//! Load over HTTP/1.1.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::child::pinned;
use super::load::{Load, Told};
use super::site::{HOST, Site};
use super::workload::Request;

/// Sends the request again and again over each connection.
pub(super) fn run(site: &Site, base: &str, request: &Request, load: Load) -> Result<Told> {
    let mut script = format!("wrk.method = \"{}\"\nwrk.headers[\"Host\"] = \"{HOST}\"\n", request.method);
    for (name, value) in &request.fields {
        let _ = writeln!(script, "wrk.headers[\"{name}\"] = \"{value}\"");
    }
    if request.body > 0 {
        let _ = writeln!(script, "wrk.body = string.rep(\"x\", {})", request.body);
    }
    let path = site.scratch("wrk.lua");
    std::fs::write(&path, script)?;
    let output = pinned(load.core, "wrk")
        .args(["-t1", "--latency", &format!("-c{}", load.connections), &format!("-d{}s", load.seconds)])
        .arg("-s")
        .arg(path)
        .arg(format!("{base}{}", request.target))
        .output()
        .context("cannot start wrk")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    read(&said).with_context(|| format!("wrk says:\n{said}"))
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
