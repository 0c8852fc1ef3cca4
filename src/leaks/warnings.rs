//! Early warnings: takes what the gateway saw off the board, and what the store learned of networks, and has owners
//! warned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::board::{Board, Suspicion};
use crate::control::{Control, Suspected};
use crate::model::{LeakKind, TokenId};

/// How often they are taken.
const OFTEN: Duration = Duration::from_secs(2);
/// Refused requests with a revoked token from which on it is said to keep coming: whoever uses one rightly needs a
/// while to notice.
const KEEPS_COMING: u64 = 20;
/// Tokens whose refusals are counted up to that; past it counting begins anew.
const COUNTED: usize = 4096;
/// Warnings that are kept while they cannot be written down.
const UNWRITTEN: usize = 4096;

/// Warns until the sender of `written` is gone, which is once the last uses are written down; and a last time then.
pub async fn run(control: Control, board: Arc<Board>, mut written: watch::Receiver<()>) {
    let mut counts: HashMap<TokenId, u64> = HashMap::new();
    let mut unwritten: Vec<Suspected> = Vec::new();
    loop {
        let ending = tokio::select! {
            _ = written.changed() => true,
            () = tokio::time::sleep(OFTEN) => false,
        };
        let taken = board.suspicions.take();
        unwritten.extend(taken.into_iter().filter_map(|suspicion| judge(&mut counts, suspicion)));
        unwritten.truncate(UNWRITTEN);
        let (networks, seen) = control.new_networks().await.unwrap_or_default();
        let suspected = unwritten.iter().cloned().chain(networks).collect();
        // The store says itself that it cannot be written; the next round tries again.
        if control.warn(suspected, seen).await.is_ok() {
            unwritten.clear();
        }
        if ending {
            return;
        }
    }
}

/// What to warn of, if it has come to that.
fn judge(counts: &mut HashMap<TokenId, u64>, suspicion: Suspicion) -> Option<Suspected> {
    let Suspicion { token, kind, mut count, client, agent } = suspicion;
    if kind == LeakKind::RevokedInUse {
        if counts.len() >= COUNTED && !counts.contains_key(&token) {
            counts.clear();
        }
        let before = *counts.get(&token).unwrap_or(&0);
        let all = before + count;
        counts.insert(token, all);
        if all < KEEPS_COMING {
            return None;
        }
        if before < KEEPS_COMING {
            count = all;
        }
    }
    Some(Suspected { token, kind, count, place: String::new(), client, agent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_token_keeps_coming_only_after_a_while() {
        let mut counts = HashMap::new();
        let token = TokenId::next(None, jiff::Timestamp::UNIX_EPOCH);
        let mut seen = |kind, count| {
            let suspicion = Suspicion { token, kind, count, client: [192, 0, 2, 1].into(), agent: None };
            judge(&mut counts, suspicion).map(|suspected| suspected.count)
        };
        assert_eq!(seen(LeakKind::RevokedInUse, 12), None);
        assert_eq!(seen(LeakKind::RevokedInUse, 12), Some(24));
        assert_eq!(seen(LeakKind::RevokedInUse, 3), Some(3));
        assert_eq!(seen(LeakKind::Crawler, 1), Some(1));
    }
}
