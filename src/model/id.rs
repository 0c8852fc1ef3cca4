//! Identifiers that sort by the time they were given: a prefix and a ULID (26 characters of Crockford's base32,
//! <https://github.com/ulid/spec>).

use std::fmt;
use std::marker::PhantomData;

use ulid::Ulid;

/// An identifier of one kind of thing; `K` keeps kinds apart. In halves, because a number of 128 bits would be aligned
/// to as many wherever there are a million of them.
pub struct Id<K>([u64; 2], PhantomData<fn() -> K>);

/// The bytes of an identifier's text.
pub const LENGTH: usize = 4 + ulid::ULID_LEN;

/// Kinds of thing that have identifiers.
pub trait Prefixed {
    const PREFIX: [u8; 4];
}

/// Marks the identifiers of tokens.
#[derive(Debug)]
pub enum OfToken {}
/// Marks the identifiers of management keys.
#[derive(Debug)]
pub enum OfKey {}
/// Marks the identifiers of leaks and warnings.
#[derive(Debug)]
pub enum OfLeak {}
/// Marks the identifiers of notices.
#[derive(Debug)]
pub enum OfNotice {}

impl Prefixed for OfToken {
    const PREFIX: [u8; 4] = *b"tok_";
}
impl Prefixed for OfKey {
    const PREFIX: [u8; 4] = *b"key_";
}

impl Prefixed for OfLeak {
    const PREFIX: [u8; 4] = *b"lek_";
}
impl Prefixed for OfNotice {
    const PREFIX: [u8; 4] = *b"evt_";
}

pub type TokenId = Id<OfToken>;
pub type KeyId = Id<OfKey>;
pub type LeakId = Id<OfLeak>;
pub type NoticeId = Id<OfNotice>;

impl<K: Prefixed> Id<K> {
    /// The next identifier: later than `last` even where the clock stands still or went back.
    #[must_use]
    pub fn next(last: Option<Self>, now: jiff::Timestamp) -> Self {
        let fresh = Ulid::from_parts(now.as_millisecond().try_into().unwrap_or(0), random());
        let next = match last.map(Self::ulid) {
            Some(last) if fresh <= last => Ulid(last.0.saturating_add(1)),
            _ => fresh,
        };
        Self::of(next)
    }

    /// Reads `text` as written by `Display`; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let prefix = str::from_utf8(&K::PREFIX).ok()?;
        let id = Ulid::from_string(text.strip_prefix(prefix)?).ok()?;
        let id = Self::of(id);
        // The alphabet has look-alikes and case; only the canonical spelling is an identifier.
        (id.text(&mut [0; LENGTH]) == text).then_some(id)
    }

    /// Something that no identifier given so far or later equals: for slots that belong to no token.
    pub const NONE: Self = Self([0, 0], PhantomData);

    /// The text of this identifier, written where the caller has room for it.
    pub fn text<'a>(&self, place: &'a mut [u8; LENGTH]) -> &'a str {
        *place = self.bytes();
        str::from_utf8(place).unwrap_or_default()
    }

    /// The same, for what takes bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; LENGTH] {
        let mut place = [0; LENGTH];
        let [p, r, e, f, digits @ ..] = &mut place;
        [*p, *r, *e, *f] = K::PREFIX;
        self.ulid().array_to_str(digits);
        place
    }

    /// The identifier as two numbers, for keeping many.
    #[must_use]
    pub const fn halves(self) -> [u64; 2] {
        self.0
    }

    #[must_use]
    pub const fn from_halves(halves: [u64; 2]) -> Self {
        Self(halves, PhantomData)
    }

    const fn of(Ulid(id): Ulid) -> Self {
        Self([(id >> 64) as u64, id as u64], PhantomData)
    }

    fn ulid(self) -> Ulid {
        let [high, low] = self.0;
        Ulid(u128::from(high) << 64 | u128::from(low))
    }
}

fn random() -> u128 {
    u128::from(fastrand::u64(..)) << 16 | u128::from(fastrand::u16(..))
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K: Prefixed> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; LENGTH]))
    }
}
impl<K: Prefixed> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_whatever_the_clock_does() {
        let now = jiff::Timestamp::now();
        let mut last = TokenId::next(None, now);
        for step in [0, 0, -5_000, 3, 0] {
            let next = TokenId::next(Some(last), now + jiff::SignedDuration::from_millis(step));
            assert!(next > last && next.to_string() > last.to_string());
            last = next;
        }
        assert_eq!(TokenId::next(None, jiff::Timestamp::MIN).to_string().len(), 30);
    }

    #[test]
    fn only_the_canonical_spelling_parses() {
        let id = TokenId::next(None, jiff::Timestamp::now());
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        assert_eq!(TokenId::parse(&id.to_string().to_lowercase()), None);
        assert_eq!(KeyId::parse(&id.to_string()), None);
        assert_eq!(TokenId::parse("tok_"), None);
    }
}
