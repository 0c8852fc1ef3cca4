//! The shape of tokens, management keys and links that sign in: `pct_`, `pcm_` or `pcs_`, 30 random base62 characters,
//! 6 of checksum.
//!
//! [`Plaintext`] is the value a holder presents and exists only between the generator and the answer that mints
//! it, or between the wire and the look-up. [`Digest`] is all that is kept. Neither shows itself to a formatter.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Characters in a whole credential.
pub const LENGTH: usize = 40;
const PREFIX: usize = 4;
const RANDOM: usize = 30;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Which of the credentials a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens an app through the gateway.
    Token,
    /// Opens the admin API.
    Key,
    /// Signs browsers in with a token that nobody is shown.
    Share,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Token, Self::Key, Self::Share];

    /// The four characters every credential of this kind begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Token => "pct_",
            Self::Key => "pcm_",
            Self::Share => "pcs_",
        }
    }

    /// What the admin API calls this kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Key => "key",
            Self::Share => "share",
        }
    }
}

/// A credential in the clear: well-formed, but not necessarily one that was ever minted.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Plaintext([u8; LENGTH]);

impl Plaintext {
    /// Draws a new credential from the operating system's generator.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(kind: Kind) -> Result<Self, getrandom::Error> {
        let mut value = [0; LENGTH];
        value[..PREFIX].copy_from_slice(kind.prefix().as_bytes());
        let mut filled = PREFIX;
        let mut pool = [0u8; 64];
        while filled < PREFIX + RANDOM {
            getrandom::fill(&mut pool)?;
            // 248 is the largest multiple of 62 below 256: a byte above it would favour the first 8 characters.
            for byte in pool.iter().filter(|byte| **byte < 248) {
                if filled == PREFIX + RANDOM {
                    break;
                }
                value[filled] = BASE62[usize::from(byte % 62)];
                filled += 1;
            }
        }
        pool.zeroize();
        let sum = checksum(&value[PREFIX..PREFIX + RANDOM]);
        value[PREFIX + RANDOM..].copy_from_slice(&sum);
        Ok(Self(value))
    }

    /// Accepts `value` only if its length, prefix, alphabet and checksum are those of `kind`.
    #[must_use]
    pub fn parse(kind: Kind, value: &[u8]) -> Option<Self> {
        shaped(kind, value).map(|value| Self(*value))
    }

    /// What is stored and looked up in place of the value.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0).into())
    }

    /// The last four characters, by which people tell their tokens apart.
    #[must_use]
    pub fn hint(&self) -> &str {
        std::str::from_utf8(&self.0[LENGTH - 4..]).unwrap_or_default()
    }

    /// The whole value, for the one answer that hands it to its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(…)")
    }
}

/// The SHA-256 of a credential. Equality takes the same time wherever two digests differ.
#[derive(Clone, Copy, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a credential as it came, if it has the shape of one. No copy of it is made.
    #[must_use]
    pub fn of(kind: Kind, value: &[u8]) -> Option<Self> {
        let value = shaped(kind, value)?;
        Some(Self(Sha256::digest(value).into()))
    }

    /// Takes a digest as stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes a digest as the admin API writes it: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The digest as the admin API writes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        // Eight bytes at a time: one at a time is most of a look-up.
        let pairs = self.0.as_chunks::<8>().0.iter().zip(other.0.as_chunks().0);
        let same = |a: &[u8; 8], b: &[u8; 8]| u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b));
        pairs.fold(Choice::from(1), |all, (a, b)| all & same(a, b)).into()
    }
}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// The value, if it has the shape of a credential of this kind and its checksum is right.
fn shaped(kind: Kind, value: &[u8]) -> Option<&[u8; LENGTH]> {
    let value: &[u8; LENGTH] = value.try_into().ok()?;
    let random = value.strip_prefix(kind.prefix().as_bytes())?.get(..RANDOM)?;
    // To the end whatever comes: so it is done many bytes at a time.
    let is_plain = random.iter().fold(true, |all, byte| all & byte.is_ascii_alphanumeric());
    (is_plain && checksum(random) == value[PREFIX + RANDOM..]).then_some(value)
}

/// CRC-32 (IEEE) in base62, most significant digit first.
fn checksum(random: &[u8]) -> [u8; 6] {
    let mut rest = crc32fast::hash(random);
    let mut out = [b'0'; 6];
    for place in out.iter_mut().rev() {
        *place = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn checksum_of_the_published_vector() {
        assert_eq!(&checksum(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), b"0mLq17");
        assert!(Plaintext::parse(Kind::Token, b"pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17").is_some());
    }

    #[test]
    fn generated_values_parse_as_their_own_kind_only() {
        for (kind, other) in [(Kind::Token, Kind::Key), (Kind::Key, Kind::Share), (Kind::Share, Kind::Token)]
        {
            let value = Plaintext::generate(kind).unwrap();
            let again = Plaintext::parse(kind, value.reveal().as_bytes()).unwrap();
            assert_eq!(again.digest(), value.digest());
            assert_eq!(value.hint(), &value.reveal()[36..]);
            assert!(Plaintext::parse(other, value.reveal().as_bytes()).is_none());
        }
    }

    #[test]
    fn formatters_see_nothing() {
        let value = Plaintext::generate(Kind::Token).unwrap();
        assert_eq!(format!("{value:?} {:?}", value.digest()), "Plaintext(…) Digest(…)");
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = Plaintext::generate(Kind::Key).unwrap().digest();
        let text = digest.to_text();
        assert_eq!(Digest::parse(&text), Some(digest));
        assert_eq!(Digest::from_bytes([0xa5; 32]).to_text(), "a5".repeat(32));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.replace(|_| true, "A"), &"é".repeat(32)] {
            assert!(Digest::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn every_character_is_about_as_likely() {
        let mut counts = [0u32; 256];
        for _ in 0..2_000 {
            for byte in Plaintext::generate(Kind::Token).unwrap().reveal().bytes().skip(4).take(30) {
                counts[usize::from(byte)] += 1;
            }
        }
        // 60,000 draws over 62 characters: 968 expected, standard deviation 31.
        for character in BASE62 {
            let seen = counts[usize::from(*character)];
            assert!((750..1_200).contains(&seen), "{} came up {seen} times", char::from(*character));
        }
    }

    proptest! {
        #[test]
        fn one_changed_character_is_noticed(place in 0usize..LENGTH, byte: u8) {
            let value = Plaintext::generate(Kind::Token).unwrap();
            let mut bytes = value.reveal().as_bytes().to_vec();
            prop_assume!(bytes[place] != byte);
            bytes[place] = byte;
            prop_assert!(Plaintext::parse(Kind::Token, &bytes).is_none());
        }

        #[test]
        fn any_input_is_judged_without_panic(bytes: Vec<u8>) {
            let _ = Plaintext::parse(Kind::Token, &bytes);
        }
    }
}
