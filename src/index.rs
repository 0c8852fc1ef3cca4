//! What the gateway reads: every token's binding by its digest, every environment's state, and the revision of the
//! store that both are at. Only the follower holds the [`Writer`].

mod environment;
mod label;
mod memory;
mod slot;
mod slots;
mod table;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use tokio::sync::watch;

use crate::credential::Digest;
use crate::model::{
    AppName, EnvironmentName, Hindsight, Limiter, NameRef, OnPublish, Rules, TokenApp, TokenId,
};

use environment::Environments;
pub use environment::{EnvironmentState, Standing};
pub use label::EncodedLabel;
use table::Table;

/// `expires` of a token that never does.
pub const NEVER: i64 = i64::MAX;
/// How many receipts are kept for callers that have yet to collect theirs.
const RECEIPTS: usize = 4096;

/// What one token is bound to, as the decision needs it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: TokenId,
    /// `None`: every app.
    pub app: Option<NameRef>,
    pub environment: NameRef,
    /// Unix milliseconds; [`NEVER`] for none.
    pub expires: i64,
    /// The number of the deployment that it was minted under.
    pub minted_under: u32,
    pub on_publish: OnPublish,
    pub revoked: bool,
    pub label: EncodedLabel,
    /// What few tokens have.
    pub restrictions: Option<Arc<Restrictions>>,
}

/// The rules of one token, and the use that was made of its rate.
#[derive(Debug)]
pub struct Restrictions {
    pub rules: Rules,
    pub limiter: Option<Limiter>,
}

/// What an ending stopped: requests not yet answered, and answers under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub requests: u64,
    pub streams: u64,
}

/// What the gateway's readers and the follower share.
#[derive(Debug)]
pub struct Index {
    tokens: Table,
    environments: RwLock<Environments>,
    revision: watch::Sender<u64>,
    receipts: Mutex<VecDeque<(u64, Receipt)>>,
    hindsight: Arc<Hindsight>,
    /// Endings on their way to being in force.
    hurries: AtomicUsize,
}

/// An ending on its way, for as long as this lives.
#[derive(Debug)]
pub struct Hurry(Arc<Index>);

impl Drop for Hurry {
    fn drop(&mut self) {
        self.0.hurries.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Index {
    /// An empty index at revision 0, and the one handle that may change it.
    #[must_use]
    pub fn new() -> (Arc<Self>, Writer) {
        Self::with(Arc::default())
    }

    /// The same, sharing what was seen to have ended.
    #[must_use]
    pub fn with(hindsight: Arc<Hindsight>) -> (Arc<Self>, Writer) {
        let index = Arc::new(Self {
            tokens: Table::default(),
            environments: RwLock::default(),
            revision: watch::Sender::new(0),
            receipts: Mutex::default(),
            hindsight,
            hurries: AtomicUsize::new(0),
        });
        (index.clone(), Writer(index))
    }

    /// What was seen to have ended.
    #[must_use]
    pub fn hindsight(&self) -> &Hindsight {
        &self.hindsight
    }

    /// The binding of the token with this digest.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<Identity> {
        self.tokens.get(digest)
    }

    /// The live state of an environment, the same one for the index's whole life.
    pub fn environment(&self, app: &AppName, environment: &EnvironmentName) -> Arc<EnvironmentState> {
        self.write().state(app, environment).clone()
    }

    /// The same of one that was spoken of before.
    #[must_use]
    pub fn known_environment(&self, app: NameRef, environment: NameRef) -> Option<Arc<EnvironmentState>> {
        let environments = self.environments.read().unwrap_or_else(PoisonError::into_inner);
        environments.find(app, environment).cloned()
    }

    /// Tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.len() == 0
    }

    /// Whether something is about to end.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.hurries.load(Ordering::Relaxed) > 0
    }

    /// The revision in force.
    #[must_use]
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// A handle that waits for revisions and sees nothing else.
    #[must_use]
    pub fn reached(self: &Arc<Self>) -> Reached {
        Reached(self.clone())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Environments> {
        self.environments.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a change is in force.
#[derive(Clone, Debug)]
pub struct Reached(Arc<Index>);

impl Reached {
    /// Returns once `revision` is in force, with what its endings stopped.
    pub async fn wait(&self, revision: u64) -> Receipt {
        // The sender lives in the index that `self` holds, so waiting cannot fail.
        let _ = self.0.revision.subscribe().wait_for(|now| *now >= revision).await;
        let receipts = self.0.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        receipts.iter().find(|(of, _)| *of == revision).map_or_else(Receipt::default, |(_, receipt)| *receipt)
    }

    /// The revision in force now.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision()
    }

    /// An ending begins: until it is in force, whoever serves requests gives way to it.
    #[must_use]
    pub fn hurry(&self) -> Hurry {
        self.0.hurries.fetch_add(1, Ordering::Relaxed);
        Hurry(self.0.clone())
    }
}

/// The only way to change an [`Index`]. There is one, and the follower holds it.
#[derive(Debug)]
pub struct Writer(Arc<Index>);

impl Writer {
    /// The small number that stands for `name` in an [`Identity`].
    #[must_use]
    pub fn name(&self, name: &str) -> NameRef {
        self.0.write().name(name)
    }

    /// The rules as an [`Identity`] holds them. A token that is in force already keeps the use of its rate.
    #[must_use]
    pub fn restrictions(&self, digest: &Digest, rules: Rules) -> Option<Arc<Restrictions>> {
        if rules.are_none() {
            return None;
        }
        let before = self.0.tokens.get(digest).and_then(|before| before.restrictions);
        let limiter =
            rules.rate.map(|rate| match before.as_ref().and_then(|before| before.limiter.as_ref()) {
                Some(used) => used.carried_on(rate),
                None => Limiter::new(rate),
            });
        Some(Arc::new(Restrictions { rules, limiter }))
    }

    /// Makes room for so many tokens more.
    pub fn reserve(&self, tokens: usize) {
        self.0.tokens.reserve(tokens);
    }

    /// Puts a token in force; returns what was known of it before.
    pub fn put(&self, digest: Digest, identity: Identity) -> Option<Identity> {
        self.0.tokens.put(&digest, identity)
    }

    /// Ends a token; returns whether it was in force.
    pub fn revoke(&self, digest: &Digest) -> bool {
        self.0.tokens.revoke(digest)
    }

    pub fn remove(&self, digest: &Digest) {
        self.0.tokens.remove(digest);
    }

    /// Forgets every token that `keep` refuses: for reloading where the feed has a gap.
    pub fn retain(&self, keep: impl FnMut(&Digest, &Identity) -> bool) {
        self.0.tokens.retain(keep);
    }

    /// Puts what the store says of an environment in force; `*` for what holds in every app.
    pub fn set(&self, app: &TokenApp, environment: &EnvironmentName, standing: Standing) {
        self.0.write().set(app, environment, standing);
    }

    /// Declares everything up to `revision` in force; `receipts` are of revisions up to it.
    pub fn publish(&self, revision: u64, receipts: impl IntoIterator<Item = (u64, Receipt)>) {
        let mut kept = self.0.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(receipts);
        let surplus = kept.len().saturating_sub(RECEIPTS);
        kept.drain(..surplus);
        drop(kept);
        self.0.revision.send_replace(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rate;

    #[tokio::test]
    async fn a_revision_is_awaited_with_its_receipt() {
        let (index, writer) = Index::new();
        let reached = index.reached();
        let waiting = tokio::spawn(async move { reached.wait(2).await });
        writer.publish(1, []);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        writer.publish(3, [(2, Receipt { requests: 1, streams: 4 })]);
        assert_eq!(waiting.await.unwrap(), Receipt { requests: 1, streams: 4 });
    }

    #[test]
    fn whoever_serves_gives_way_as_long_as_anything_is_ending() {
        let (index, _writer) = Index::new();
        let hurries = [index.reached().hurry(), index.reached().hurry()];
        for hurry in hurries {
            assert!(index.is_hurried());
            drop(hurry);
        }
        assert!(!index.is_hurried());
    }

    #[test]
    fn an_edit_of_the_rules_keeps_the_use_of_the_rate() {
        let (index, writer) = Index::new();
        let digest = Digest::from_bytes([7; 32]);
        let rules = Rules { rate: Rate::parse("1/1h").ok(), ..Rules::default() };
        assert!(writer.restrictions(&digest, Rules::default()).is_none());
        let mut identity = Identity {
            id: TokenId::NONE,
            app: None,
            environment: writer.name("production"),
            expires: NEVER,
            minted_under: 0,
            on_publish: OnPublish::Keep,
            revoked: false,
            label: "".into(),
            restrictions: writer.restrictions(&digest, rules.clone()),
        };
        writer.put(digest, identity.clone());
        let admit = || index.get(&digest).unwrap().restrictions.unwrap().limiter.as_ref().unwrap().admit(0);
        assert_eq!(admit(), Ok(()));
        identity.restrictions = writer.restrictions(&digest, rules);
        writer.put(digest, identity);
        assert!(admit().is_err());
    }
}
