//! Commands: who may do what, and what is valid. The only writer of rows. A command returns when its change is on
//! disk and in force, not before.

mod apps;
mod caller;
mod calm;
mod expiry;
mod fault;
mod keys;
#[cfg(test)]
pub(crate) mod sample;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;

use self::calm::Calm;
use crate::config::Config;
use crate::index::Reached;
use crate::store::Store;

pub use apps::{AppView, EnvironmentView};
pub use caller::Caller;
pub use fault::{Fault, Faults, FieldFault};
pub use keys::{ListKeys, MintKey, MintedKey};
pub use tokens::{ListTokens, MintToken, Minted, Revoked};

/// Items on a page where the caller does not say.
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 500;
/// How often ended tokens are looked for, at the most and at the least.
const OFTENEST: Duration = Duration::from_secs(1);
const SELDOMEST: Duration = Duration::from_secs(600);

/// A page of a list, newest first.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// The commands. Clones share everything.
#[derive(Clone, Debug)]
pub struct Control {
    store: Store,
    reached: Reached,
    config: Arc<ArcSwap<Config>>,
}

impl Control {
    #[must_use]
    pub fn new(store: Store, reached: Reached, config: Arc<ArcSwap<Config>>) -> Self {
        Self { store, reached, config }
    }

    /// Whether the store's last read and last write succeeded.
    #[must_use]
    pub fn store_is_healthy(&self) -> bool {
        self.store.healthy()
    }

    /// The name of the query parameter that carries a token; `None` where that form is off.
    #[must_use]
    pub fn query_parameter(&self) -> Option<String> {
        self.config.load().tokens.query_parameter.clone()
    }

    /// Writes into the audit log that the configuration was read again. It is in force already: a store that cannot be
    /// written does not undo it.
    pub async fn note_reload(&self, caller: &Caller, changed: &[String]) {
        if let Err(error) = self.store.note_reload(caller.act(now()), changed.to_vec()).await {
            tracing::error!("the reload is missing from the audit log: {error}");
        }
    }

    /// Forgets tokens that ended longer ago than `tokens.keep_ended`, until `stop` is true or its sender is gone.
    pub async fn forget_ended(self, mut stop: watch::Receiver<bool>) {
        let mut calm = Calm::new(Timestamp::now(), Instant::now());
        loop {
            let keep = self.config.load().tokens.keep_ended;
            let pause = keep.fixed().map_or(SELDOMEST, |keep| (keep / 10).clamp(OFTENEST, SELDOMEST));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
            let now = Timestamp::now();
            if !calm.lasts(now, Instant::now()) {
                continue;
            }
            if let Some(cutoff) = keep.before(now) {
                // The store says itself when it cannot be written; the next round tries again.
                let _ = self.store.forget_ended(cutoff).await;
            }
        }
    }
}

/// Now, as exactly as it is stored.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// How many items a page is to have.
fn page_length(asked: Option<&str>, faults: &mut Faults) -> usize {
    let Some(asked) = asked else { return PAGE };
    match asked.parse() {
        Ok(limit) if (1..=LONGEST_PAGE).contains(&limit) => limit,
        _ => {
            faults.add("limit", format!("must be a whole number from 1 to {LONGEST_PAGE}"));
            PAGE
        }
    }
}

/// Where the last page ended.
fn cursor<T>(asked: Option<&str>, parse: impl FnOnce(&str) -> Option<T>, faults: &mut Faults) -> Option<T> {
    let found = asked.and_then(parse);
    if asked.is_some() && found.is_none() {
        faults.add("cursor", "must be the `next_cursor` of an earlier answer");
    }
    found
}

/// Cuts what was read one beyond the page, and says where to go on.
fn page<T>(mut items: Vec<T>, length: usize, id: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > length;
    items.truncate(length);
    let next_cursor = items.last().filter(|_| more).map(id);
    Page { items, next_cursor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::index::Index;
    use crate::model::Lifetime;
    use crate::sync::Follower;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_ended_long_enough_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("s.db")).unwrap();
        let (index, writer) = Index::new();
        let (board, _) = Board::new(0);
        let follower = Follower::load(&store, writer, board).unwrap();
        let mut config = sample::config();
        config.tokens.keep_ended = Lifetime::parse("1ms").unwrap();
        let control = Control::new(store.clone(), index.reached(), Arc::new(ArcSwap::from_pointee(config)));
        let (_stop, stopping) = watch::channel(false);
        tokio::spawn(follower.run(stopping.clone()));
        tokio::spawn(control.clone().forget_ended(stopping));

        let asked = |lifetime: &str| MintToken {
            app: Some("shop".to_owned()),
            environment: Some("production".to_owned()),
            expires_in: Some(lifetime.to_owned()),
            ..MintToken::default()
        };
        let gone = control.mint_token(&Caller::Operator, asked("1h")).await.unwrap();
        let kept = control.mint_token(&Caller::Operator, asked("7d")).await.unwrap();
        let id = gone.token.id.to_string();
        let revoked = control.revoke_token(&Caller::Operator, &id, None, Faults::default()).await.unwrap();
        assert!(revoked.token.revoked.is_some());
        let at = index.revision();
        store.revisions().wait_for(|revision| *revision > at).await.unwrap();
        index.reached().wait(at + 1).await;
        assert!(index.get(&gone.value.digest()).is_none());
        assert!(index.get(&kept.value.digest()).is_some());
    }
}
