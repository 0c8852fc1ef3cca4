//! What many tokens cost: memory, and the time to load them; how fast they are minted and revoked for good, and how soon
//! a revoked one is refused while the gateway has all it can do.

mod admin;
mod durable;
mod fill;
mod revoked;
mod stored;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::machine;
use super::site::Site;

/// Percentiles of times in order, in milliseconds.
struct Times {
    p50: f64,
    p99: f64,
    count: usize,
}

impl Times {
    fn of(mut times: Vec<std::time::Duration>) -> Self {
        times.sort_unstable();
        let at = |percent| super::steady::percentile(&times, percent).as_secs_f64() * 1e3;
        Self { p50: at(50.0), p99: at(99.0), count: times.len() }
    }

    fn value(&self) -> Value {
        let round = |value: f64| (value * 1e3).round() / 1e3;
        json!({ "p50_ms": round(self.p50), "p99_ms": round(self.p99), "count": self.count })
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms of {}", self.p50, self.p99, self.count)
    }
}

/// Runs all parts; `counts` of tokens are stored and loaded one after the other.
pub(super) fn run(counts: &[usize], seconds: u64, record: Option<&Path>) -> Result<()> {
    let site = Site::prepare()?;
    let disk = durable::fsync(&site)?;
    println!("the disk's own: writing 4 KiB and having them on disk takes {disk}\n");

    println!(
        "{:>12}{:>14}{:>12}{:>16}{:>12}{:>14}",
        "tokens", "ready after", "CPU time", "RSS", "each", "database"
    );
    let mut loads = Vec::new();
    let base = stored::load(&site, site.tokens.len())?;
    println!("{}", base.row(&base));
    for count in counts {
        let load = stored::load(&site, *count).with_context(|| format!("{count} tokens"))?;
        println!("{}", load.row(&base));
        loads.push(load.value(&base));
    }

    let (minted, revoked) = durable::run(&site, seconds)?;
    println!("\nfrom {} callers at once:", durable::CALLERS);
    println!("  minting   {minted}\n  revoking  {revoked}");

    let in_force = revoked::run(&site)?;
    println!("\na revocation's answer, and with it its being in force, under full load: {in_force}");
    if let Some(folder) = record {
        let all = json!({
            "machine": machine::describe(),
            "fsync": disk.value(),
            "start": base.value(&base),
            "loads": loads,
            "mint": minted.value(),
            "revoke": revoked.value(),
            "revocation_in_force_at_full_load": in_force.value(),
        });
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("tokens.json"), serde_json::to_string_pretty(&all)? + "\n")?;
    }
    Ok(())
}
