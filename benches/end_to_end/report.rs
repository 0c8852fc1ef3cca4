//! The figures as people read them.

use std::fmt;

use super::load::{Sample, Workload};

/// One workload's figures; the first name is the one that the others are compared with.
pub(super) struct Table<'a> {
    pub workload: Workload,
    pub names: &'a [&'static str],
    /// By round, each in the order of the names.
    pub rounds: &'a [Vec<Sample>],
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: medians of {} rounds, with least and most", self.workload, self.rounds.len())?;
        writeln!(
            f,
            "  {:<12}{:>22}{:>12}{:>10}{:>10}{:>10}{:>32}",
            "",
            "CPU µs/request",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "RSS MiB",
            "portcullis takes so many times"
        )?;
        for (place, name) in self.names.iter().enumerate() {
            let of = |figure: fn(&Sample) -> f64| {
                Spread::of(self.rounds.iter().filter_map(|round| round.get(place)).map(figure))
            };
            let ratios =
                self.rounds.iter().filter_map(|round| Some(round.first()?.cpu / round.get(place)?.cpu));
            let ratio = if place == 0 { String::new() } else { Spread::of(ratios).show(2) };
            writeln!(
                f,
                "  {name:<12}{:>22}{:>12.0}{:>10.0}{:>10.0}{:>10.1}{ratio:>32}",
                of(|sample| sample.cpu).show(1),
                of(|sample| sample.requests_per_second).median,
                of(|sample| sample.p50).median,
                of(|sample| sample.p99).median,
                of(|sample| sample.rss).median,
            )?;
        }
        Ok(())
    }
}

/// The middle and the ends of some figures.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let median =
            if sorted.len() % 2 == 1 { at(middle) } else { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 };
        Self { least: at(0), median, most: at(sorted.len().wrapping_sub(1)) }
    }

    fn show(&self, places: usize) -> String {
        format!("{:.places$} ({:.places$}–{:.places$})", self.median, self.least, self.most)
    }
}
