//! The wall clock as tokens are judged by it: one for all workers, for what one of them saw expired must not be alive
//! on another.

use std::sync::atomic::{AtomicI64, Ordering};

/// A step back of the wall clock up to this revives nothing; a larger one is believed. In milliseconds.
const STEP_BACK: i64 = 60 * 60 * 1000;

/// The wall clock, which does not go back by less than an hour.
#[derive(Debug)]
pub struct WallClock {
    /// The latest time seen, in Unix milliseconds.
    seen: AtomicI64,
}

impl Default for WallClock {
    fn default() -> Self {
        Self { seen: AtomicI64::new(i64::MIN) }
    }
}

impl WallClock {
    /// Now, in Unix milliseconds.
    pub fn now(&self) -> i64 {
        self.judge(jiff::Timestamp::now().as_millisecond())
    }

    fn judge(&self, wall: i64) -> i64 {
        let seen = self.seen.load(Ordering::Relaxed);
        if wall == seen {
            return wall;
        }
        if wall > seen {
            self.seen.fetch_max(wall, Ordering::Relaxed);
            return wall;
        }
        if seen - wall <= STEP_BACK {
            return seen;
        }
        // Whoever notices first says so.
        if self.seen.compare_exchange(seen, wall, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!("the clock was set back by {} s: tokens may be valid again", (seen - wall) / 1000);
        }
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_step_back_is_not_believed_and_a_large_one_is() {
        let clock = WallClock::default();
        let noon = 1_000 * STEP_BACK;
        assert_eq!(clock.judge(noon), noon);
        assert_eq!(clock.judge(noon - STEP_BACK), noon);
        assert_eq!(clock.judge(noon + 1), noon + 1);
        assert_eq!(clock.judge(noon - STEP_BACK), noon - STEP_BACK);
        assert_eq!(clock.judge(noon - STEP_BACK - 1), noon - STEP_BACK);
    }
}
