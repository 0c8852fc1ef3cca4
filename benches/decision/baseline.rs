//! The counts that were recorded last: a change of the code that makes the decision dearer is to be seen as one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::case::Case;

/// What may come on top without a word: compilers differ by so much.
const TOLERATED: f64 = 0.05;

/// Instructions of each case.
#[derive(Default)]
pub(super) struct Baseline(BTreeMap<String, u64>);

impl Baseline {
    /// Of the repository; empty where there is none yet.
    pub(super) fn read() -> Result<Self> {
        match fs::read_to_string(path()) {
            Ok(text) => Ok(Self(serde_json::from_str(&text).context("the recorded counts cannot be read")?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn write(&self) -> Result<()> {
        fs::create_dir_all(path().with_file_name(""))?;
        Ok(fs::write(path(), serde_json::to_string_pretty(&self.0)? + "\n")?)
    }

    pub(super) fn get(&self, case: Case) -> Option<u64> {
        self.0.get(case.name()).copied()
    }

    pub(super) fn set(&mut self, case: Case, instructions: u64) {
        self.0.insert(case.name().to_owned(), instructions);
    }

    /// The cases that take more than they did.
    pub(super) fn grown(&self, before: &Self) -> Vec<&'static str> {
        let grew = |case: &Case| match (before.get(*case), self.get(*case)) {
            (Some(before), Some(now)) => growth(before, now) > TOLERATED,
            _ => false,
        };
        Case::ALL.into_iter().filter(grew).map(Case::name).collect()
    }
}

/// By what part of itself a count has grown.
pub(super) fn growth(before: u64, now: u64) -> f64 {
    now as f64 / before as f64 - 1.0
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "benches", "results", "decision.json"].iter().collect()
}
