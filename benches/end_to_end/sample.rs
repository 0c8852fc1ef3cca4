//! What a turn tells, and what many of them tell together.

/// A thing that is measured. Less is better of all but [`Figure::Rate`] and [`Figure::Scaling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// CPU time for each request, in microseconds.
    Cpu,
    /// Requests a second.
    Rate,
    /// Times to an answer, in microseconds.
    P50,
    P99,
    /// Resident after the turn, in MiB.
    Memory,
    /// Resident before the first request, in MiB.
    AtStart,
    /// Resident for each idle connection, in KiB.
    PerConnection,
    PerTlsConnection,
    /// How many times as many requests two workers can serve as one.
    Scaling,
    /// Times to an answer over so few connections, in microseconds.
    P99Of4,
    P99Of8,
    P99Of16,
    /// Times to an answer beyond the app's own, in microseconds.
    Added50,
    Added99,
    Added999,
}

impl Figure {
    /// Its name where programs read it.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_us_per_request",
            Self::Rate => "requests_per_second",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::Memory => "rss_mib",
            Self::AtStart => "rss_at_start_mib",
            Self::PerConnection => "kib_per_connection",
            Self::PerTlsConnection => "kib_per_tls_connection",
            Self::Scaling => "two_workers_to_one",
            Self::P99Of4 => "p99_us_of_4_connections",
            Self::P99Of8 => "p99_us_of_8_connections",
            Self::P99Of16 => "p99_us_of_16_connections",
            Self::Added50 => "added_p50_us",
            Self::Added99 => "added_p99_us",
            Self::Added999 => "added_p99_9_us",
        }
    }

    /// Its name where people read it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU µs/req",
            Self::Rate => "req/s",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::Memory => "RSS MiB",
            Self::AtStart => "start MiB",
            Self::PerConnection => "KiB each",
            Self::PerTlsConnection => "KiB each TLS",
            Self::Scaling => "× one",
            Self::P99Of4 => "p99 of 4",
            Self::P99Of8 => "p99 of 8",
            Self::P99Of16 => "p99 of 16",
            Self::Added50 => "+p50 µs",
            Self::Added99 => "+p99 µs",
            Self::Added999 => "+p99.9 µs",
        }
    }

    pub(super) const fn decimals(self) -> usize {
        match self {
            Self::Scaling => 2,
            Self::Cpu | Self::Memory | Self::AtStart | Self::PerConnection | Self::PerTlsConnection => 1,
            _ => 0,
        }
    }

    /// Whether the ratio to a peer's is shown to people. Programs get all that there are.
    pub(super) const fn compared(self) -> bool {
        !matches!(self, Self::Rate | Self::P50 | Self::Memory | Self::AtStart) && self.has_ratio()
    }

    /// What is added may be nothing or less, and then a ratio says nothing.
    pub(super) const fn has_ratio(self) -> bool {
        !matches!(self, Self::Added50 | Self::Added99 | Self::Added999)
    }
}

/// The figures of one turn.
#[derive(Clone, Debug)]
pub(super) struct Sample(pub Vec<(Figure, f64)>);

impl Sample {
    pub(super) fn get(&self, figure: Figure) -> f64 {
        self.0.iter().find(|(known, _)| *known == figure).map_or(f64::NAN, |(_, value)| *value)
    }
}

/// The middle and the ends of some figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Spread {
    pub(super) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let median =
            if sorted.len() % 2 == 1 { at(middle) } else { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 };
        Self { least: at(0), median, most: at(sorted.len().wrapping_sub(1)) }
    }

    pub(super) fn show(&self, places: usize) -> String {
        format!("{:.places$} ({:.places$}–{:.places$})", self.median, self.least, self.most)
    }
}
