//! The figures as programs read them, with what is needed to judge them.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::chart;
use super::contest::{Contest, Effort};
use super::machine;
use super::peer::Peer;
use super::sample::Spread;

/// All that a run has found out.
pub(super) struct Record(Value);

impl Record {
    pub(super) fn new(peers: &[Peer], effort: Effort) -> Result<Self> {
        let mut versions = Map::new();
        for peer in peers.iter().filter(|peer| peer.log.is_some()) {
            versions.insert(peer.kind.name().to_owned(), peer.kind.version()?.into());
        }
        Ok(Self(json!({
            "date": Timestamp::now().strftime("%Y-%m-%d").to_string(),
            "machine": machine::describe(),
            "versions": versions,
            "rounds": effort.rounds,
            "seconds": effort.seconds,
            "connections": effort.connections,
            "workloads": {},
        })))
    }

    pub(super) fn add(&mut self, contest: &Contest) {
        let mut proxies = Map::new();
        for entry in &contest.entries {
            let mut figures = Map::new();
            for figure in contest.figures() {
                let mut value = spread(entry.spread(figure));
                if let Some(ratio) = contest.ratio(entry, figure) {
                    value["portcullis_to_it"] = spread(ratio);
                }
                figures.insert(figure.key().to_owned(), value);
            }
            proxies.insert(entry.kind.name().to_owned(), figures.into());
        }
        let name = contest.workload.name();
        self.0["workloads"][name] =
            json!({ "title": contest.workload.title(), "rounds": contest.rounds, "proxies": proxies });
    }

    /// `end_to_end.json` and `end_to_end.svg` in a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
        };
        fs::create_dir_all(folder)?;
        write("end_to_end.json", serde_json::to_string_pretty(&self.0)? + "\n")?;
        write("end_to_end.svg", chart::draw(&self.0))
    }
}

/// What the figures are of.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in ["machine", "versions"] {
            for (name, value) in self.0[part].as_object().into_iter().flatten() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                writeln!(f, "{name:<20}{value}")?;
            }
        }
        Ok(())
    }
}

/// Numbers with no more digits than mean something.
fn spread(spread: Spread) -> Value {
    let round = |value: f64| (value * 1e3).round() / 1e3;
    json!({ "median": round(spread.median), "least": round(spread.least), "most": round(spread.most) })
}
