//! What the decision costs: instructions, counted by callgrind, and allocations, counted here. Both are the same on
//! a busy machine as on a quiet one, so they can be compared from commit to commit; a recorded count that grows by more
//! than a twentieth is a failure.
//!
//! With `times`, how long it takes among ten thousand tokens and among ten million.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod baseline;
mod callgrind;
mod case;
mod times;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use self::baseline::Baseline;
use self::case::{Bench, Case, run};

#[derive(Parser)]
struct Arguments {
    /// Writes the counts down for later runs to be compared with.
    #[arg(long)]
    record: bool,
    /// Cargo adds this.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
enum Role {
    /// How long the decision takes among few tokens and among many.
    Times {
        #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000, 10_000_000])]
        counts: Vec<usize>,
        /// A folder for the figures as JSON.
        #[arg(long, value_name = "FOLDER")]
        record: Option<PathBuf>,
    },
    /// What this program does under callgrind.
    #[command(hide = true)]
    Rounds { case: String, rounds: u32 },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Rounds { case, rounds }) => {
            let case = Case::ALL.into_iter().find(|known| known.name() == case).context("no such case")?;
            run(&mut Bench::new(case)?, rounds);
            Ok(())
        }
        Some(Role::Times { counts, record }) => times::run(&counts, record.as_deref()),
        None => count(arguments.record),
    }
}

fn count(record: bool) -> Result<()> {
    let recorded = Baseline::read()?;
    let mut counted = Baseline::default();
    println!("{:<16}{:>14}{:>12}{:>10}{:>14}", "case", "instructions", "recorded", "growth", "allocations");
    for case in Case::ALL {
        let mut bench = Bench::new(case)?;
        run(&mut bench, 1);
        let allocated = allocation_counter::measure(|| run(&mut bench, 1)).count_total;
        let instructions = callgrind::count(case)?;
        counted.set(case, instructions);
        let before = recorded.get(case);
        let growth = before.map(|before| baseline::growth(before, instructions));
        println!(
            "{:<16}{instructions:>14}{:>12}{:>10}{allocated:>14}",
            case.name(),
            before.map(|before| before.to_string()).unwrap_or_default(),
            growth.map(|growth| format!("{:+.1} %", growth * 100.0)).unwrap_or_default(),
        );
        let free = matches!(case, Case::Header | Case::Bearer);
        ensure!(!free || allocated == 0, "the decision allocates in the {} form", case.name());
    }
    if let (Some(header), Some(digest)) = (counted.get(Case::Header), counted.get(Case::Digest)) {
        println!("\nthe header form besides its SHA-256: {} instructions", header.saturating_sub(digest));
    }
    if record {
        counted.write()?;
    }
    let grown = counted.grown(&recorded);
    ensure!(record || grown.is_empty(), "grown by more than a twentieth: {}", grown.join(", "));
    Ok(())
}
