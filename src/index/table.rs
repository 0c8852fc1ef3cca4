//! Tokens by their digests, so that a million of them take little room: a table is up to half empty, and its empty
//! places are as large as its full ones.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use dashmap::DashMap;

use super::Identity;
use crate::credential::Digest;

/// Half of a digest is 128 uniform bits: no two tokens share them.
const HALF: usize = 16;

/// The table. Whatever is returned is a copy: nothing of it stays locked.
#[derive(Debug, Default)]
pub(super) struct Table(DashMap<Half, Box<Entry>, BuildHasherDefault<HalfHasher>>);

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
        let (half, _) = split(digest);
        let entry = self.0.get(&half)?;
        // Compared whole, and in the same time wherever it differs.
        (entry.digest(half) == *digest).then(|| entry.identity.clone())
    }

    /// Returns what was there before.
    pub(super) fn put(&self, digest: &Digest, identity: Identity) -> Option<Identity> {
        let (half, rest) = split(digest);
        self.0.insert(half, Box::new(Entry { rest, identity })).map(|before| before.identity)
    }

    /// Returns whether it was there and not revoked.
    pub(super) fn revoke(&self, digest: &Digest) -> bool {
        let found = self.0.get_mut(&split(digest).0);
        found.is_some_and(|mut entry| !std::mem::replace(&mut entry.identity.revoked, true))
    }

    pub(super) fn remove(&self, digest: &Digest) {
        self.0.remove(&split(digest).0);
    }

    pub(super) fn retain(&self, mut keep: impl FnMut(&Digest, &Identity) -> bool) {
        self.0.retain(|half, entry| keep(&entry.digest(*half), &entry.identity));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
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
            label: None,
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
        assert!(size_of::<Identity>() <= 72, "{}", size_of::<Identity>());
        assert!(size_of::<Entry>() <= 88 && align_of::<Entry>() == 8);
    }
}
