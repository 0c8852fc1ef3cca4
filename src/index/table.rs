//! Tokens by their digests, in parts so that a change of one holds up few readers. A part that grows is copied while it is
//! read, and only then exchanged.

use std::array;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;

use super::slot::{self, Slot};
use super::slots::Slots;
use super::{EncodedLabel, Identity, Restrictions};
use crate::credential::Digest;

/// A digest's last byte names its part. Few enough that each is larger than a large page where tokens are many.
const PARTS: usize = 64;

/// The table. Whatever is returned is a copy: nothing of it stays locked.
#[derive(Debug)]
pub(super) struct Table {
    parts: Box<[RwLock<Part>; PARTS]>,
    /// Held by whoever changes anything: what is copied must not change meanwhile.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Part {
    slots: Slots,
    /// Of tokens with more to them than has a place in a slot.
    rare: HashMap<Digest, Rare, RandomState>,
}

#[derive(Debug)]
struct Rare {
    label: EncodedLabel,
    restrictions: Option<Arc<Restrictions>>,
}

impl Table {
    #[inline]
    pub(super) fn get(&self, digest: &Digest) -> Option<Identity> {
        self.read(digest).get(digest)
    }

    /// Returns what was there before.
    pub(super) fn put(&self, digest: &Digest, identity: Identity) -> Option<Identity> {
        let _alone = self.alone();
        if self.read(digest).slots.is_full() {
            grow(self.part(digest), 0);
        }
        let mut part = self.write(digest);
        let before = part.get(digest);
        let (slot, whole) = slot::write(digest, &identity);
        match part.slots.find_mut(digest) {
            Some(there) => *there = slot,
            None => part.slots.insert(&slot),
        }
        if !whole {
            let Identity { label, restrictions, .. } = identity;
            part.rare.insert(*digest, Rare { label, restrictions });
        } else if before.is_some() {
            part.rare.remove(digest);
        }
        before
    }

    /// Returns whether it was there and not revoked.
    pub(super) fn revoke(&self, digest: &Digest) -> bool {
        let _alone = self.alone();
        self.write(digest).slots.find_mut(digest).is_some_and(slot::revoke)
    }

    /// Makes room for so many more: to grow step by step takes longer than to fill.
    pub(super) fn reserve(&self, tokens: usize) {
        let _alone = self.alone();
        for part in self.parts.iter() {
            let held = part.read().unwrap_or_else(PoisonError::into_inner).slots.len();
            grow(part, held + tokens / PARTS);
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        let _alone = self.alone();
        self.write(digest).remove(digest);
    }

    pub(super) fn retain(&self, mut keep: impl FnMut(&Digest, &Identity) -> bool) {
        let _alone = self.alone();
        for part in self.parts.iter() {
            let read = part.read().unwrap_or_else(PoisonError::into_inner);
            let refused = |slot: &Slot| {
                let digest = slot::digest(slot);
                read.whole(slot).is_some_and(|identity| !keep(&digest, &identity)).then_some(digest)
            };
            let gone: Vec<_> = read.slots.iter().filter_map(refused).collect();
            drop(read);
            for digest in &gone {
                part.write().unwrap_or_else(PoisonError::into_inner).remove(digest);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().unwrap_or_else(PoisonError::into_inner).slots.len()).sum()
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, digest: &Digest) -> RwLockReadGuard<'_, Part> {
        self.part(digest).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, digest: &Digest) -> RwLockWriteGuard<'_, Part> {
        self.part(digest).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, digest: &Digest) -> &RwLock<Part> {
        let [.., last] = digest.as_bytes();
        &self.parts[usize::from(*last) % PARTS]
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { parts: Box::new(array::from_fn(|_| RwLock::default())), changing: Mutex::default() }
    }
}

impl Part {
    #[inline]
    fn get(&self, digest: &Digest) -> Option<Identity> {
        self.whole(self.slots.find(digest)?)
    }

    /// With what lies beside the slot.
    #[inline]
    fn whole(&self, slot: &Slot) -> Option<Identity> {
        let (identity, more) = slot::read(slot)?;
        if !more {
            return Some(identity);
        }
        // A token whose rules were lost would be one without rules.
        let rare = self.rare.get(&slot::digest(slot))?;
        let (label, restrictions) = (rare.label.clone(), rare.restrictions.clone());
        Some(Identity { label, restrictions, ..identity })
    }

    fn remove(&mut self, digest: &Digest) {
        self.slots.remove(digest);
        self.rare.remove(digest);
    }
}

/// Readers wait for the exchange only, not for the copying.
fn grow(part: &RwLock<Part>, tokens: usize) {
    let grown = part.read().unwrap_or_else(PoisonError::into_inner).slots.grown(tokens);
    let mut write = part.write().unwrap_or_else(PoisonError::into_inner);
    let before = std::mem::replace(&mut write.slots, grown);
    drop(write);
    drop(before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Index, NEVER, Writer};
    use crate::model::{OnPublish, Rate, Rules, TokenId};

    fn plain(writer: &Writer) -> Identity {
        Identity {
            id: TokenId::NONE,
            app: None,
            environment: writer.name("production"),
            expires: NEVER,
            minted_under: 0,
            on_publish: OnPublish::Keep,
            revoked: false,
            label: "".into(),
            restrictions: None,
        }
    }

    #[test]
    fn half_a_digest_opens_nothing() {
        let (index, writer) = Index::new();
        let identity = plain(&writer);
        let digest = Digest::from_bytes([7; 32]);
        assert!(writer.put(digest, identity.clone()).is_none());
        let mut other = [7; 32];
        other[31] = 8;
        assert!(index.get(&digest).is_some() && index.get(&Digest::from_bytes(other)).is_none());
        assert!(writer.put(digest, identity).is_some() && index.len() == 1);
        let mut seen = Vec::new();
        writer.retain(|digest, _| {
            seen.push(*digest);
            false
        });
        assert!(seen == [digest] && index.is_empty());
    }

    #[test]
    fn what_has_no_place_in_a_slot_is_kept_beside_it() {
        let (index, writer) = Index::new();
        let rules = Rules { rate: Rate::parse("1/1h").ok(), ..Rules::default() };
        let digest = |number: u32| {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&number.to_le_bytes());
            Digest::from_bytes(digest)
        };
        let label = "a label that is longer than most";
        for number in 0..1_000 {
            let restrictions = writer.restrictions(&digest(number), rules.clone());
            let identity = Identity { label: label.into(), restrictions, ..plain(&writer) };
            assert!(writer.put(digest(number), identity).is_none());
        }
        let found = index.get(&digest(999)).unwrap();
        assert!(found.label == label.into() && found.restrictions.unwrap().rules == rules);
        let before = writer.put(digest(999), plain(&writer)).unwrap();
        assert!(before.label == label.into() && before.restrictions.is_some());
        let now = index.get(&digest(999)).unwrap();
        assert!(now.label.as_bytes().is_empty() && now.restrictions.is_none());
        assert!(writer.revoke(&digest(7)) && index.get(&digest(7)).unwrap().revoked);
        assert_eq!(index.get(&digest(7)).unwrap().label, label.into());
        writer.remove(&digest(7));
        assert!(!writer.revoke(&digest(7)) && index.get(&digest(7)).is_none() && index.len() == 999);
    }

    #[test]
    fn tokens_are_found_however_the_table_grew() {
        let (index, writer) = Index::new();
        let tokens: Vec<_> = (0..20_000)
            .map(|_| {
                let mut digest = [0; 32];
                fastrand::fill(&mut digest);
                Digest::from_bytes(digest)
            })
            .collect();
        // Some before room is made, some within it, some beyond.
        for (number, digest) in tokens.iter().enumerate() {
            if number == 5_000 {
                writer.reserve(10_000);
            }
            writer.put(*digest, plain(&writer));
        }
        assert!(tokens.iter().all(|digest| index.get(digest).is_some()) && index.len() == tokens.len());
    }
}
