//! What was seen to have ended, so that a wall clock that is set back a little revives none of it, and harms nothing
//! else. Times are Unix milliseconds.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use super::{KeyId, TokenId};

/// A step back of the wall clock up to this revives nothing; a larger one is believed.
const STEP_BACK: i64 = 60 * 60 * 1000;

/// Something that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mortal {
    Token(TokenId),
    Key(KeyId),
}

impl Mortal {
    /// Reads `text` as written by `Display`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        TokenId::parse(text).map(Self::Token).or_else(|| KeyId::parse(text).map(Self::Key))
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
        }
    }
}

/// Something, and when it was first seen to have ended.
pub type Sighting = (Mortal, i64);

/// What is to be written down, and what may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sightings {
    pub new: Vec<Sighting>,
    /// Only those after the first and up to the second still count.
    pub between: (i64, i64),
}

/// For whatever was refused because its time was over, time does not go back. There is one, which all that judge by the
/// wall clock share.
#[derive(Debug)]
pub struct Hindsight {
    /// The latest time told.
    latest: AtomicI64,
    /// The latest time at which anything was seen to have ended: from then on nothing needs looking up.
    horizon: AtomicI64,
    seen: RwLock<Seen>,
}

/// Grows with what is presented after its end, and holds none of it for longer than an hour.
#[derive(Debug, Default)]
struct Seen {
    at: HashMap<Mortal, i64>,
    unsaved: Vec<Sighting>,
    /// Something was dropped since the last call for what is to be saved.
    dropped: bool,
}

impl Default for Hindsight {
    fn default() -> Self {
        Self { latest: AtomicI64::new(i64::MIN), horizon: AtomicI64::new(i64::MIN), seen: RwLock::default() }
    }
}

impl Hindsight {
    /// Takes what an earlier run saw.
    pub fn restore(&self, sightings: impl IntoIterator<Item = Sighting>) {
        let mut seen = self.write();
        for (of, at) in sightings {
            seen.at.insert(of, at);
            self.latest.fetch_max(at, Ordering::Relaxed);
            self.horizon.fetch_max(at, Ordering::Relaxed);
        }
    }

    /// Takes what the wall clock says now. Where that went back too far to be doubted, it is believed.
    pub fn tell(&self, now: i64) {
        let latest = self.latest.load(Ordering::Relaxed);
        if now > latest {
            self.latest.fetch_max(now, Ordering::Relaxed);
        }
        let back = latest.saturating_sub(now);
        // Whoever notices first says so.
        if back > STEP_BACK
            && self.latest.compare_exchange(latest, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!("the clock was set back by {} s: tokens and keys may be valid again", back / 1000);
            let mut seen = self.write();
            *seen = Seen { dropped: true, ..Seen::default() };
            self.horizon.store(i64::MIN, Ordering::Relaxed);
        }
    }

    /// Notes that something which ended at `end` was seen so at `now`.
    pub fn saw(&self, of: Mortal, end: i64, now: i64) {
        // What ended that long ago could only live again by a step that is believed.
        if now.saturating_sub(end) >= STEP_BACK
            || self.seen.read().unwrap_or_else(PoisonError::into_inner).at.contains_key(&of)
        {
            return;
        }
        let mut seen = self.write();
        // Not by a clock that was found wrong meanwhile.
        if now <= self.latest.load(Ordering::Relaxed) && seen.at.insert(of, now).is_none() {
            seen.unsaved.push((of, now));
            self.horizon.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Whether everything is judged by what the clock says now: nothing was seen to have ended later.
    #[must_use]
    pub fn is_moot(&self, now: i64) -> bool {
        now >= self.horizon.load(Ordering::Relaxed)
    }

    /// The time by which something is to be judged: now, or when it was seen to have ended.
    #[must_use]
    pub fn judged_at(&self, of: Mortal, now: i64) -> i64 {
        if self.is_moot(now) {
            return now;
        }
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.at.get(&of).map_or(now, |at| now.max(*at))
    }

    /// What changed since the last call, if anything did.
    pub fn changes(&self) -> Option<Sightings> {
        let latest = self.latest.load(Ordering::Relaxed);
        let mut seen = self.write();
        let before = seen.at.len();
        seen.at.retain(|_, at| latest.saturating_sub(*at) < STEP_BACK);
        if seen.at.len() == before && !seen.dropped && seen.unsaved.is_empty() {
            return None;
        }
        seen.dropped = false;
        let new = std::mem::take(&mut seen.unsaved);
        Some(Sightings { new, between: (latest.saturating_sub(STEP_BACK), latest) })
    }

    /// Takes back what could not be written down.
    pub fn unsaved(&self, sightings: Sightings) {
        let mut seen = self.write();
        seen.dropped = true;
        for (of, at) in sightings.new {
            if seen.at.get(&of) == Some(&at) {
                seen.unsaved.push((of, at));
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Seen> {
        self.seen.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = STEP_BACK;
    const NOON: i64 = 1_000 * HOUR;

    fn mortal() -> Mortal {
        Mortal::Token(TokenId::next(None, jiff::Timestamp::now()))
    }

    #[test]
    fn a_small_step_back_revives_what_was_seen_and_holds_up_nothing_else() {
        let (hindsight, seen, other) = (Hindsight::default(), mortal(), mortal());
        hindsight.tell(NOON);
        hindsight.saw(seen, NOON - 1, NOON);
        for back in [0, 1, HOUR / 2, HOUR] {
            hindsight.tell(NOON - back);
            assert_eq!(hindsight.judged_at(seen, NOON - back), NOON);
            assert_eq!(hindsight.judged_at(other, NOON - back), NOON - back);
        }
        assert_eq!(hindsight.judged_at(seen, NOON + 1), NOON + 1);
    }

    #[test]
    fn a_large_step_back_is_believed() {
        let (hindsight, seen) = (Hindsight::default(), mortal());
        hindsight.tell(NOON);
        hindsight.saw(seen, NOON, NOON);
        hindsight.changes();
        let now = NOON - HOUR - 1;
        hindsight.tell(now);
        assert_eq!(hindsight.judged_at(seen, now), now);
        hindsight.saw(seen, NOON, NOON);
        assert_eq!(hindsight.judged_at(seen, now), now, "seen by a clock that was found wrong");
        assert_eq!(hindsight.changes(), Some(Sightings { new: Vec::new(), between: (now - HOUR, now) }));
    }

    #[test]
    fn nothing_is_kept_for_longer_than_it_matters() {
        let (hindsight, fresh, old) = (Hindsight::default(), mortal(), mortal());
        hindsight.tell(NOON);
        hindsight.saw(fresh, NOON, NOON);
        hindsight.saw(fresh, NOON, NOON);
        hindsight.saw(old, NOON - HOUR, NOON);
        let changes = hindsight.changes().unwrap();
        assert_eq!(changes.new, [(fresh, NOON)]);
        assert_eq!(hindsight.changes(), None);
        hindsight.unsaved(changes.clone());
        assert_eq!(hindsight.changes(), Some(changes));
        hindsight.tell(NOON + HOUR);
        assert_eq!(hindsight.changes().unwrap().between, (NOON, NOON + HOUR));
        assert!(hindsight.write().at.is_empty());
    }

    #[test]
    fn an_earlier_run_is_remembered() {
        let (hindsight, seen) = (Hindsight::default(), mortal());
        hindsight.restore([(seen, NOON)]);
        hindsight.tell(NOON - HOUR);
        assert_eq!(hindsight.judged_at(seen, NOON - HOUR), NOON);
        hindsight.tell(NOON - HOUR - 1);
        assert_eq!(hindsight.judged_at(seen, NOON - HOUR - 1), NOON - HOUR - 1);
    }

    #[test]
    fn names_read_as_written() {
        let key = Mortal::Key(KeyId::next(None, jiff::Timestamp::now()));
        for mortal in [mortal(), key] {
            assert_eq!(Mortal::parse(&mortal.to_string()), Some(mortal));
        }
        assert_eq!(Mortal::parse("boss"), None);
    }
}
