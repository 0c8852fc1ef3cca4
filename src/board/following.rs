//! How the follower fares: whether what the gateway reads is what the store holds.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::telemetry::Counter;

/// Posted by the follower, read by whoever asks for readiness.
#[derive(Debug)]
pub struct Following {
    begun: Instant,
    /// When the index last held all that the store did, in milliseconds since the beginning.
    current: AtomicU64,
    failing: AtomicBool,
    /// Last uses that are not on disk after the last attempt to write them there.
    pub unwritten_uses: AtomicU64,
    pub failed_flushes: Counter,
    /// When last uses were last written down, in Unix milliseconds; 0: never yet.
    pub flushed: AtomicI64,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            current: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            unwritten_uses: AtomicU64::new(0),
            failed_flushes: Counter::default(),
            flushed: AtomicI64::new(0),
        }
    }
}

impl Following {
    /// The feed was read to its end, beginning at `as_of`.
    pub fn caught_up(&self, as_of: Instant) {
        let since = as_of.saturating_duration_since(self.begun);
        self.current.fetch_max(since.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }

    /// The feed could not be read.
    pub fn failed(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    /// Whether the last attempt to read the feed failed.
    #[must_use]
    pub fn failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// How long ago the index was last known to hold everything.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let current = Duration::from_millis(self.current.load(Ordering::Relaxed));
        now.saturating_duration_since(self.begun).saturating_sub(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_counts_from_the_beginning_of_the_last_look() {
        let following = Following::default();
        let later = |seconds| following.begun + Duration::from_secs(seconds);
        assert_eq!(following.age(later(3)), Duration::from_secs(3));
        following.caught_up(later(4));
        following.failed();
        assert!(following.failing());
        assert_eq!(following.age(later(9)), Duration::from_secs(5));
        following.caught_up(later(8));
        following.caught_up(later(2));
        assert_eq!((following.age(later(9)), following.failing()), (Duration::from_secs(1), false));
        assert_eq!(following.age(later(1)), Duration::ZERO);
    }
}
