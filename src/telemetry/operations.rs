//! What was asked of something slow that may fail, such as a disk.

use std::time::Instant;

use super::cells::{Counter, Histogram};

/// Reads and writes of a store: how long they took, and how many failed.
#[derive(Debug, Default)]
pub struct Operations {
    pub reads: Operation,
    pub writes: Operation,
}

/// One kind of operation.
#[derive(Debug, Default)]
pub struct Operation {
    pub duration: Histogram,
    pub errors: Counter,
}

impl Operation {
    /// Notes an operation that began at `began` and has just ended.
    pub fn ended(&self, began: Instant, failed: bool) {
        self.duration.observe(began.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
        if failed {
            self.errors.add(1);
        }
    }
}
