//! Instructions, counted by callgrind on a processor of its own. It has no SHA instructions.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::case::Case;

/// The rounds of a case's two runs: the difference is the rounds' own, without what it takes to set them up.
const ROUNDS: [u32; 2] = [1_000, 11_000];

/// Instructions of one round.
pub(super) fn count(case: Case) -> Result<u64> {
    let (few, many) = (whole(case, ROUNDS[0])?, whole(case, ROUNDS[1])?);
    Ok(many.saturating_sub(few) / u64::from(ROUNDS[1] - ROUNDS[0]))
}

/// Instructions of a whole run of this program.
fn whole(case: Case, rounds: u32) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let run = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["rounds", case.name(), &rounds.to_string()])
        .output()
        .context("valgrind cannot be run: is it installed?")?;
    ensure!(run.status.success(), "callgrind failed:\n{}", String::from_utf8_lossy(&run.stderr));
    let counted = std::fs::read_to_string(&out)?;
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).context("no totals")?;
    Ok(total.trim().parse()?)
}
