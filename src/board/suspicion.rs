//! What the gateway saw that may mean that a token has leaked: counted by token and kind until it is taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::model::{Agent, LeakKind, TokenId};
use crate::telemetry::Counter;

/// How many are remembered until they are taken: strangers may cause them.
const REMEMBERED: usize = 1024;

/// How often something was seen of a token, and from where and whom the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    pub token: TokenId,
    pub kind: LeakKind,
    pub count: u64,
    pub client: IpAddr,
    pub agent: Option<Agent>,
}

/// All that was seen since it was last taken.
#[derive(Debug, Default)]
pub struct Suspicions {
    seen: Mutex<HashMap<(TokenId, LeakKind), Suspicion>>,
    /// Those that there was no room for.
    pub dropped: Counter,
}

impl Suspicions {
    pub fn note(&self, token: TokenId, kind: LeakKind, client: IpAddr, agent: Option<Agent>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let full = seen.len() >= REMEMBERED;
        match seen.get_mut(&(token, kind)) {
            Some(known) => *known = Suspicion { token, kind, count: known.count + 1, client, agent },
            None if full => self.dropped.add(1),
            None => drop(seen.insert((token, kind), Suspicion { token, kind, count: 1, client, agent })),
        }
    }

    #[must_use]
    pub fn take(&self) -> Vec<Suspicion> {
        let taken = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_bounded_and_taken_once() {
        let suspicions = Suspicions::default();
        let client = IpAddr::from([192, 0, 2, 1]);
        let mut last = None;
        for _ in 0..=REMEMBERED {
            let id = TokenId::next(last, jiff::Timestamp::UNIX_EPOCH);
            suspicions.note(id, LeakKind::Referer, client, None);
            suspicions.note(id, LeakKind::Referer, client, None);
            last = Some(id);
        }
        let taken = suspicions.take();
        assert_eq!((taken.len(), suspicions.dropped.get()), (REMEMBERED, 2));
        assert!(taken.iter().all(|suspicion| suspicion.count == 2));
        assert!(suspicions.take().is_empty());
    }
}
