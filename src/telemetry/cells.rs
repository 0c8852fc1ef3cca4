//! What counts are kept in: cells that are cheap to add to, and are put together only when somebody reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of a histogram's buckets; one more takes what is beyond the last.
pub const BOUNDS: [Duration; 14] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
    Duration::from_secs(60),
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, whoever else does so at the same time.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Adds, on the one thread that ever does: no other core is kept waiting.
    pub fn add_alone(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long things took, in microseconds.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl Histogram {
    /// Notes a duration, whoever else does so at the same time.
    pub fn observe(&self, micros: u64) {
        self.buckets[bucket(micros)].add(1);
        self.sum.add(micros);
    }

    /// Notes a duration, on the one thread that ever does.
    pub fn observe_alone(&self, micros: u64) {
        self.buckets[bucket(micros)].add_alone(1);
        self.sum.add_alone(micros);
    }
}

/// Histograms put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Each bucket alone, not with those below it.
    pub buckets: [u64; BUCKETS],
    pub sum: u64,
}

impl Spread {
    pub fn take_in(&mut self, histogram: &Histogram) {
        for (sum, cell) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += cell.get();
        }
        self.sum += histogram.sum.get();
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn bucket(micros: u64) -> usize {
    const MICROS: [u64; BOUNDS.len()] = {
        let mut micros = [0; BOUNDS.len()];
        let mut place = 0;
        while place < micros.len() {
            micros[place] = BOUNDS[place].as_micros() as u64;
            place += 1;
        }
        micros
    };
    MICROS.partition_point(|bound| *bound < micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (micros, expected) in
            [(0, 0), (500, 0), (501, 1), (1_000, 1), (60_000_000, 13), (60_000_001, 14), (u64::MAX, 14)]
        {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
    }

    #[test]
    fn what_was_observed_is_all_there() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.observe(700);
        one.observe_alone(800);
        other.observe_alone(2_000_000);
        let mut spread = Spread::default();
        spread.take_in(&one);
        spread.take_in(&other);
        assert_eq!((spread.count(), spread.sum, spread.buckets[1]), (3, 2_001_500, 2));
    }
}
