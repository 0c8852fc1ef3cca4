//! What a scan has found so far, as much of it as anybody would read: a hostile file cannot make it grow without end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::pattern::Match;
use crate::credential::{Digest, Kind, Plaintext};

/// Credentials that are told apart.
const LEAKS: usize = 10_000;
/// Places that are told of each.
const PLACES: usize = 50;
const WARNINGS: usize = 1_000;

/// A credential that was found.
#[derive(Debug)]
pub struct Leak {
    pub kind: Kind,
    /// To have it ended by, and for nobody to see.
    pub value: Plaintext,
    pub digest: Digest,
    pub hint: String,
    /// In the order of what they are in.
    pub places: Vec<Place>,
    /// How many places more there were.
    pub untold: u64,
}

impl Leak {
    /// The same for the same credential, wherever and whenever it is found, and of no use to look it up by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = Sha256::new().chain_update(b"portcullis leak ").chain_update(self.digest.as_bytes());
        Digest::from_bytes(hash.finalize().into()).to_text()
    }
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub within: Within,
    /// There is none in a name, nor in what git says about a commit.
    pub spot: Option<Spot>,
}

/// What it stands in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Within {
    Input,
    File(PathBuf),
    /// The name of a file.
    Name(PathBuf),
    /// A version of a file, in the history of a repository.
    Blob {
        repository: Arc<PathBuf>,
        id: String,
        /// The first commit with it, and its path there; `None` where no commit has it.
        origin: Option<Origin>,
    },
    /// What was written about a commit or a tag.
    Message {
        repository: Arc<PathBuf>,
        id: String,
    },
}

/// Where a version of a file came into a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub commit: String,
    pub path: PathBuf,
}

/// Counted from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub line: u64,
    pub column: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    leaks: HashMap<Digest, Leak>,
    pub(super) unlisted: u64,
    pub(super) warnings: Vec<String>,
    pub(super) unsaid: u64,
}

impl Tally {
    pub(super) fn add(&mut self, found: &Match, within: impl FnOnce() -> Within, spot: Option<Spot>) {
        let digest = found.value.digest();
        let full = self.leaks.len() >= LEAKS;
        let leak = match self.leaks.entry(digest) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => {
                self.unlisted += 1;
                return;
            }
            Entry::Vacant(new) => new.insert(Leak {
                kind: found.kind,
                value: found.value.clone(),
                digest,
                hint: found.value.hint().to_owned(),
                places: Vec::new(),
                untold: 0,
            }),
        };
        if leak.places.len() < PLACES {
            let within = within();
            let spot = spot.filter(|_| !matches!(within, Within::Message { .. }));
            leak.places.push(Place { within, spot });
        } else {
            leak.untold += 1;
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS {
            self.warnings.push(warning);
        } else {
            self.unsaid += 1;
        }
    }

    pub(super) fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        self.leaks.values_mut().flat_map(|leak| &mut leak.places)
    }

    /// All of it, in the order of where it was found first.
    pub(super) fn leaks(&mut self) -> Vec<Leak> {
        let mut leaks: Vec<Leak> = self.leaks.drain().map(|(_, leak)| leak).collect();
        for leak in &mut leaks {
            leak.places.sort_unstable();
        }
        leaks.sort_unstable_by(|a, b| a.places.cmp(&b.places));
        self.warnings.sort_unstable();
        leaks
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;

    fn add(tally: &mut Tally, value: &Plaintext, line: u64) {
        let pattern = Pattern::new().unwrap();
        let found = pattern.matches(value.reveal().as_bytes()).next().unwrap();
        tally.add(&found, || Within::Input, Some(Spot { line, column: 1 }));
    }

    #[test]
    fn a_file_that_is_full_of_them_fills_no_memory() {
        let mut tally = Tally::default();
        let value = Plaintext::generate(Kind::Token).unwrap();
        for line in (1..=PLACES as u64 + 7).rev() {
            add(&mut tally, &value, line);
        }
        for _ in 0..LEAKS + 2 {
            add(&mut tally, &Plaintext::generate(Kind::Key).unwrap(), u64::MAX);
        }
        add(&mut tally, &value, 1);
        assert_eq!(tally.unlisted, 3);
        let leaks = tally.leaks();
        assert_eq!(leaks.len(), LEAKS);
        assert_eq!((leaks[0].kind, leaks[0].places.len(), leaks[0].untold), (Kind::Token, PLACES, 8));
        assert_eq!(leaks[0].places[0].spot, Some(Spot { line: 8, column: 1 }));
        assert!(!format!("{leaks:?}").contains(value.reveal()));
    }
}
