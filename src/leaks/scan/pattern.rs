//! Where credentials stand in bytes: by their prefix, then by their checksum; in ASCII, and in either order of UTF-16.

use aho_corasick::{AhoCorasick, BuildError, packed};
use zeroize::Zeroize;

use crate::credential::{Kind, LENGTH, Plaintext};

/// The longest that a credential gets: a zero between each two characters.
pub(super) const LONGEST: usize = 2 * LENGTH - 1;

/// What finds the prefixes, all at once.
#[derive(Debug)]
pub(super) enum Pattern {
    /// Many bytes at a time, where the processor can.
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

/// A credential in the bytes that were looked through.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) kind: Kind,
    /// Bytes that a character takes.
    pub(super) width: usize,
    pub(super) value: Plaintext,
}

impl Pattern {
    pub(super) fn new() -> Result<Self, BuildError> {
        let prefixes = prefixes();
        // Left to choose, the automaton looks for the one byte that all of them begin with, which is in every word.
        match packed::Searcher::new(&prefixes) {
            Some(packed) => Ok(Self::Packed(packed)),
            None => AhoCorasick::new(&prefixes).map(Self::Automaton),
        }
    }

    /// The credentials that are whole within `bytes`, in their order.
    pub(super) fn matches<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Match> + 'a {
        // No prefix can begin within another one, so none is passed over.
        self.prefixes(bytes).filter_map(|prefix| {
            let place = prefix.pattern().as_usize();
            let (kind, width) = (*Kind::ALL.get(place % Kind::ALL.len())?, place / Kind::ALL.len() + 1);
            let start = prefix.start();
            let value = read(kind, width, bytes.get(start..)?)?;
            Some(Match { start, kind, width, value })
        })
    }

    fn prefixes<'a>(&'a self, bytes: &'a [u8]) -> Box<dyn Iterator<Item = aho_corasick::Match> + 'a> {
        match self {
            Self::Packed(packed) => Box::new(packed.find_iter(bytes)),
            Self::Automaton(automaton) => Box::new(automaton.find_iter(bytes)),
        }
    }
}

/// Of every kind in ASCII, then of every kind in UTF-16.
fn prefixes() -> Vec<Vec<u8>> {
    let narrow = Kind::ALL.iter().map(|kind| kind.prefix().as_bytes().to_vec());
    // Of both orders: from the first character's byte that is not zero to the last one's.
    let wide = Kind::ALL.iter().map(|kind| {
        let bytes: Vec<_> = kind.prefix().bytes().flat_map(|byte| [0, byte]).collect();
        bytes.get(1..).unwrap_or_default().to_vec()
    });
    narrow.chain(wide).collect()
}

fn read(kind: Kind, width: usize, bytes: &[u8]) -> Option<Plaintext> {
    if width == 1 {
        return Plaintext::parse(kind, bytes.get(..LENGTH)?);
    }
    let span = bytes.get(..LONGEST)?;
    if span.iter().skip(1).step_by(2).any(|between| *between != 0) {
        return None;
    }
    let mut value = [0; LENGTH];
    for (byte, found) in value.iter_mut().zip(span.iter().step_by(2)) {
        *byte = *found;
    }
    let parsed = Plaintext::parse(kind, &value);
    value.zeroize();
    parsed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(bytes: &[u8]) -> Vec<(usize, Kind, usize, String)> {
        let pattern = Pattern::new().unwrap();
        let automaton = Pattern::Automaton(AhoCorasick::new(prefixes()).unwrap());
        let starts = |pattern: &Pattern| pattern.matches(bytes).map(|one| one.start).collect::<Vec<_>>();
        assert_eq!(starts(&pattern), starts(&automaton));
        let all = pattern.matches(bytes);
        all.map(|one| (one.start, one.kind, one.width, one.value.reveal().to_owned())).collect()
    }

    fn wide(text: &str, big: bool) -> Vec<u8> {
        let order = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn both_kinds_are_found_whatever_stands_around_them() {
        let token = Plaintext::generate(Kind::Token).unwrap().reveal().to_owned();
        let key = Plaintext::generate(Kind::Key).unwrap().reveal().to_owned();
        let text = format!("npct_{token}{key}x pct_ pcm_é");
        assert_eq!(
            found(text.as_bytes()),
            [(5, Kind::Token, 1, token.clone()), (45, Kind::Key, 1, key.clone())]
        );
        for big in [false, true] {
            let bytes = [&b"\n"[..], &wide(&format!("é{token}{key}ü"), big)].concat();
            let first = 3 + usize::from(big);
            let expected = [(first, Kind::Token, 2, token.clone()), (first + 80, Kind::Key, 2, key.clone())];
            assert_eq!(found(&bytes), expected);
        }
    }

    #[test]
    fn what_lacks_its_last_byte_is_not_there_yet() {
        let token = Plaintext::generate(Kind::Token).unwrap().reveal().to_owned();
        assert!(found(&token.as_bytes()[..LENGTH - 1]).is_empty());
        let bytes = wide(&token, false);
        assert!(found(&bytes[..LONGEST - 1]).is_empty());
        assert_eq!(found(&bytes[..LONGEST]).len(), 1);
    }

    proptest! {
        #[test]
        fn look_alikes_are_none(place in 4usize..LENGTH, character in "[0-9A-Za-z]", big: bool) {
            let token = Plaintext::generate(Kind::Token).unwrap().reveal().to_owned();
            let mut changed = token.clone();
            changed.replace_range(place..=place, &character);
            prop_assume!(changed != token);
            prop_assert!(found(changed.as_bytes()).is_empty());
            prop_assert!(found(&wide(&changed, big)).is_empty());
        }
    }
}
