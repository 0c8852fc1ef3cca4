//! What the app sees of a request, to know that all proxies do the same for it.

use anyhow::{Result, ensure};

use super::app::ECHO_PATH;
use super::peer::{Kind, Peer};
use super::probe;
use super::site::Site;
use super::workload::Workload;

/// What the app is to be told, each under one of some names.
const TOLD: [&[&str]; 6] = [
    &["x-forwarded-for"],
    &["x-forwarded-proto"],
    &["x-forwarded-host"],
    &["x-forwarded-port"],
    &["x-request-id"],
    &["x-portcullis-token-id", "x-token-id"],
];

/// The names of what a proxy does not tell the app. Fails if it hands the token on.
pub(super) fn untold(site: &Site, peer: &Peer) -> Result<Vec<&'static str>> {
    if peer.kind == Kind::Floor {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    for workload in [Workload::Get, Workload::Query].into_iter().filter(|workload| peer.kind.can(*workload)) {
        let mut request = workload.request(site);
        request.target = request.target.replace("/v1/orders", ECHO_PATH);
        let answer = probe::exchange(&mut probe::connect(peer.plain)?, &request)?;
        let seen = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        ensure!(seen.starts_with("http/1.1 200 "), "it answers {seen}");
        let seen = seen.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let token = site.token().reveal().to_ascii_lowercase();
        ensure!(!seen.contains(&token), "it hands the token on, as in {workload}");
        let told = |names: &&[&str]| names.iter().any(|name| seen.contains(&format!("\n{name}: ")));
        missing.extend(TOLD.iter().filter(|names| !told(names)).filter_map(|names| names.last().copied()));
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}
