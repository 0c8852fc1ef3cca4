//! A gateway that finds many tokens in its store: how soon it serves, and how much memory it takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::super::child::Core;
use super::super::peer::start_gateway;
use super::super::probe;
use super::super::site::{HOST, STORE, Site};
use super::super::workload::Workload;
use super::fill::fill;

/// For what the gateway gives back after loading.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) struct Load {
    tokens: usize,
    /// From the start of the program to the first answer.
    ready: Duration,
    /// CPU time until then, in seconds: a busy machine takes longer, and does no more.
    cpu: f64,
    /// MiB.
    rss: f64,
    /// Of the database, in MiB.
    disk: f64,
}

impl Load {
    /// Bytes of memory for each token beyond those of another load.
    fn each(&self, base: &Self) -> f64 {
        (self.rss - base.rss) * 1024.0 * 1024.0 / (self.tokens as f64 - base.tokens as f64)
    }

    pub(super) fn row(&self, base: &Self) -> String {
        let each =
            if self.tokens == base.tokens { String::new() } else { format!("{:.0} B", self.each(base)) };
        format!(
            "{:>12}{:>12.2} s{:>10.2} s{:>12.1} MiB{each:>12}{:>10.0} MiB",
            self.tokens,
            self.ready.as_secs_f64(),
            self.cpu,
            self.rss,
            self.disk
        )
    }

    pub(super) fn value(&self, base: &Self) -> Value {
        let each = (self.tokens != base.tokens).then(|| self.each(base).round());
        json!({
            "tokens": self.tokens,
            "ready_s": (self.ready.as_secs_f64() * 1e3).round() / 1e3,
            "cpu_until_ready_s": self.cpu,
            "rss_mib": (self.rss * 10.0).round() / 10.0,
            "bytes_each": each,
            "database_mib": self.disk.round(),
        })
    }
}

/// Starts the gateway on a store of so many. Everything is deleted again.
pub(super) fn load(site: &Site, tokens: usize) -> Result<Load> {
    let home = site.home("tokens")?;
    site.copy_store(&home)?;
    let store = home.join(STORE);
    fill(&store, tokens)?;
    let disk = std::fs::metadata(&store)?.len() as f64 / (1024.0 * 1024.0);

    let began = Instant::now();
    let (gateway, address) = start_gateway(&home, Core::Both, &configuration(site))?;
    let request = Workload::Get.request(site);
    let status = probe::exchange(&mut probe::connect(address)?, &request)?;
    let (ready, cpu) = (began.elapsed(), gateway.cpu()? / 1e6);
    ensure!(status.starts_with(b"HTTP/1.1 200 "), "it answers {}", String::from_utf8_lossy(&status));
    std::thread::sleep(SETTLE);
    let rss = gateway.rss()?;
    drop(gateway);
    std::fs::remove_dir_all(home)?;
    Ok(Load { tokens, ready, cpu, rss, disk })
}

/// A gateway with one worker before the site's app.
pub(super) fn configuration(site: &Site) -> String {
    format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\n\
         [gateway.access_log]\npath = \"access.log\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [apps.shop.environments.production]\nhosts = [\"{HOST}\"]\nupstreams = [\"http://{}\"]\n",
        site.app
    )
}
