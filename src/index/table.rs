//! Tokens by their digests, in many parts so that a change of one holds up few readers. Each part keeps its tokens side
//! by side without gaps: a hash table's own are up to half empty, and a million tokens are to take little room.

use std::array;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;
use subtle::ConstantTimeEq;

use super::Identity;
use crate::credential::Digest;

/// Half of a digest is 128 uniform bits: no two tokens share them.
const HALF: usize = 16;
/// A digest's last byte names its part.
const PARTS: usize = 256;

/// The table. Whatever is returned is a copy: nothing of it stays locked.
#[derive(Debug)]
pub(super) struct Table(Box<[RwLock<Part>; PARTS]>);

type Part = IndexMap<Half, Entry, BuildHasherDefault<HalfHasher>>;

/// The first half of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Half([u8; HALF]);

#[derive(Debug)]
struct Entry {
    /// The other half.
    rest: [u8; HALF],
    identity: Identity,
}

impl Table {
    pub(super) fn get(&self, digest: &Digest) -> Option<Identity> {
        let (half, rest) = split(digest);
        let part = self.read(rest);
        let entry = part.get(&half)?;
        // In the same time wherever it differs.
        let same = u128::from_ne_bytes(entry.rest).ct_eq(&u128::from_ne_bytes(rest));
        bool::from(same).then(|| entry.identity.clone())
    }

    /// Returns what was there before.
    pub(super) fn put(&self, digest: &Digest, identity: Identity) -> Option<Identity> {
        let (half, rest) = split(digest);
        self.write(rest).insert(half, Entry { rest, identity }).map(|before| before.identity)
    }

    /// Returns whether it was there and not revoked.
    pub(super) fn revoke(&self, digest: &Digest) -> bool {
        let (half, rest) = split(digest);
        let mut part = self.write(rest);
        part.get_mut(&half).is_some_and(|entry| !std::mem::replace(&mut entry.identity.revoked, true))
    }

    /// Makes room for so many: to grow step by step takes longer than to fill.
    pub(super) fn reserve(&self, tokens: usize) {
        for part in self.0.iter() {
            part.write().unwrap_or_else(PoisonError::into_inner).reserve(tokens / PARTS);
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        let (half, rest) = split(digest);
        self.write(rest).swap_remove(&half);
    }

    pub(super) fn retain(&self, mut keep: impl FnMut(&Digest, &Identity) -> bool) {
        for part in self.0.iter() {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            part.retain(|half, entry| keep(&entry.digest(*half), &entry.identity));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|part| part.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn read(&self, rest: [u8; HALF]) -> RwLockReadGuard<'_, Part> {
        self.part(rest).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, rest: [u8; HALF]) -> RwLockWriteGuard<'_, Part> {
        self.part(rest).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, rest: [u8; HALF]) -> &RwLock<Part> {
        &self.0[usize::from(rest[HALF - 1])]
    }
}

impl Default for Table {
    fn default() -> Self {
        Self(Box::new(array::from_fn(|_| RwLock::default())))
    }
}

impl Entry {
    fn digest(&self, first: Half) -> Digest {
        let mut whole = [0; 2 * HALF];
        whole[..HALF].copy_from_slice(&first.0);
        whole[HALF..].copy_from_slice(&self.rest);
        Digest::from_bytes(whole)
    }
}

fn split(digest: &Digest) -> (Half, [u8; HALF]) {
    let (mut first, mut rest) = ([0; HALF], [0; HALF]);
    first.copy_from_slice(&digest.as_bytes()[..HALF]);
    rest.copy_from_slice(&digest.as_bytes()[HALF..]);
    (Half(first), rest)
}

impl Hash for Half {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Digests are uniform already: their own first eight bytes are the hash.
#[derive(Default)]
struct HalfHasher(u64);

impl Hasher for HalfHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Index, NEVER};
    use crate::model::{OnPublish, TokenId};

    #[test]
    fn half_a_digest_opens_nothing() {
        let (index, writer) = Index::new();
        let identity = Identity {
            id: TokenId::NONE,
            app: None,
            environment: writer.name("production"),
            expires: NEVER,
            minted_under: 0,
            on_publish: OnPublish::Keep,
            revoked: false,
            label: "".into(),
            restrictions: None,
        };
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
    fn a_million_tokens_leave_room_for_their_labels() {
        assert!(size_of::<Identity>() <= 80, "{}", size_of::<Identity>());
        assert!(size_of::<Entry>() <= 96 && align_of::<Entry>() == 8);
    }
}
