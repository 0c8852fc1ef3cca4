//! The last refusals, for those who ask why.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{AppName, EnvironmentName, Refusal, TokenId};

/// Refusals that each worker remembers of tokens, and as many of what held none: strangers do not push out what a
/// member may ask for.
const REMEMBERED: usize = 1024;

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
}

impl Denials {
    pub(super) fn new(next: Arc<AtomicU64>) -> Self {
        Self { next, rings: Mutex::default() }
    }

    pub(super) fn note(&self, denial: Denial) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = if denial.token.is_some() { &mut rings.of_tokens } else { &mut rings.of_strangers };
        if ring.len() == REMEMBERED {
            ring.pop_front();
        }
        ring.push_back((number, denial));
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
