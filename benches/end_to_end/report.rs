//! The figures as people read them.

use std::fmt;

use super::contest::Contest;

/// Medians, and how many times as much as each peer the gateway takes.
pub(super) struct Table<'a>(pub &'a Contest);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contest = self.0;
        let figures = contest.figures();
        writeln!(
            f,
            "{} ({}): medians of {} rounds; portcullis to each: median (least–most)",
            contest.workload,
            contest.workload.title(),
            contest.rounds
        )?;
        write!(f, "  {:<11}", "")?;
        for figure in &figures {
            write!(f, "{:>14}", figure.title())?;
        }
        for figure in figures.iter().filter(|figure| figure.compared()) {
            write!(f, "{:>22}", format!("to, {}", figure.title()))?;
        }
        writeln!(f)?;
        for entry in &contest.entries {
            write!(f, "  {:<11}", entry.kind)?;
            for figure in &figures {
                write!(f, "{:>14.*}", figure.decimals(), entry.spread(*figure).median)?;
            }
            for figure in figures.iter().filter(|figure| figure.compared()) {
                let ratio = contest.ratio(entry, *figure).map(|ratio| ratio.show(2));
                write!(f, "{:>22}", ratio.unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
