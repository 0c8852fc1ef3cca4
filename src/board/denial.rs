//! The last refusals, for those who ask why.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{AppName, EnvironmentName, Refusal, TokenId};

/// Refusals that each worker remembers of tokens, and as many of what held none: strangers do not push out what a
/// member may ask for.
const REMEMBERED: usize = 1024;
/// Refusals of one token among them: one that is tried again and again does not push out what others ask for.
const OF_ONE: usize = 64;

/// A request that the gateway answered itself.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Unix milliseconds.
    pub at: i64,
    pub request_id: Box<str>,
    pub code: Refusal,
    pub app: Option<AppName>,
    pub environment: Option<EnvironmentName>,
    /// The token whose possession was shown.
    pub token: Option<TokenId>,
    pub method: Box<str>,
    /// Without its query, and without anything that could be a credential.
    pub path: Box<str>,
    pub client: IpAddr,
}

/// One worker's last refusals.
#[derive(Debug)]
pub(super) struct Denials {
    /// The number of the next refusal of any worker.
    next: Arc<AtomicU64>,
    rings: Mutex<Rings>,
}

/// Each with its number.
#[derive(Debug, Default)]
struct Rings {
    of_tokens: VecDeque<(u64, Denial)>,
    of_strangers: VecDeque<(u64, Denial)>,
    /// How many `of_tokens` are of each.
    counts: HashMap<TokenId, usize>,
}

impl Denials {
    pub(super) fn new(next: Arc<AtomicU64>) -> Self {
        Self { next, rings: Mutex::default() }
    }

    pub(super) fn note(&self, denial: Denial) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let Rings { of_tokens, of_strangers, counts } = &mut *rings;
        let Some(token) = denial.token else {
            if of_strangers.len() == REMEMBERED {
                of_strangers.pop_front();
            }
            of_strangers.push_back((number, denial));
            return;
        };
        let of_one = counts.entry(token).or_default();
        *of_one += 1;
        let gone = if *of_one > OF_ONE {
            // The newest stay in their order; a look through the ring is little beside an answer.
            of_tokens.iter().position(|(_, old)| old.token == Some(token)).and_then(|at| of_tokens.remove(at))
        } else if of_tokens.len() == REMEMBERED {
            of_tokens.pop_front()
        } else {
            None
        };
        of_tokens.push_back((number, denial));
        if let Some(gone) = gone.and_then(|(_, gone)| gone.token)
            && let Entry::Occupied(mut left) = counts.entry(gone)
        {
            *left.get_mut() -= 1;
            if *left.get() == 0 {
                left.remove();
            }
        }
    }

    pub(super) fn read(&self, wanted: impl Fn(&Denial) -> bool, into: &mut Vec<(u64, Denial)>) {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let all = rings.of_tokens.iter().chain(&rings.of_strangers);
        into.extend(all.filter(|(_, denial)| wanted(denial)).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;

    fn denial(token: Option<TokenId>, code: Refusal) -> Denial {
        Denial {
            at: 0,
            request_id: "r".into(),
            code,
            app: None,
            environment: None,
            token,
            method: "GET".into(),
            path: "/".into(),
            client: [127, 0, 0, 1].into(),
        }
    }

    #[test]
    fn a_token_that_is_tried_again_pushes_out_only_its_own() {
        let (board, _) = Board::new(1);
        let mut ids = vec![TokenId::next(None, jiff::Timestamp::UNIX_EPOCH)];
        for last in 0..REMEMBERED - 1 {
            ids.push(TokenId::next(Some(ids[last]), jiff::Timestamp::UNIX_EPOCH));
        }
        let note = |id| board.posts()[0].denied(denial(Some(id), Refusal::TokenRevoked));
        let of = |id| board.denials(|denial| denial.token == Some(id)).len();
        note(ids[0]);
        (0..10 * REMEMBERED).for_each(|_| note(ids[1]));
        assert_eq!((of(ids[0]), of(ids[1])), (1, OF_ONE));
        // As others come, theirs go in turn, and what is counted is what is there.
        ids[2..].iter().for_each(|id| note(*id));
        assert_eq!(board.denials(|_| true).len(), REMEMBERED);
        assert_eq!((of(ids[0]), of(ids[1])), (0, 2));
        (0..OF_ONE).for_each(|_| note(ids[1]));
        assert_eq!(of(ids[1]), OF_ONE);
        let rings = board.posts()[0].denials.rings.lock().unwrap();
        assert_eq!(rings.counts.values().sum::<usize>(), rings.of_tokens.len());
        assert!(rings.counts.values().all(|count| (1..=OF_ONE).contains(count)));
    }

    #[test]
    fn strangers_push_out_only_each_other() {
        let (board, _) = Board::new(2);
        let id = TokenId::next(None, jiff::Timestamp::UNIX_EPOCH);
        board.posts()[0].denied(denial(Some(id), Refusal::WrongApp));
        for _ in 0..=REMEMBERED {
            board.posts()[0].denied(denial(None, Refusal::TokenMissing));
        }
        board.posts()[1].denied(denial(None, Refusal::TokenUnknown));
        let all = board.denials(|_| true);
        assert_eq!(all.len(), REMEMBERED + 2);
        assert!(all.is_sorted_by(|(newer, _), (older, _)| newer > older));
        assert_eq!(all[0].1.code, Refusal::TokenUnknown);
        assert_eq!(board.denials(|denial| denial.token == Some(id)).len(), 1);
    }
}
