//! The time as this worker last looked at it. Reading the system's clock a dozen times a request costs more than it
//! tells: it is read where bytes arrive and on each tick, and everything else takes what was read.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static LAST: Cell<Instant> = Cell::new(Instant::now());
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
