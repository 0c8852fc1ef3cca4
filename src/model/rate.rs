//! How often a token may be used: `100/1m`, a hundred times in each minute.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Lifetime;

/// The longest period.
const LONGEST: u64 = 366 * 86_400;
/// The largest count: one each nanosecond would be no limit.
const MOST: u32 = 1_000_000;
const NANOS_IN_MILLI: u64 = 1_000_000;

/// Why a rate was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is a count from 1 to {MOST}, `/` and a time of up to 366d (ms, s, m for minutes, h or d), as in `100/1m`"
)]
pub struct InvalidRate;

/// A count of requests in a fixed length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Lifetime,
}

impl Rate {
    /// # Errors
    /// When `text` is no such rate.
    pub fn parse(text: &str) -> Result<Self, InvalidRate> {
        let (count, period) = text.split_once('/').ok_or(InvalidRate)?;
        let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|count| plain && (1..=MOST).contains(count));
        let period = Lifetime::parse(period).map_err(|_| InvalidRate)?;
        let fits = period.fixed().is_some_and(|fixed| !fixed.is_zero() && fixed.as_secs() <= LONGEST);
        Ok(Self { count: count.filter(|_| fits).ok_or(InvalidRate)?, period })
    }

    /// The period, and the share of it that one request uses up, in nanoseconds.
    fn shares(self) -> (u64, u64) {
        let period = self.period.fixed().unwrap_or_default().as_nanos();
        let period = u64::try_from(period).unwrap_or(u64::MAX >> 1);
        (period, (period / u64::from(self.count)).max(1))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period)
    }
}

/// The use that was made of a rate: one number that all workers share (GCRA, as ITU-T I.371 has it). A token that was
/// not used for a whole period may be used as often at once as the rate counts.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    /// When the allowance will be whole again, in nanoseconds of the clock that `admit` is told.
    whole_at: AtomicU64,
}

impl Limiter {
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, whole_at: AtomicU64::new(0) }
    }

    /// The same use of another rate: an edit gives nothing back.
    #[must_use]
    pub fn carried_on(&self, rate: Rate) -> Self {
        Self { rate, whole_at: AtomicU64::new(self.whole_at.load(Ordering::Relaxed)) }
    }

    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request's share; `now` is in milliseconds of a clock that cannot be set.
    ///
    /// # Errors
    /// With the seconds after which another request would pass.
    pub fn admit(&self, now: i64) -> Result<(), u32> {
        let now = now.max(0).unsigned_abs().saturating_mul(NANOS_IN_MILLI);
        let (period, share) = self.rate.shares();
        let latest = now.saturating_add(period);
        let mut seen = self.whole_at.load(Ordering::Relaxed);
        loop {
            // The rate before an edit may have had a longer period.
            let next = seen.clamp(now, latest).saturating_add(share);
            let wait = next.saturating_sub(latest).div_ceil(1_000_000_000);
            let (whole_at, answer) = match u32::try_from(wait).unwrap_or(u32::MAX) {
                0 => (next, Ok(())),
                seconds => (seen.min(latest), Err(seconds)),
            };
            match self.whole_at.compare_exchange_weak(seen, whole_at, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return answer,
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limiter(rate: &str) -> Limiter {
        Limiter::new(Rate::parse(rate).unwrap())
    }

    #[test]
    fn rates_read_as_written() {
        for text in ["100/1m", "1/250ms", "1000000/366d"] {
            assert_eq!(Rate::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "100",
            "/1m",
            "100/",
            "0/1m",
            "-1/1m",
            "+1/1m",
            "1.5/1m",
            "100/0s",
            "100/1mo",
            "100/1y",
            "100/367d",
            "1000001/1m",
            "100 / 1m",
            "100/m",
            "99999999999/1m",
        ] {
            assert_eq!(Rate::parse(bad), Err(InvalidRate), "{bad:?}");
        }
    }

    #[test]
    fn the_whole_count_may_come_at_once_and_comes_back_bit_by_bit() {
        let limiter = limiter("3/1m");
        let noon = 1_767_225_600_000;
        for _ in 0..3 {
            assert_eq!(limiter.admit(noon), Ok(()));
        }
        assert_eq!(limiter.admit(noon), Err(20));
        assert_eq!(limiter.admit(noon + 19_999), Err(1));
        assert_eq!(limiter.admit(noon + 20_000), Ok(()));
        assert_eq!(limiter.admit(noon + 20_000), Err(20));
        for _ in 0..3 {
            assert_eq!(limiter.admit(noon + 120_000), Ok(()));
        }
        assert!(limiter.admit(noon + 120_000).is_err());
    }

    #[test]
    fn an_edit_gives_nothing_back_and_locks_nobody_out_for_longer_than_a_period() {
        let used = limiter("1/1h");
        assert_eq!(used.admit(0), Ok(()));
        let shorter = used.carried_on(Rate::parse("1/1m").unwrap());
        assert_eq!(shorter.admit(0), Err(60));
        assert_eq!(shorter.admit(59_999), Err(1));
        assert_eq!(shorter.admit(60_000), Ok(()));
    }

    proptest! {
        /// In no window of one period do more than twice the count pass, and of an even flow at the rate all do.
        #[test]
        fn a_window_holds_what_the_rate_says(count in 1_u32..50, steps in proptest::collection::vec(0_i64..400, 1..300)) {
            let limiter = limiter(&format!("{count}/1s"));
            let mut now = 1_767_225_600_000;
            let mut passed = Vec::new();
            for step in steps {
                now += step;
                if limiter.admit(now).is_ok() {
                    passed.push(now);
                }
            }
            for (place, start) in passed.iter().enumerate() {
                let within = passed[place..].iter().take_while(|at| **at < start + 1000).count();
                prop_assert!(within <= 2 * count as usize);
            }
        }
    }
}
