//! What a store promises: an answer to a write means that it is on disk, with its audit entry and its revision in
//! the feed. Revisions become visible in order and without gaps. A write that fails changes nothing and leaves the
//! store serving; the next one may succeed.
//!
//! One thread writes. Reads have connections of their own and run off the async threads.

mod error;
mod record;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::credential::Digest;
use crate::model::{EnvironmentName, Key, KeyId, Token, TokenApp, TokenId};
use crate::telemetry::Operations;

pub use error::{OpenError, StoreError};
pub use record::{Act, KeyFilter, NewKey, NewToken, Revocation, TokenFilter};
pub use sqlite::{Binding, Changed, Feed, Followed, Loaded};

use sqlite::{Health, Reader, Writer};

/// Connections that answer the admin side's questions.
const READERS: usize = 4;

/// A handle on one store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: Reader,
    health: Arc<Health>,
    operations: Arc<Operations>,
}

impl Store {
    /// Opens the store at `path`, making it if there is none, and starts its writer. Blocks.
    ///
    /// # Errors
    /// When the file cannot be used; the error names it and says what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let health = Arc::new(Health::default());
        let opened = sqlite::open(path)?;
        let operations = Arc::<Operations>::default();
        let readers = Reader::new(&opened.path, READERS, health.clone(), operations.clone());
        let writer = Writer::start(opened, health.clone(), operations.clone())?;
        Ok(Self(Arc::new(Inner { writer, readers, health, operations })))
    }

    /// Whether the store at `path` could be opened, if there is one. Leaves no trace. Blocks.
    ///
    /// # Errors
    /// When it could not; the error is that of [`Self::open`].
    pub fn inspect(path: &Path) -> Result<(), OpenError> {
        sqlite::inspect(path)
    }

    /// Finishes what is queued, then stops the writer and lets go of the file. Later writes are refused.
    pub async fn close(&self) {
        self.0.writer.close().await;
        self.0.readers.close();
    }

    /// Whether the last read and the last write succeeded.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.0.health.good()
    }

    /// How long reads and writes take and how many fail, as it goes on being counted.
    #[must_use]
    pub fn operations(&self) -> Arc<Operations> {
        self.0.operations.clone()
    }

    /// The revision last committed, as it moves.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.0.writer.revisions()
    }

    /// The change feed, on a connection of its own: no listing delays it.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed::new(self.0.readers.alone())
    }

    /// Stores a token; `None` when its creator is no longer a member.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn mint_token(&self, act: Act, new: NewToken) -> Result<Option<(Token, u64)>, StoreError> {
        self.0.writer.write(move |work| sqlite::tokens::mint(work, &act, new)).await
    }

    /// Revokes a token, once; `None` when there is none.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn revoke_token(
        &self,
        act: Act,
        id: TokenId,
        reason: Option<String>,
    ) -> Result<Option<Revocation<Token>>, StoreError> {
        self.0.writer.write(move |work| sqlite::tokens::revoke(work, &act, id, reason.as_deref())).await
    }

    /// Stores a management key, and its member if that is new.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn mint_key(&self, act: Act, new: NewKey) -> Result<(Key, u64), StoreError> {
        self.0.writer.write(move |work| sqlite::keys::mint(work, &act, new)).await
    }

    /// Revokes a management key, once; `None` when there is none.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn revoke_key(&self, act: Act, id: KeyId) -> Result<Option<Revocation<Key>>, StoreError> {
        self.0.writer.write(move |work| sqlite::keys::revoke(work, &act, id)).await
    }

    /// Notes in the audit log that the configuration was read again, and which keys that changed.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn note_reload(&self, act: Act, changed: Vec<String>) -> Result<(), StoreError> {
        self.0.writer.write(move |work| sqlite::audit::reload(work, &act, &changed)).await
    }

    /// Deletes, in small pieces, the tokens that ended at or before `cutoff`; returns how many.
    ///
    /// # Errors
    /// When a piece could not be written; earlier pieces stay done.
    pub async fn forget_ended(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        self.0.writer.bulk(sqlite::tokens::Forget::new(cutoff)).await
    }

    /// Notes when tokens were last used (Unix milliseconds), behind every other write and without a revision.
    ///
    /// # Errors
    /// When not all could be written; noting them again is harmless.
    pub async fn note_last_uses(&self, uses: Vec<(TokenId, i64)>) -> Result<(), StoreError> {
        self.0.writer.bulk(sqlite::tokens::LastUses::new(uses)).await.map(drop)
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        self.0.readers.read(move |conn| sqlite::tokens::get(conn, id)).await
    }

    /// The tokens that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tokens(&self, filter: TokenFilter) -> Result<Vec<Token>, StoreError> {
        self.0.readers.read(move |conn| sqlite::tokens::list(conn, &filter)).await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        self.0.readers.read(move |conn| sqlite::keys::get(conn, id)).await
    }

    /// The key with this digest, whatever its state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn key_by_digest(&self, digest: Digest) -> Result<Option<Key>, StoreError> {
        self.0.readers.read(move |conn| sqlite::keys::by_digest(conn, &digest)).await
    }

    /// The keys that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn keys(&self, filter: KeyFilter) -> Result<Vec<Key>, StoreError> {
        self.0.readers.read(move |conn| sqlite::keys::list(conn, &filter)).await
    }

    /// The environments that a token was ever minted for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn openings(&self) -> Result<Vec<(TokenApp, EnvironmentName)>, StoreError> {
        self.0.readers.read(sqlite::environments::openings).await
    }
}
