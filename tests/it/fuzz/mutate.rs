//! Bytes that are nearly right: good samples, spoilt in a few places.

use proptest::prelude::*;
use proptest::sample::Index;

/// Bytes that show themselves in a way that can be read.
#[derive(Clone)]
pub(super) struct Sample(pub(super) Vec<u8>);

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One spoilt place.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
    /// Goes on as another sample does.
    Splice(Index, usize, Index),
}

/// Samples with up to six mutations; what is inserted is often one of `pieces`.
pub(super) fn mutated(
    samples: Vec<Vec<u8>>,
    pieces: &'static [&'static str],
) -> impl Strategy<Value = Sample> {
    let count = samples.len();
    let byte = || prop_oneof![3 => prop::sample::select(&b"\r\n\t :;,/.%#?&=+-\\\0\x7f0159afAF\xff"[..]), 1 => any::<u8>()];
    let piece = prop_oneof![
        3 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(byte(), 1..4),
    ];
    let mutation = prop_oneof![
        3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        4 => (any::<Index>(), piece).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        2 => (any::<Index>(), 1usize..8).prop_map(|(at, length)| Mutation::Delete(at, length)),
        1 => (any::<Index>(), 1usize..40).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        1 => (any::<Index>(), 0..count, any::<Index>()).prop_map(|(at, other, from)| Mutation::Splice(at, other, from)),
    ];
    (0..count, prop::collection::vec(mutation, 0..6)).prop_map(move |(sample, mutations)| {
        let mut bytes = samples[sample].clone();
        for mutation in &mutations {
            mutation.apply(&mut bytes, &samples);
        }
        Sample(bytes)
    })
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let place = |at: &Index| at.index(bytes.len() + 1);
        match self {
            Self::Set(at, byte) => {
                let at = place(at);
                if let Some(place) = bytes.get_mut(at) {
                    *place = *byte;
                }
            }
            Self::Insert(at, piece) => {
                let at = place(at);
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Delete(at, length) => {
                let at = place(at);
                let end = (at + length).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Repeat(at, length) => {
                let at = place(at);
                let end = (at + length).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(end..end, again);
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Splice(at, other, from) => {
                let other = &samples[*other];
                bytes.truncate(place(at));
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
}
