//! The time as this worker last looked at it. Reading the system's clock a dozen times a request costs more than it
//! tells: it is read where bytes arrive and on each tick, and everything else takes what was read.
//!
//! What ends by the calendar is judged by the wall clock, what is counted in a length of time by one that cannot be set.

use std::cell::Cell;
use std::time::SystemTime;

use tokio::time::Instant;

thread_local! {
    static LAST: Cell<Instant> = Cell::new(Instant::now());
}

/// A moment by both clocks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since 1970, as far as the wall clock can be trusted.
    pub wall: i64,
    /// Since some moment that is the same for all workers.
    pub steady: i64,
}

/// Reads the clock.
pub(super) fn look() -> Instant {
    let now = Instant::now();
    LAST.set(now);
    now
}

/// Reads the wall clock: microseconds since 1970.
pub(super) fn wall() -> i64 {
    let micros = |length: std::time::Duration| i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

/// The time of the last look: at most a tick ago while anything is in flight.
pub(super) fn now() -> Instant {
    LAST.get()
}
