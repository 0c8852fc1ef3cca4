//! What requests teach about an upstream: left out after failures in a row, and let in again by one that is answered.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::super::clock;
use crate::board::upstream::Standing;

/// Failures in a row that a target is left out for.
const FAILURES: u32 = 3;
/// How long it is left out: at first, and at most, doubling with each trial that fails.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long one request is waited for that shall show whether the target is back.
const TRIAL: Duration = Duration::from_secs(10);

/// A time that all workers count alike and an atomic can hold: milliseconds, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Self {
        Self::of(clock::now())
    }

    fn of(instant: Instant) -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let since = instant.saturating_duration_since(*START).as_millis();
        Self(u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1))
    }

    fn after(self, pause: Duration) -> u64 {
        self.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Whether a request is the one that shows whether a target is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// There is none to make.
    None,
    Yours,
    /// Another request has just become it.
    Taken,
}

/// What came of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Counted,
    /// The target would be left out if there were another.
    Indispensable,
    /// It is left out for so long.
    Out(Duration),
}

impl Standing {
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Whether it is left out for now.
    pub(super) fn is_out(&self, now: Moment) -> bool {
        self.out_until.load(Ordering::Relaxed) > now.0
    }

    /// Asks to send a request there. Once its pause is over, one request may.
    pub(super) fn try_again(&self, now: Moment) -> Trial {
        let until = self.out_until.load(Ordering::Relaxed);
        if until == 0 || until > now.0 {
            return Trial::None;
        }
        let claim =
            self.out_until.compare_exchange(until, now.after(TRIAL), Ordering::Relaxed, Ordering::Relaxed);
        if claim.is_ok() { Trial::Yours } else { Trial::Taken }
    }

    /// Counts a failure.
    pub(super) fn note_failure(
        &self,
        now: Moment,
        on_trial: bool,
        has_others: impl FnOnce() -> bool,
    ) -> Noted {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = self.out_until.load(Ordering::Relaxed);
        let may_go = if until == 0 { failures >= FAILURES && has_others() } else { on_trial };
        if !may_go {
            return if until == 0 && failures == FAILURES { Noted::Indispensable } else { Noted::Counted };
        }
        let doublings = self.ejections_in_a_row.load(Ordering::Relaxed).min(8);
        let pause = PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        let out =
            self.out_until.compare_exchange(until, now.after(pause), Ordering::Relaxed, Ordering::Relaxed);
        if out.is_err() {
            return Noted::Counted;
        }
        self.ejections_in_a_row.fetch_add(1, Ordering::Relaxed);
        self.ejections.add(1);
        Noted::Out(pause)
    }

    /// Counts an answer; returns whether that ends a row of failures that was worth a word.
    pub(super) fn note_success(&self) -> bool {
        // Nearly always there is nothing to note, and a write would be felt by every worker.
        if self.failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let failures = self.failures.swap(0, Ordering::Relaxed);
        self.ejections_in_a_row.store(0, Ordering::Relaxed);
        self.out_until.swap(0, Ordering::Relaxed) != 0 || failures >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(millis)
    }

    #[test]
    fn pauses_double_until_a_trial_is_answered() {
        let standing = Standing::default();
        for _ in 0..FAILURES - 1 {
            assert_eq!(standing.note_failure(at(1), false, || true), Noted::Counted);
        }
        assert_eq!(standing.note_failure(at(1), false, || true), Noted::Out(PAUSE));
        assert!(standing.is_out(at(5_000)) && !standing.is_healthy());
        // What was under way before and fails now makes it no worse.
        assert_eq!(standing.note_failure(at(100), false, || true), Noted::Counted);
        let mut now = 1;
        for expected in [10, 20, 40, 60, 60] {
            now += 60_000;
            assert_eq!(standing.try_again(at(now)), Trial::Yours);
            assert_eq!(standing.try_again(at(now)), Trial::None);
            assert!(standing.is_out(at(now)));
            assert_eq!(
                standing.note_failure(at(now), true, || true),
                Noted::Out(Duration::from_secs(expected))
            );
        }
        assert!(standing.note_success());
        assert!(standing.is_healthy() && !standing.note_success());
        assert_eq!(standing.try_again(at(now)), Trial::None);
        for _ in 0..FAILURES - 1 {
            standing.note_failure(at(now), false, || true);
        }
        assert_eq!(standing.note_failure(at(now), false, || true), Noted::Out(PAUSE));
    }

    #[test]
    fn the_last_one_stays() {
        let standing = Standing::default();
        let noted: Vec<_> = (0..5).map(|_| standing.note_failure(at(1), false, || false)).collect();
        let expected = [Noted::Counted, Noted::Counted, Noted::Indispensable, Noted::Counted, Noted::Counted];
        assert_eq!(noted, expected);
        assert!(standing.is_healthy() && standing.note_success());
    }

    #[test]
    fn a_trial_without_an_outcome_is_followed_by_another() {
        let standing = Standing::default();
        for _ in 0..FAILURES {
            standing.note_failure(at(1), false, || true);
        }
        assert_eq!(standing.try_again(at(6_000)), Trial::Yours);
        assert_eq!(standing.try_again(at(15_000)), Trial::None);
        assert_eq!(standing.try_again(at(16_001)), Trial::Yours);
    }
}
