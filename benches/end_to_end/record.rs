//! The figures as programs read them, with what is needed to judge them.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::chart;
use super::contest::Contest;
use super::machine;
use super::peer::Peer;
use super::sample::Spread;

const JSON: &str = "end_to_end.json";

/// All that runs have found out.
pub(super) struct Record(Value);

impl Record {
    /// What is in `folder` of other workloads is kept.
    pub(super) fn new(peers: &[Peer], folder: Option<&Path>) -> Result<Self> {
        let before = folder.and_then(|folder| fs::read(folder.join(JSON)).ok());
        let before: Value = before.map_or(Ok(Value::Null), |text| serde_json::from_slice(&text))?;
        let workloads = before["workloads"].as_object().cloned().unwrap_or_default();
        let mut versions = before["versions"].as_object().cloned().unwrap_or_default();
        for peer in peers.iter().filter(|peer| peer.log.is_some()) {
            versions.insert(peer.kind.name().to_owned(), peer.kind.version()?.into());
        }
        Ok(Self(json!({
            "date": today(),
            "machine": machine::describe(),
            "versions": versions,
            "workloads": workloads,
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
        self.0["workloads"][name] = json!({
            "title": contest.workload.title(),
            "date": today(),
            "rounds": contest.rounds,
            "seconds": contest.effort.seconds,
            "connections": contest.effort.connections,
            "proxies": proxies,
        });
    }

    /// With a chart beside it.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
        };
        fs::create_dir_all(folder)?;
        write(JSON, serde_json::to_string_pretty(&self.0)? + "\n")?;
        write("end_to_end.svg", chart::draw(&self.0))
    }
}

fn today() -> String {
    Timestamp::now().strftime("%Y-%m-%d").to_string()
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
