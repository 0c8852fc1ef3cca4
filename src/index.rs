//! What the gateway reads: every token's binding by its digest, every environment's state, and the revision of the
//! store that both are at. Only the follower holds the [`Writer`].

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use tokio::sync::watch;

use crate::credential::Digest;
use crate::model::{AppName, EnvironmentName, TokenApp, TokenId};

/// `expires` of a token that never does.
pub const NEVER: i64 = i64::MAX;
/// How many receipts are kept for callers that have yet to collect theirs.
const RECEIPTS: usize = 4096;

/// A name as a small number, equal exactly where the names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameRef(u32);

/// What one token is bound to, as the decision needs it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: TokenId,
    /// `None`: every app.
    pub app: Option<NameRef>,
    pub environment: NameRef,
    /// Unix milliseconds; [`NEVER`] for none.
    pub expires: i64,
    pub revoked: bool,
    /// As the app receives it: percent-encoded; `None` where empty.
    pub label: Option<Arc<str>>,
}

/// The state of one environment that the store decides.
#[derive(Debug)]
pub struct EnvironmentState {
    pub app: NameRef,
    pub name: NameRef,
    opened: AtomicBool,
}

impl EnvironmentState {
    /// Whether a token was ever minted for it.
    #[must_use]
    pub fn opened(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }
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
    tokens: DashMap<Digest, Identity, BuildHasherDefault<DigestHasher>>,
    environments: Mutex<Environments>,
    revision: watch::Sender<u64>,
    receipts: Mutex<VecDeque<(u64, Receipt)>>,
}

#[derive(Debug, Default)]
struct Environments {
    names: HashMap<Box<str>, NameRef>,
    states: HashMap<(NameRef, NameRef), Arc<EnvironmentState>>,
    /// Environment names that a token for every app has opened.
    opened_for_every_app: Vec<NameRef>,
}

impl Environments {
    fn name(&mut self, name: &str) -> NameRef {
        let next = NameRef(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        *self.names.entry(name.into()).or_insert(next)
    }

    fn state(&mut self, app: &AppName, environment: &EnvironmentName) -> &Arc<EnvironmentState> {
        let (app, name) = (self.name(app.as_str()), self.name(environment.as_str()));
        let opened = AtomicBool::new(self.opened_for_every_app.contains(&name));
        self.states.entry((app, name)).or_insert_with(|| Arc::new(EnvironmentState { app, name, opened }))
    }
}

impl Index {
    /// An empty index at revision 0, and the one handle that may change it.
    #[must_use]
    pub fn new() -> (Arc<Self>, Writer) {
        let index = Arc::new(Self {
            tokens: DashMap::default(),
            environments: Mutex::default(),
            revision: watch::Sender::new(0),
            receipts: Mutex::default(),
        });
        (index.clone(), Writer(index))
    }

    /// The binding of the token with this digest.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<Identity> {
        self.tokens.get(digest).map(|entry| entry.value().clone())
    }

    /// The live state of an environment, the same one for the index's whole life.
    pub fn environment(&self, app: &AppName, environment: &EnvironmentName) -> Arc<EnvironmentState> {
        self.lock().state(app, environment).clone()
    }

    /// Tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
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

    fn lock(&self) -> MutexGuard<'_, Environments> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
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
}

/// The only way to change an [`Index`]. There is one, and the follower holds it.
#[derive(Debug)]
pub struct Writer(Arc<Index>);

impl Writer {
    /// The small number that stands for `name` in an [`Identity`].
    #[must_use]
    pub fn name(&self, name: &str) -> NameRef {
        self.0.lock().name(name)
    }

    /// Puts a token in force; returns what was known of it before.
    pub fn put(&self, digest: Digest, identity: Identity) -> Option<Identity> {
        self.0.tokens.insert(digest, identity)
    }

    pub fn remove(&self, digest: &Digest) {
        self.0.tokens.remove(digest);
    }

    /// Forgets every token that `keep` refuses: for reloading where the feed has a gap.
    pub fn retain(&self, mut keep: impl FnMut(&Digest, &Identity) -> bool) {
        self.0.tokens.retain(|digest, identity| keep(digest, identity));
    }

    /// Notes that a token was minted for `environment` of `app`.
    pub fn open(&self, app: &TokenApp, environment: &EnvironmentName) {
        let mut environments = self.0.lock();
        match app {
            TokenApp::One(app) => environments.state(app, environment).opened.store(true, Ordering::Release),
            TokenApp::Every => {
                let name = environments.name(environment.as_str());
                if !environments.opened_for_every_app.contains(&name) {
                    environments.opened_for_every_app.push(name);
                }
                for state in environments.states.values().filter(|state| state.name == name) {
                    state.opened.store(true, Ordering::Release);
                }
            }
        }
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

/// Digests are uniform already: their own first eight bytes are the hash.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_token_for_every_app_opens_environments_known_before_and_after() {
        let (index, writer) = Index::new();
        let (shop, blog) = (AppName::parse("shop").unwrap(), AppName::parse("blog").unwrap());
        let production = EnvironmentName::parse("production").unwrap();
        let development = EnvironmentName::parse("development").unwrap();
        let before = index.environment(&shop, &production);
        assert!(!before.opened());
        writer.open(&TokenApp::Every, &production);
        assert!(before.opened());
        assert!(index.environment(&blog, &production).opened());
        assert!(!index.environment(&shop, &development).opened());
        writer.open(&TokenApp::One(shop.clone()), &development);
        assert!(index.environment(&shop, &development).opened());
        assert!(!index.environment(&blog, &development).opened());
    }
}
