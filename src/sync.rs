//! The follower: the store's change feed into the gateway's index, and the board's last uses into the store.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::sync::watch;

use crate::board::{Affected, Board, Stopped};
use crate::credential::Digest;
use crate::index::{self, Identity, NEVER, Receipt, Standing};
use crate::model::{NameRef, SecretName, TokenApp};
use crate::secrets::Safe;
use crate::store::{Binding, Changed, EnvironmentRow, Feed, Followed, Loaded, Store, StoreError, Use};

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
    safe: Safe,
    at: u64,
    /// Of endings that no revision was published for yet.
    receipts: Vec<(u64, Receipt)>,
}

/// How far one look at the feed got.
struct Look {
    at: u64,
    /// Whether the feed may hold more.
    full: bool,
}

impl Follower {
    /// Fills the index and the safe with what the store holds. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read or holds something unreadable.
    pub fn load(
        store: &Store,
        writer: index::Writer,
        board: Arc<Board>,
        safe: Safe,
    ) -> Result<Self, StoreError> {
        let feed = store.feed();
        let began = Instant::now();
        let at = feed.load(|loaded| match loaded {
            Loaded::Tokens(count) => writer.reserve(count),
            Loaded::Token(binding) => drop(put(&writer, binding)),
            Loaded::Environment(row) => drop(set(&writer, row)),
            Loaded::Secret(stored) => safe.put(stored.secret, &stored.sealed),
        })?;
        writer.publish(at, []);
        board.following.caught_up(began);
        let (store, writer) = (store.clone(), Arc::new(writer));
        Ok(Self { store, feed, writer, board, safe, at, receipts: Vec::new() })
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
                    self.board.following.failed();
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
            let began = Instant::now();
            let (affected, look) = self.look().await;
            // In force means both: the next request is refused, and those in flight have ended. A look that failed half
            // way has changed the index too, and the next one will not see that again.
            let receipts = self.end(affected).await;
            self.receipts.extend(receipts);
            let look = look?;
            if look.at != self.at {
                self.writer.publish(look.at, self.receipts.drain(..));
                self.at = look.at;
            }
            if !look.full {
                self.board.following.caught_up(began);
                return Ok(());
            }
        }
    }

    /// Reads what follows and puts it into the index; returns what that may have ended, however far it got.
    async fn look(&self) -> (Affected, Result<Look, StoreError>) {
        let (feed, writer, safe, at) = (self.feed.clone(), self.writer.clone(), self.safe.clone(), self.at);
        let looking = tokio::task::spawn_blocking(move || look(&feed, &writer, &safe, at));
        match looking.await {
            Ok(look) => look,
            Err(e) => (Affected { all: Some(at), ..Affected::default() }, Err(StoreError::gave_up(&e))),
        }
    }

    /// Has new releases put in force, and ends what is in flight and no longer may be, all at once: a thousand
    /// revocations take as long as one.
    async fn end(&self, affected: Affected) -> Vec<(u64, Receipt)> {
        if affected.is_empty() {
            return Vec::new();
        }
        let releases = async {
            if !affected.environments.is_empty() {
                self.board.releases.announce().await;
            }
        };
        let ((), ended) = tokio::join!(releases, self.board.end(affected.clone()));
        let mut receipts: HashMap<u64, Receipt> = HashMap::new();
        for Stopped { revision, requests, streams } in ended {
            let receipt = receipts.entry(revision).or_default();
            receipt.requests += requests;
            receipt.streams += streams;
        }
        receipts.into_iter().collect()
    }
}

fn look(
    feed: &Feed,
    writer: &index::Writer,
    safe: &Safe,
    after: u64,
) -> (Affected, Result<Look, StoreError>) {
    let mut affected = Affected::default();
    let followed = feed.follow(after, BATCH, |revision, changed| match changed {
        Changed::Token(binding) => {
            let (id, now) = (binding.id, Span::of(&binding));
            // What was not in force before has nothing in flight.
            if put(writer, binding).is_some_and(|before| now.is_shorter_than(&before)) {
                affected.tokens.insert(id, revision);
            }
        }
        Changed::Revoked(id, digest) => {
            affected.tokens.extend(writer.revoke(&digest).then_some((id, revision)));
        }
        Changed::Forgotten(id, digest) => {
            writer.remove(&digest);
            affected.tokens.insert(id, revision);
        }
        Changed::Environment(row) => affected.environments.extend(set(writer, row).map(|of| (of, revision))),
        // What is under way keeps what it was sent with.
        Changed::Secret(stored) => safe.put(stored.secret, &stored.sealed),
        Changed::NoSecret(name) => safe.vault.remove(&name),
        Changed::Other => {}
    });
    let look = match followed {
        Ok(Followed::UpTo(at)) => Ok(Look { at, full: at - after == BATCH as u64 }),
        Ok(Followed::Gap) => reload(feed, writer, safe, after, &mut affected),
        Err(e) => Err(e),
    };
    (affected, look)
}

/// Loads everything anew, and has what was in force and may no longer be judged anew.
fn reload(
    feed: &Feed,
    writer: &index::Writer,
    safe: &Safe,
    after: u64,
    affected: &mut Affected,
) -> Result<Look, StoreError> {
    tracing::warn!(revision = after, "the change feed no longer reaches back: loading everything again");
    let mut present: HashSet<Digest> = HashSet::new();
    let mut secrets: HashSet<SecretName> = HashSet::new();
    let at = feed.load(|loaded| match loaded {
        Loaded::Tokens(count) => present.reserve(count),
        Loaded::Token(binding) => {
            let (id, now) = (binding.id, Span::of(&binding));
            present.insert(binding.digest);
            if put(writer, binding).is_some_and(|before| now.is_shorter_than(&before)) {
                affected.tokens.insert(id, after);
            }
        }
        Loaded::Environment(row) => {
            affected.environments.extend(set(writer, row).map(|environment| (environment, after)));
        }
        Loaded::Secret(stored) => {
            secrets.insert(stored.secret.name.clone());
            safe.put(stored.secret, &stored.sealed);
        }
    })?;
    safe.retain(&secrets);
    writer.retain(|digest, identity| {
        let keep = present.contains(digest);
        if !keep {
            affected.tokens.insert(identity.id, after);
        }
        keep
    });
    Ok(Look { at, full: false })
}

/// How long a token lives, as far as its own row says.
struct Span {
    revoked: bool,
    expires: i64,
}

impl Span {
    fn of(binding: &Binding) -> Self {
        Self { revoked: binding.revoked, expires: binding.expires_at.unwrap_or(NEVER) }
    }

    fn is_shorter_than(&self, before: &Identity) -> bool {
        self.revoked && !before.revoked || self.expires < before.expires
    }
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
        minted_under: binding.deployment,
        on_publish: binding.on_publish,
        revoked: binding.revoked,
        label: Cow::from(utf8_percent_encode(&binding.label, ENCODED)).into(),
        restrictions: writer.restrictions(&binding.digest, binding.rules),
    };
    writer.put(binding.digest, identity)
}

/// Puts an environment's state in force; names the one environment whose requests that may end.
fn set(writer: &index::Writer, row: EnvironmentRow) -> Option<(NameRef, NameRef)> {
    let EnvironmentRow { app, name, opened, switched, deployment, published, upstreams } = row;
    writer.set(&app, &name, Standing { opened, switched, deployment, published, upstreams });
    match app {
        // That something may be let in ends nothing.
        TokenApp::Every => None,
        TokenApp::One(app) => Some((writer.name(app.as_str()), writer.name(name.as_str()))),
    }
}

/// Takes last uses off the board and writes them down, now and then and at the end.
async fn note_last_uses(store: Store, board: Arc<Board>, mut stop: watch::Receiver<bool>) {
    loop {
        let ending = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(LAST_USES) => false,
        };
        let taken = board.take_last_uses(jiff::Timestamp::now().as_millisecond());
        let mut unwritten = taken.len() as u64;
        if unwritten > 0 {
            let each = taken.iter().flat_map(|(of, all)| all.iter().map(move |used| (*of, used)));
            let uses = each.map(|(of, used)| Use { of, at: used.at, from: used.client }).collect();
            // The writer says once why it cannot write; what it did not take waits on the board, one entry a token.
            if store.note_last_uses(uses).await.is_ok() {
                unwritten = 0;
                board.wrote_last_uses();
                board.following.flushed.store(jiff::Timestamp::now().as_millisecond(), Ordering::Relaxed);
            } else {
                board.following.failed_flushes.add(1);
            }
            board.following.unwritten_uses.store(unwritten, Ordering::Relaxed);
        }
        if ending {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::credential::{Kind, Plaintext};
    use crate::index::Index;
    use crate::model::{EnvironmentName, Label, OnPublish, Rules, Text, TokenId};
    use crate::secrets::KeyFile;
    use crate::store::{Act, Limits, NewToken, Outlets};

    fn safe(folder: &tempfile::TempDir) -> Safe {
        Safe::open(KeyFile::at(&folder.path().join("s.key"))).unwrap()
    }

    fn act() -> Act {
        Act {
            at: Timestamp::now(),
            actor: "operator".to_owned(),
            key: None,
            from: "socket".to_owned(),
            once: None,
        }
    }

    fn token(value: &Plaintext) -> NewToken {
        NewToken {
            share: None,
            digest: value.digest(),
            hint: value.hint().to_owned(),
            label: Label::parse("Grüße 100%").unwrap(),
            description: Text::default(),
            app: TokenApp::parse("shop").unwrap(),
            environment: EnvironmentName::parse("production").unwrap(),
            on_publish: OnPublish::Keep,
            rules: Rules::default(),
            expires_at: None,
            lifetime: None,
        }
    }

    async fn mint(store: &Store) -> (Digest, TokenId, u64) {
        let value = Plaintext::generate(Kind::Token).unwrap();
        let (minted, revision) = store.mint_token(act(), token(&value), Limits::default()).await.unwrap();
        (value.digest(), minted.id, revision)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_come_into_force_with_their_receipts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("s.db")).unwrap();
        let before = mint(&store).await;
        let (index, writer) = Index::new();
        let (board, mut mailboxes) = Board::new(1);
        let follower = Follower::load(&store, writer, board.clone(), safe(&folder)).unwrap();
        assert_eq!(index.get(&before.0).unwrap().label, "Gr%C3%BC%C3%9Fe%20100%25".into());
        let (stop, stopping) = watch::channel(false);
        let following = tokio::spawn(follower.run(stopping));
        let after = mint(&store).await;
        index.reached().wait(after.2).await;
        assert!(!index.get(&after.0).unwrap().revoked);

        let mut mailbox = mailboxes.remove(0);
        let refusing = index.clone();
        let worker = tokio::spawn(async move {
            let ending = mailbox.recv().await.unwrap();
            // By now the next request must be refused already.
            assert!(refusing.get(&after.0).unwrap().revoked);
            let revision = ending.of.tokens[&after.1];
            ending.done.send(vec![Stopped { revision, requests: 1, streams: 2 }]).unwrap();
            ending.of.as_ref().clone()
        });
        let revoked = store.revoke_token(act(), after.1, None, Outlets::default()).await.unwrap();
        let receipt = index.reached().wait(revoked.revision).await;
        assert_eq!(receipt, Receipt { requests: 1, streams: 2 });
        assert_eq!(worker.await.unwrap().tokens, HashMap::from([(after.1, revoked.revision)]));

        board.posts()[0].used(before.1, crate::board::LastUse { at: 5_000, client: [127, 0, 0, 1].into() });
        stop.send_replace(true);
        following.await.unwrap();
        let used = store.token(before.1).await.unwrap().unwrap().last_used_at;
        assert_eq!(used.map(Timestamp::as_millisecond), Some(5_000));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_look_that_fails_half_way_ends_what_it_put_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        let store = Store::open(&path).unwrap();
        let (digest, id, _) = mint(&store).await;
        let (index, writer) = Index::new();
        let (board, mut mailboxes) = Board::new(1);
        let mut follower = Follower::load(&store, writer, board, safe(&folder)).unwrap();
        let revoked = store.revoke_token(act(), id, None, Outlets::default()).await.unwrap().revision;
        let direct = rusqlite::Connection::open(&path).unwrap();
        let next = i64::try_from(revoked + 1).unwrap();
        direct.execute("INSERT INTO feed VALUES (?, 'forgotten', 'unreadable', NULL)", [next]).unwrap();

        let mut mailbox = mailboxes.remove(0);
        let worker = tokio::spawn(async move {
            let ending = mailbox.recv().await.unwrap();
            let stopped = Stopped { revision: ending.of.tokens[&id], requests: 0, streams: 1 };
            ending.done.send(vec![stopped]).unwrap();
        });
        assert!(follower.catch_up().await.is_err());
        worker.await.unwrap();
        assert!(index.get(&digest).unwrap().revoked && index.revision() < revoked);

        direct.execute("UPDATE feed SET kind = 'key' WHERE revision = ?", [next]).unwrap();
        follower.catch_up().await.unwrap();
        assert_eq!(index.reached().wait(revoked).await, Receipt { requests: 0, streams: 1 });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_token_whose_row_cannot_be_read_is_refused_and_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        let store = Store::open(&path).unwrap();
        let (spoilt, other) = (mint(&store).await, mint(&store).await);
        let (index, writer) = Index::new();
        let (board, _) = Board::new(0);
        let mut follower = Follower::load(&store, writer, board, safe(&folder)).unwrap();
        let direct = rusqlite::Connection::open(&path).unwrap();
        direct
            .execute("UPDATE tokens SET scopes = '[\"bad\"]' WHERE id = ?", [spoilt.1.to_string()])
            .unwrap();
        let next = i64::try_from(other.2 + 1).unwrap();
        direct
            .execute("INSERT INTO feed VALUES (?, 'token', ?, NULL)", (next, spoilt.1.to_string()))
            .unwrap();
        let (affected, look) = follower.look().await;
        assert!(look.is_ok() && affected.tokens.contains_key(&spoilt.1));
        assert!(index.get(&spoilt.0).is_none() && index.get(&other.0).is_some());
        follower.catch_up().await.unwrap();
        assert_eq!(index.revision(), other.2 + 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_revocations_wait_for_a_silent_worker_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("s.db")).unwrap();
        let mut tokens = Vec::new();
        for _ in 0..200 {
            tokens.push(mint(&store).await);
        }
        let (index, writer) = Index::new();
        // The mailbox is kept and never read.
        let (board, _mailboxes) = Board::new(1);
        let follower = Follower::load(&store, writer, board, safe(&folder)).unwrap();
        let mut last = 0;
        for (_, id, _) in &tokens {
            last = store.revoke_token(act(), *id, None, Outlets::default()).await.unwrap().revision;
        }
        let (_stop, stopping) = watch::channel(false);
        let started = Instant::now();
        tokio::spawn(follower.run(stopping));
        index.reached().wait(last).await;
        assert!(started.elapsed() < Duration::from_secs(3), "one after the other it would be 10 s");
        assert!(tokens.iter().all(|(digest, ..)| index.get(digest).unwrap().revoked));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn forgotten_tokens_leave_and_gaps_are_reloaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        let store = Store::open(&path).unwrap();
        let (kept, gone, lost) = (mint(&store).await, mint(&store).await, mint(&store).await);
        let (index, writer) = Index::new();
        let (board, _) = Board::new(0);
        let mut follower = Follower::load(&store, writer, board, safe(&folder)).unwrap();
        store.revoke_token(act(), gone.1, None, Outlets::default()).await.unwrap();
        store.forget_ended(Timestamp::now()).await.unwrap();
        follower.catch_up().await.unwrap();
        assert!(index.get(&gone.0).is_none() && index.len() == 2);

        store.revoke_token(act(), lost.1, None, Outlets::default()).await.unwrap();
        store.forget_ended(Timestamp::now()).await.unwrap();
        let (fresh, ..) = mint(&store).await;
        let direct = rusqlite::Connection::open(&path).unwrap();
        direct
            .execute("DELETE FROM feed WHERE revision <= (SELECT max(revision) - 1 FROM feed)", [])
            .unwrap();
        follower.catch_up().await.unwrap();
        assert!(index.get(&lost.0).is_none());
        assert!(index.get(&kept.0).is_some() && index.get(&fresh).is_some());
        assert_eq!(index.revision(), *store.revisions().borrow());
    }
}
