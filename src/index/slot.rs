//! One token as the table keeps it: bytes of a fixed length, so that they may lie in memory of any origin.

use subtle::ConstantTimeEq;

use super::Identity;
use super::label::EncodedLabel;
use crate::credential::Digest;
use crate::model::{NameRef, OnPublish, TokenId};

pub(super) const SIZE: usize = 104;
/// All zeros where there is no token.
pub(super) type Slot = [u8; SIZE];

/// Half of a digest is 128 uniform bits: no two tokens share them.
const HALF: usize = 16;

const REST: usize = 16;
const ID: usize = 32;
const EXPIRES: usize = 48;
const ON_PUBLISH: usize = 56;
const APP: usize = 64;
/// Never zero of a token.
const ENVIRONMENT: usize = 68;
const MINTED_UNDER: usize = 72;
const FLAGS: usize = 76;
const LABEL_LENGTH: usize = 77;
const LABEL: usize = 78;

const REVOKED: u8 = 1;
const RARE: u8 = 2;

/// Writes all of an identity that has a place here; says whether that is all of it.
pub(super) fn write(digest: &Digest, identity: &Identity) -> (Slot, bool) {
    let mut slot = [0; SIZE];
    let label = identity.label.short();
    let rare = label.is_none() || identity.restrictions.is_some();
    let (length, label) = label.unwrap_or_default();
    let flags = if identity.revoked { REVOKED } else { 0 } | if rare { RARE } else { 0 };
    let [high, low] = identity.id.halves();
    put(&mut slot, 0, digest.as_bytes());
    put(&mut slot, ID, &high.to_le_bytes());
    put(&mut slot, ID + 8, &low.to_le_bytes());
    put(&mut slot, EXPIRES, &identity.expires.to_le_bytes());
    put(&mut slot, ON_PUBLISH, &identity.on_publish.packed().to_le_bytes());
    put(&mut slot, APP, &identity.app.map_or(0, NameRef::number).to_le_bytes());
    put(&mut slot, ENVIRONMENT, &identity.environment.number().to_le_bytes());
    put(&mut slot, MINTED_UNDER, &identity.minted_under.to_le_bytes());
    slot[FLAGS] = flags;
    slot[LABEL_LENGTH] = length;
    put(&mut slot, LABEL, &label);
    (slot, !rare)
}

/// The identity, and whether there is more to it than has a place here; `None` where there is no token.
#[inline]
pub(super) fn read(slot: &Slot) -> Option<(Identity, bool)> {
    let identity = Identity {
        id: TokenId::from_halves([
            u64::from_le_bytes(take(slot, ID)),
            u64::from_le_bytes(take(slot, ID + 8)),
        ]),
        app: NameRef::of_number(u32::from_le_bytes(take(slot, APP))),
        environment: NameRef::of_number(u32::from_le_bytes(take(slot, ENVIRONMENT)))?,
        expires: i64::from_le_bytes(take(slot, EXPIRES)),
        minted_under: u32::from_le_bytes(take(slot, MINTED_UNDER)),
        on_publish: OnPublish::unpacked(u64::from_le_bytes(take(slot, ON_PUBLISH))),
        revoked: slot[FLAGS] & REVOKED != 0,
        label: EncodedLabel::of_short(slot[LABEL_LENGTH], take(slot, LABEL)),
        restrictions: None,
    };
    Some((identity, slot[FLAGS] & RARE != 0))
}

/// Marks the token as revoked; returns whether it was not.
pub(super) fn revoke(slot: &mut Slot) -> bool {
    let was = slot[FLAGS] & REVOKED != 0;
    slot[FLAGS] |= REVOKED;
    !was
}

pub(super) fn is_empty(slot: &Slot) -> bool {
    take(slot, ENVIRONMENT) == [0; 4]
}

/// Digests are uniform already: their own first eight bytes are the hash.
pub(super) fn hash(slot: &Slot) -> u64 {
    u64::from_le_bytes(take(slot, 0))
}

pub(super) fn digest(slot: &Slot) -> Digest {
    Digest::from_bytes(take(slot, 0))
}

/// Whether it is this digest's; the second half is compared in the same time wherever it differs.
#[inline]
pub(super) fn is_of(slot: &Slot, digest: &Digest) -> bool {
    let whole = digest.as_bytes();
    slot[..HALF] == whole[..HALF]
        && bool::from(number(slot, REST).ct_eq(&number(whole, HALF)))
        && !is_empty(slot)
}

fn number(bytes: &[u8], at: usize) -> u128 {
    u128::from_ne_bytes(take(bytes, at))
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn put(slot: &mut Slot, at: usize, bytes: &[u8]) {
    slot[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::NEVER;

    #[test]
    fn what_is_written_is_read() {
        for (app, on_publish, label, whole) in [
            (None, OnPublish::Keep, "", true),
            (Some(NameRef::nth(2)), OnPublish::Stop, "12345678901234567890123", true),
            (
                Some(NameRef::nth(7)),
                OnPublish::parse("grace:3mo").unwrap(),
                "123456789012345678901234",
                false,
            ),
        ] {
            let identity = Identity {
                id: TokenId::next(None, jiff::Timestamp::now()),
                app,
                environment: NameRef::nth(0),
                expires: NEVER,
                minted_under: 3,
                on_publish,
                revoked: false,
                label: label.into(),
                restrictions: None,
            };
            let (mut slot, all) = write(&Digest::from_bytes([7; 32]), &identity);
            let (read_back, more) = read(&slot).unwrap();
            assert_eq!((all, more), (whole, !whole));
            let wanted = Identity { label: if whole { label.into() } else { "".into() }, ..identity };
            assert_eq!(format!("{read_back:?}"), format!("{wanted:?}"));
            assert!(
                is_of(&slot, &Digest::from_bytes([7; 32])) && digest(&slot) == Digest::from_bytes([7; 32])
            );
            assert!(revoke(&mut slot) && !revoke(&mut slot) && read(&slot).unwrap().0.revoked);
        }
        let none = [0; SIZE];
        assert!(read(&none).is_none() && is_empty(&none) && !is_of(&none, &Digest::from_bytes([0; 32])));
    }
}
