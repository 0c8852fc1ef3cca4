//! A hash table whose places hold the tokens themselves: where a digest's first bytes point to, or in one of the next
//! places. Among millions every step from one piece of memory to another takes longer than all the rest of a decision's
//! work, so there is one.

use super::memory::Memory;
use super::slot::{self, SIZE, Slot};
use crate::credential::Digest;

#[derive(Debug, Default)]
pub(super) struct Slots {
    memory: Memory,
    held: usize,
}

impl Slots {
    /// Seven places in ten are taken when so many are there: what is found is found in two steps.
    pub(super) fn with_room(tokens: usize) -> Self {
        Self { memory: Memory::zeroed((tokens * 10).div_ceil(7).max(8) * SIZE), held: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Whether there is too little room for one more: four places in five are taken.
    pub(super) fn is_full(&self) -> bool {
        self.held * 5 >= self.all().len() * 4
    }

    /// The same tokens with room for more, and for at least `tokens`.
    pub(super) fn grown(&self, tokens: usize) -> Self {
        let mut grown = Self::with_room(tokens.max(self.held + self.held / 8 + 8));
        for slot in self.iter() {
            grown.insert(slot);
        }
        grown
    }

    #[inline]
    pub(super) fn find(&self, digest: &Digest) -> Option<&Slot> {
        let all = self.all();
        all.get(position(all, digest)?)
    }

    pub(super) fn find_mut(&mut self, digest: &Digest) -> Option<&mut Slot> {
        let all = self.all_mut();
        let at = position(all, digest)?;
        all.get_mut(at)
    }

    /// Puts in what is not there yet; there must be room.
    pub(super) fn insert(&mut self, slot: &Slot) {
        let all = self.all_mut();
        let home = home(all, slot::hash(slot));
        let Some(at) = (home..all.len()).chain(0..home).find(|at| slot::is_empty(&all[*at])) else { return };
        all[at] = *slot;
        self.held += 1;
    }

    /// Takes a token out, and moves back what would not be found behind a gap.
    pub(super) fn remove(&mut self, digest: &Digest) {
        let Some(mut gap) = position(self.all(), digest) else { return };
        let count = self.all().len();
        let mut at = gap;
        loop {
            at = (at + 1) % count;
            let slot = self.all()[at];
            if slot::is_empty(&slot) {
                break;
            }
            // How far it is from its home, and from the gap.
            let (from_home, from_gap) =
                ((at + count - home(self.all(), slot::hash(&slot))) % count, (at + count - gap) % count);
            if from_home >= from_gap {
                self.all_mut()[gap] = slot;
                gap = at;
            }
        }
        self.all_mut()[gap] = [0; SIZE];
        self.held -= 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.all().iter().filter(|slot| !slot::is_empty(slot))
    }

    fn all(&self) -> &[Slot] {
        self.memory.bytes().as_chunks().0
    }

    fn all_mut(&mut self) -> &mut [Slot] {
        self.memory.bytes_mut().as_chunks_mut().0
    }
}

#[inline]
fn position(all: &[Slot], digest: &Digest) -> Option<usize> {
    let mut at = home(all, u64::from_le_bytes(*digest.as_bytes().first_chunk()?));
    loop {
        // There is none only where there is no place at all.
        let slot = all.get(at)?;
        if slot::is_of(slot, digest) {
            return Some(at);
        }
        if slot::is_empty(slot) {
            return None;
        }
        at += 1;
        if at == all.len() {
            at = 0;
        }
    }
}

/// The place that a hash points to: as far into the places as the hash is into all numbers.
fn home(all: &[Slot], hash: u64) -> usize {
    ((u128::from(hash) * all.len() as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::index::{Identity, NEVER};
    use crate::model::{NameRef, OnPublish, TokenId};

    /// Few homes, the first and the last among them.
    fn digest() -> impl Strategy<Value = [u8; 32]> {
        (prop_oneof![Just(0), Just(1), Just(0x80), Just(0xff)], 0..12_u8).prop_map(|(first, last)| {
            let mut digest = [first; 32];
            digest[31] = last;
            digest
        })
    }

    fn slot_of(digest: &Digest) -> Slot {
        let identity = Identity {
            id: TokenId::NONE,
            app: None,
            environment: NameRef::nth(0),
            expires: NEVER,
            minted_under: 0,
            on_publish: OnPublish::Keep,
            revoked: false,
            label: "".into(),
            restrictions: None,
        };
        slot::write(digest, &identity).0
    }

    proptest! {
        #[test]
        fn a_table_holds_what_a_set_does(steps in proptest::collection::vec((any::<bool>(), digest()), 0..60)) {
            let (mut slots, mut model) = (Slots::default(), HashSet::new());
            for (put, bytes) in steps {
                let digest = Digest::from_bytes(bytes);
                if put && model.insert(bytes) {
                    if slots.is_full() {
                        slots = slots.grown(0);
                    }
                    slots.insert(&slot_of(&digest));
                } else if !put {
                    model.remove(&bytes);
                    slots.remove(&digest);
                }
                prop_assert_eq!(slots.len(), model.len());
                prop_assert!(model.iter().all(|bytes| slots.find(&Digest::from_bytes(*bytes)).is_some()));
                prop_assert_eq!(slots.find(&digest).is_some(), model.contains(&bytes));
            }
            let held: HashSet<_> = slots.iter().map(|slot| *slot::digest(slot).as_bytes()).collect();
            prop_assert_eq!(held, model);
        }
    }
}
