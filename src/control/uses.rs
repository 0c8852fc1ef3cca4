//! When and from where management keys were used, until that is written down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{KeyId, are_near};
use crate::store::Use;

/// Networks of a key that are remembered, also while nothing can be written down.
const NETWORKS: usize = 64;

/// The last use of each key from each network. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyUses(Arc<Mutex<Uses>>);

#[derive(Debug, Default)]
struct Uses {
    new: HashMap<KeyId, Vec<Use<KeyId>>>,
    /// Those that were taken, and are not written down yet as far as is known.
    taken: HashMap<KeyId, Vec<Use<KeyId>>>,
}

impl KeyUses {
    pub(super) fn note(&self, last: Use<KeyId>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        merge(uses.new.entry(last.of).or_default(), [last]);
    }

    /// All that may not be written down, those of one key together and the last one last.
    pub(super) fn take(&self) -> Vec<Use<KeyId>> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, new) in std::mem::take(&mut uses.new) {
            merge(uses.taken.entry(key).or_default(), new);
        }
        uses.taken.values().flatten().copied().collect()
    }

    /// What was taken is written down.
    pub(super) fn wrote(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).taken.clear();
    }

    /// Those of one key that may not be written down, the last one last.
    pub(super) fn of(&self, key: KeyId) -> Vec<Use<KeyId>> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = uses.taken.get(&key).cloned().unwrap_or_default();
        merge(&mut all, uses.new.get(&key).into_iter().flatten().copied());
        all
    }
}

/// The later replaces the earlier from the same network.
fn merge(known: &mut Vec<Use<KeyId>>, more: impl IntoIterator<Item = Use<KeyId>>) {
    for used in more {
        known.retain(|other| !are_near(other.from, used.from));
        known.push(used);
    }
    known.drain(..known.len().saturating_sub(NETWORKS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_from_each_network_is_kept_until_it_is_written_down() {
        let uses = KeyUses::default();
        let key = KeyId::next(None, jiff::Timestamp::UNIX_EPOCH);
        let note = |at, from: [u8; 4]| uses.note(Use { of: key, at, from: from.into() });
        let known = || uses.of(key).iter().map(|used| used.at).collect::<Vec<_>>();
        note(1, [192, 0, 2, 1]);
        note(2, [198, 51, 100, 1]);
        note(3, [192, 0, 2, 9]);
        assert_eq!(known(), [2, 3]);
        assert_eq!(uses.take().len(), 2);
        note(4, [198, 51, 100, 2]);
        assert_eq!(known(), [3, 4], "what was taken may not be written down");
        assert_eq!(uses.take().iter().map(|used| used.at).collect::<Vec<_>>(), [3, 4]);
        uses.wrote();
        assert!(known().is_empty() && uses.take().is_empty());
        for third in 0..=255 {
            note(5, [10, 0, third, 1]);
        }
        assert_eq!(known().len(), NETWORKS);
    }
}
