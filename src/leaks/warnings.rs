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

/// Warns until `stop` is true or its sender is gone.
pub async fn run(control: Control, board: Arc<Board>, mut stop: watch::Receiver<bool>) {
    let mut counts: HashMap<TokenId, u64> = HashMap::new();
    let mut seen: Option<u64> = None;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(OFTEN) => {}
        }
        let mut suspected: Vec<Suspected> = board
            .suspicions
            .take()
            .into_iter()
            .filter_map(|suspicion| judge(&mut counts, &suspicion))
            .collect();
        // From what was there at the start on: nobody is warned of long ago.
        if let Ok((networks, last)) = control.new_networks(seen).await {
            seen = Some(last);
            suspected.extend(networks);
        }
        // What cannot be written down is lost: it is a warning, and the store says itself that it cannot be written.
        let _ = control.warn(suspected).await;
    }
}

/// What to warn of, if it has come to that.
fn judge(counts: &mut HashMap<TokenId, u64>, suspicion: &Suspicion) -> Option<Suspected> {
    let Suspicion { token, kind, mut count, client } = *suspicion;
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
    Some(Suspected { token, kind, count, place: String::new(), client })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_token_keeps_coming_only_after_a_while() {
        let mut counts = HashMap::new();
        let token = TokenId::next(None, jiff::Timestamp::UNIX_EPOCH);
        let mut seen = |kind, count| {
            let suspicion = Suspicion { token, kind, count, client: [192, 0, 2, 1].into() };
            judge(&mut counts, &suspicion).map(|suspected| suspected.count)
        };
        assert_eq!(seen(LeakKind::RevokedInUse, 12), None);
        assert_eq!(seen(LeakKind::RevokedInUse, 12), Some(24));
        assert_eq!(seen(LeakKind::RevokedInUse, 3), Some(3));
        assert_eq!(seen(LeakKind::Crawler, 1), Some(1));
    }
}
