//! Whose turn it is to look for something or to report it: what takes long is asked once at a time by each member, so
//! that nobody keeps everybody else from asking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::Caller;
use crate::model::MemberName;

/// Clones share it. It holds whoever asks or waits just now.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<MemberName, Arc<tokio::sync::Mutex<()>>>>>);

/// A member's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(
    #[expect(dead_code, reason = "dropping it ends the turn")] Option<OwnedMutexGuard<()>>,
);

impl Turns {
    /// Waits for the caller's turn. The operator's is always.
    pub(super) async fn take(&self, caller: &Caller) -> Turn {
        let Some(member) = caller.member() else { return Turn(None) };
        let place = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            places.retain(|_, place| Arc::strong_count(place) > 1);
            places.entry(member.clone()).or_default().clone()
        };
        Turn(Some(place.lock_owned().await))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyId, Scopes};

    fn member(name: &str) -> Caller {
        Caller::Member {
            key: KeyId::next(None, jiff::Timestamp::now()),
            name: MemberName::parse(name).unwrap(),
            scopes: Scopes::every(),
            app: None,
            from: [127, 0, 0, 1].into(),
        }
    }

    #[tokio::test]
    async fn a_member_has_one_turn_whatever_the_key_and_nobody_waits_for_another() {
        let turns = Turns::default();
        let first = turns.take(&member("ann")).await;
        let (ann, bob) = (member("ann"), member("bob"));
        let mut second = std::pin::pin!(turns.take(&ann));
        for other in [&bob, &Caller::Operator { from: None }, &bob] {
            tokio::select! {
                biased;
                _ = second.as_mut() => panic!("two turns at once"),
                _ = turns.take(other) => {}
            }
        }
        drop(first);
        drop(second.await);
        drop(turns.take(&bob).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "who asks no more is forgotten");
    }
}
