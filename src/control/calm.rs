//! Whether the wall clock can be believed enough to forget by it: what is forgotten does not come back when a clock that
//! ran ahead is set right.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The most that the wall clock may gain on the time that passed.
const LEAP: Duration = Duration::from_secs(60 * 60);
/// How long it is doubted once it gained more.
const DOUBT: Duration = Duration::from_secs(24 * 60 * 60);

/// The two clocks as they last stood.
#[derive(Debug)]
pub(super) struct Calm {
    wall: Timestamp,
    monotonic: Instant,
    /// Since when, or from when, there is no doubt.
    from: Instant,
}

impl Calm {
    pub(super) const fn new(wall: Timestamp, monotonic: Instant) -> Self {
        Self { wall, monotonic, from: monotonic }
    }

    /// Takes how the clocks stand now; false for a day after the wall clock went ahead.
    pub(super) fn lasts(&mut self, wall: Timestamp, monotonic: Instant) -> bool {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let most = SignedDuration::try_from(passed + LEAP).unwrap_or(SignedDuration::MAX);
        let ahead = wall.duration_since(self.wall) > most;
        (self.wall, self.monotonic) = (wall, monotonic);
        if ahead {
            tracing::warn!("the clock went ahead: for a day, no ended token is forgotten");
            self.from = monotonic + DOUBT;
        }
        monotonic >= self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_is_doubted_for_a_day_and_steps_are_not() {
        let (wall, start) = (Timestamp::UNIX_EPOCH, Instant::now());
        let hours = |count: i64| SignedDuration::from_hours(count);
        let later = |count: u64| start + Duration::from_secs(count * 3600);
        let mut calm = Calm::new(wall, start);
        assert!(calm.lasts(wall + hours(1), later(1)));
        assert!(calm.lasts(wall - hours(5), later(2)), "back is no danger");
        assert!(!calm.lasts(wall + hours(24 * 365), later(3)));
        assert!(!calm.lasts(wall + hours(24 * 365 + 23), later(26)));
        assert!(calm.lasts(wall + hours(24 * 365 + 24), later(27)));
    }
}
