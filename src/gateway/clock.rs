//! The time as this worker last looked at it. Reading the system's clock a dozen times a request costs more than it
//! tells: it is read where bytes arrive and on each tick, and everything else takes what was read.
//!
//! What ends by the calendar is judged by the wall clock, what is counted in a length of time by one that cannot be set.

use std::cell::Cell;

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

/// The time of the last look: at most a tick ago while anything is in flight.
pub(super) fn now() -> Instant {
    LAST.get()
}
