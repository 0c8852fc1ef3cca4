//! The follower: the store's change feed into the gateway's index, and the board's last uses into the store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::board::{Board, Which};
use crate::credential::Digest;
use crate::index::{self, Identity, NEVER, Receipt};
use crate::model::{Refusal, TokenApp, TokenId};
use crate::store::{Binding, Changed, Feed, Followed, Loaded, Store, StoreError};

/// Revisions applied at once.
const BATCH: usize = 512;
/// How often the feed is read even where nothing woke the follower.
const POLL: Duration = Duration::from_secs(1);
/// How often last uses are written down.
const LAST_USES: Duration = Duration::from_secs(5);
/// The waits between attempts to read a store that cannot be read.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// What a label may not hold as it travels in a header: all outside `!` to `~`, and `%` itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Keeps the index at the store's last revision.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    feed: Feed,
    writer: Arc<index::Writer>,
    board: Arc<Board>,
    at: u64,
}

/// What one look at the feed asks for.
struct Look {
    at: u64,
    /// Tokens whose requests must end, with the last revision that says so.
    endings: HashMap<TokenId, u64>,
    /// Whether the feed may hold more.
    full: bool,
}

impl Follower {
    /// Fills the index with what the store holds. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read or holds something unreadable.
    pub fn load(store: &Store, writer: index::Writer, board: Arc<Board>) -> Result<Self, StoreError> {
        let feed = store.feed();
        let at = feed.load(|loaded| match loaded {
            Loaded::Token(binding) => drop(put(&writer, binding)),
            Loaded::Opened(app, environment) => writer.open(&app, &environment),
        })?;
        writer.publish(at, []);
        Ok(Self { store: store.clone(), feed, writer: Arc::new(writer), board, at })
    }

    /// Follows until `stop` is true or its sender is gone, then writes the last uses down a last time.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        let uses = note_last_uses(self.store.clone(), self.board.clone(), stop.clone());
        tokio::join!(self.follow(stop), uses);
    }

    async fn follow(&mut self, mut stop: watch::Receiver<bool>) {
        let mut committed = self.store.revisions();
        let mut failed = None;
        loop {
            match self.catch_up().await {
                Ok(()) => {
                    if failed.take().is_some() {
                        tracing::info!("the store can be read again");
                    }
                }
                Err(e) => {
                    if failed.is_none() {
                        tracing::error!(error = %e, "the store cannot be read: traffic goes on from memory");
                    }
                    failed = Some(failed.map_or(FIRST_WAIT, |wait: Duration| (wait * 2).min(LONGEST_WAIT)));
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                woken = committed.wait_for(|revision| *revision > self.at), if failed.is_none() => {
                    // The store is closed: nothing more will come.
                    if woken.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(failed.unwrap_or(POLL)) => {}
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let look = self.look().await?;
            // In force means both: the next request is refused, and those in flight have ended.
            let receipts = self.end(look.endings).await;
            if look.at != self.at {
                self.writer.publish(look.at, receipts);
                self.at = look.at;
            }
            if !look.full {
                return Ok(());
            }
        }
    }

    /// Reads what follows and puts it into the index.
    async fn look(&self) -> Result<Look, StoreError> {
        let (feed, writer, at) = (self.feed.clone(), self.writer.clone(), self.at);
        let looking = tokio::task::spawn_blocking(move || look(&feed, &writer, at));
        match looking.await {
            Ok(look) => look,
            Err(e) => Err(StoreError::gave_up(&e)),
        }
    }

    /// Ends what is in flight for each token, all at once: a thousand revocations take as long as one.
    async fn end(&self, endings: HashMap<TokenId, u64>) -> Vec<(u64, Receipt)> {
        let mut ending = JoinSet::new();
        for (token, revision) in endings {
            let board = self.board.clone();
            ending.spawn(async move {
                let (requests, streams) = board.end(Which::Token(token), Refusal::TokenRevoked).await;
                (revision, Receipt { requests, streams })
            });
        }
        ending.join_all().await
    }
}

fn look(feed: &Feed, writer: &index::Writer, after: u64) -> Result<Look, StoreError> {
    let mut endings = HashMap::new();
    let followed = feed.follow(after, BATCH, |revision, changed| match changed {
        Changed::Token(binding) => {
            let (id, revoked) = (binding.id, binding.revoked);
            put(writer, binding);
            if revoked {
                endings.insert(id, revision);
            }
        }
        Changed::Forgotten(id, digest) => {
            writer.remove(&digest);
            endings.insert(id, revision);
        }
        Changed::Opened(app, environment) => writer.open(&app, &environment),
        Changed::Other => {}
    })?;
    match followed {
        Followed::UpTo(at) => Ok(Look { at, endings, full: at - after == BATCH as u64 }),
        Followed::Gap => reload(feed, writer, after),
    }
}

/// Loads everything anew, and ends what was in force and no longer is.
fn reload(feed: &Feed, writer: &index::Writer, after: u64) -> Result<Look, StoreError> {
    tracing::warn!(revision = after, "the change feed no longer reaches back: loading everything again");
    let mut present: HashSet<Digest> = HashSet::new();
    let mut ended = Vec::new();
    let at = feed.load(|loaded| match loaded {
        Loaded::Token(binding) => {
            let (id, revoked) = (binding.id, binding.revoked);
            present.insert(binding.digest);
            let before = put(writer, binding);
            if revoked && before.is_some_and(|before| !before.revoked) {
                ended.push(id);
            }
        }
        Loaded::Opened(app, environment) => writer.open(&app, &environment),
    })?;
    writer.retain(|digest, identity| {
        let keep = present.contains(digest);
        if !keep {
            ended.push(identity.id);
        }
        keep
    });
    Ok(Look { at, endings: ended.into_iter().map(|id| (id, at)).collect(), full: false })
}

fn put(writer: &index::Writer, binding: Binding) -> Option<Identity> {
    let identity = Identity {
        id: binding.id,
        app: match &binding.app {
            TokenApp::Every => None,
            TokenApp::One(app) => Some(writer.name(app.as_str())),
        },
        environment: writer.name(binding.environment.as_str()),
        expires: binding.expires_at.unwrap_or(NEVER),
        revoked: binding.revoked,
        label: (!binding.label.is_empty())
            .then(|| utf8_percent_encode(&binding.label, ENCODED).to_string().into()),
    };
    writer.put(binding.digest, identity)
}

/// Takes last uses off the board and writes them down, now and then and at the end.
async fn note_last_uses(store: Store, board: Arc<Board>, mut stop: watch::Receiver<bool>) {
    let mut unwritten: HashMap<TokenId, i64> = HashMap::new();
    loop {
        let ending = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(LAST_USES) => false,
        };
        for (token, last) in board.take_last_uses() {
            let at = unwritten.entry(token).or_insert(last.at);
            *at = last.at.max(*at);
        }
        if !unwritten.is_empty() {
            let uses = unwritten.iter().map(|(token, at)| (*token, *at)).collect();
            // The writer says once why it cannot write; what it did not take waits here, one entry a token.
            if store.note_last_uses(uses).await.is_ok() {
                unwritten.clear();
            }
        }
        if ending {
            return;
        }
    }
}
