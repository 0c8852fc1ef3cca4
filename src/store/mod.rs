//! What a store promises: an answer to a write means that it is on disk, with its audit entry and its revision in
//! the feed. Revisions become visible in order and without gaps. A write that fails changes nothing and leaves the
//! store serving; the next one may succeed.
//!
//! One thread writes. Reads have connections of their own and run off the async threads.

mod error;
mod leaks;
mod reads;
mod record;
mod sqlite;
#[cfg(test)]
mod tests;
mod unwritten;
mod writes;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::model::Hindsight;
use crate::telemetry::Operations;

pub use error::{NotDone, OpenError, Refused, StoreError};
pub use leaks::{
    Ahead, FirstUse, Graces, LeakFilter, NOTICES, Outlets, Piece, Places, Reaction, Reactions, Reported,
    Settlement, Suspect,
};
pub use record::{
    Act, EntryFilter, EnvironmentRow, Held, Inspected, KeyFilter, Limits, MemberEdit, NewDeployment, NewKey,
    NewSecret, NewShare, NewToken, Once, Published, Removal, Repeat, Reseal, Revocation, Rotation,
    SealedSecret, SecretEdit, Share, Side, TokenEdit, TokenFilter, Use,
};
pub use sqlite::{Binding, Changed, Feed, Followed, Loaded, Prospect, ProspectFilter, Sighted};
pub use writes::Backup;

use sqlite::{Health, Reader, Verdict, Writer};
use unwritten::Unwritten;

/// Connections that find one thing by its name, among them whose key each call came with.
const LOOKUPS: usize = 2;
/// Connections that go through rows, as lists and searches do.
const LISTS: usize = 4;
/// Copies that are made or handed over at once: whoever takes one slowly does not keep the next from being made.
const COPIES: usize = 2;
/// How long a question may keep a connection from others.
const PATIENCE: Duration = Duration::from_secs(5);

/// A handle on one store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Writer,
    lookups: Reader,
    lists: Reader,
    /// Nobody waits for what it reads.
    upkeep: Reader,
    health: Arc<Health>,
    operations: Arc<Operations>,
    hindsight: Arc<Hindsight>,
    unwritten: Arc<Unwritten>,
    verdict: Mutex<Option<Verdict>>,
    path: PathBuf,
    /// Each copy takes as much room as the store itself.
    backups: Arc<Semaphore>,
}

impl Store {
    /// Opens the store at `path`, making it if there is none, and starts its writer. Blocks. The file may still turn out
    /// to be damaged: nothing is to be built on it before [`Self::sound`] has answered.
    ///
    /// # Errors
    /// When the file cannot be used; the error names it and says what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let health = Arc::new(Health::default());
        let mut opened = sqlite::open(path)?;
        let verdict = Mutex::new(opened.verdict.take());
        let operations = Arc::<Operations>::default();
        let (path, hindsight) = (opened.path.clone(), opened.hindsight.clone());
        let unwritten = opened.unwritten.clone();
        let upkeep = Reader::new(&path, hindsight.clone(), health.clone(), operations.clone());
        let (lookups, lists) = (upkeep.beside(LOOKUPS, PATIENCE), upkeep.beside(LISTS, PATIENCE));
        let writer = Writer::start(opened, health.clone(), operations.clone())?;
        let backups = Arc::new(Semaphore::new(COPIES));
        Ok(Self(Arc::new(Inner {
            writer,
            lookups,
            lists,
            upkeep,
            health,
            operations,
            hindsight,
            unwritten,
            verdict,
            path,
            backups,
        })))
    }

    /// Waits until the whole file was looked through for damage, which began when it was opened. Blocks.
    ///
    /// # Errors
    /// When any of it is damaged; told once.
    pub fn sound(&self) -> Result<(), OpenError> {
        let verdict = self.0.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(verdict) = verdict else { return Ok(()) };
        verdict.join().unwrap_or_else(|_| {
            let cause = io::Error::other("the search for damage came to no end");
            Err(OpenError::Io { path: self.0.path.clone(), cause })
        })
    }

    /// Whether the store at `path` could be opened, if there is one, and what is in it, where that can be read now; of
    /// tokens, how many live of each of `names`. Leaves no trace. Blocks.
    ///
    /// # Errors
    /// When it could not; the error is that of [`Self::open`].
    pub fn inspect(path: &Path, names: &[&str]) -> Result<Option<Inspected>, OpenError> {
        sqlite::inspect(path, names)
    }

    /// Finishes what is queued, then stops the writer and lets go of the file. Later writes are refused.
    pub async fn close(&self) {
        self.0.writer.close().await;
        for readers in [&self.0.lookups, &self.0.lists, &self.0.upkeep] {
            readers.close();
        }
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

    /// What was seen to have ended, for all who judge by the wall clock.
    #[must_use]
    pub fn hindsight(&self) -> Arc<Hindsight> {
        self.0.hindsight.clone()
    }

    /// The revision last committed, as it moves.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.0.writer.revisions()
    }

    /// The change feed, on a connection of its own: no listing delays it.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed::new(self.0.upkeep.alone())
    }
}
