//! The one thread that writes. Commands that are queued together are committed together, each in a savepoint of its
//! own, and answered after the commit; bulk work goes in small pieces between them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::super::{NotDone, OpenError, StoreError};
use super::work::{self, Halt, Marks, Work};
use super::{Health, Opened, feed};
use crate::telemetry::Operations;

/// Commands that wait; past it callers wait to be queued.
const QUEUE: usize = 1024;
/// Commands in one transaction, so that no answer waits for an endless one.
const GROUP: usize = 256;
/// How long a piece of bulk work may hold up a command.
const PIECE: Duration = Duration::from_millis(5);
/// Quiet time after which the log is copied back, or a failed writer tries again.
const IDLE: Duration = Duration::from_millis(500);

/// The handle on the writer's thread.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    commands: mpsc::Sender<Box<dyn Command>>,
    bulk: mpsc::Sender<Errand>,
    revisions: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    operations: Arc<Operations>,
}

/// Work that can wait and comes in pieces.
pub(in crate::store) trait Bulk: Send {
    /// Does a piece, at the longest until `until`; returns whether there is more.
    fn piece(&mut self, work: &mut Work<'_>, until: Instant) -> rusqlite::Result<bool>;
    /// How many things were done.
    fn done(&self) -> u64;
}

impl Writer {
    pub(in crate::store) fn start(
        opened: Opened,
        health: Arc<Health>,
        operations: Arc<Operations>,
    ) -> Result<Self, OpenError> {
        let path = opened.path.clone();
        let marks = Marks::read(&opened.connection).map_err(|e| OpenError::of(path.clone(), e))?;
        let io = |cause| OpenError::Io { path: path.clone(), cause };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(io)?;
        let (commands, command_queue) = mpsc::channel(QUEUE);
        let (bulk, bulk_queue) = mpsc::channel(QUEUE);
        let (stop, stopping) = watch::channel(false);
        let (committed, revisions) = watch::channel(marks.revision);
        let mut desk = Desk { opened, marks, committed, health, dirty: false };
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                desk.run(&runtime, command_queue, bulk_queue, stopping);
                desk.leave();
            })
            .map_err(io)?;
        Ok(Self { commands, bulk, revisions, stop, thread: Mutex::new(Some(thread)), operations })
    }

    /// Runs `act` in the next transaction and returns what it gave once that is on disk.
    async fn write<T, F>(&self, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Work<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let began = Instant::now();
        let (answer, answered) = oneshot::channel();
        let command = Queued { act: Some(act), result: None, answer };
        self.commands.send(Box::new(command)).await.map_err(|_| closed())?;
        let written = answered.await.map_err(|_| closed())?;
        self.operations.writes.ended(began, written.is_err());
        written
    }

    /// As [`Self::write`], for what may be refused.
    pub(in crate::store) async fn command<T, F>(&self, act: F) -> Result<T, NotDone>
    where
        T: Send + 'static,
        F: FnOnce(&mut Work<'_>) -> Result<T, Halt> + Send + 'static,
    {
        let act = |work: &mut Work<'_>| match act(work) {
            Ok(done) => Ok(Ok(done)),
            Err(Halt::Refused(refused)) => Ok(Err(refused)),
            Err(Halt::Failed(e)) => Err(e),
        };
        Ok(self.write(act).await??)
    }

    /// Has `work` done behind all commands; returns how many things it did.
    pub(in crate::store) async fn bulk(&self, work: impl Bulk + 'static) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.bulk.send(Errand { work: Box::new(work), answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    pub(in crate::store) fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.clone()
    }

    pub(in crate::store) async fn close(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !matches!(joined, Ok(true)) {
                tracing::error!("the store's writer ended badly");
            }
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// A command and whoever waits for it.
trait Command: Send {
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), StoreError>;
    /// Hands over what `run` gave, or why the transaction around it failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Queued<F, T> {
    act: Option<F>,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Command for Queued<F, T>
where
    T: Send,
    F: FnOnce(&mut Work<'_>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let Some(act) = self.act.take() else { return Ok(()) };
        let result = act(work).map_err(StoreError::from);
        let outcome = result.as_ref().map(drop).map_err(Clone::clone);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(closed()),
            (Err(e), _) => Err(e),
        };
        // A caller that went away wants no answer.
        let _ = self.answer.send(answer);
    }
}

struct Errand {
    work: Box<dyn Bulk>,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

/// What the writer turns to next.
enum Next {
    Commands,
    Errand(Errand),
    Piece,
    Idle,
    Stop,
    End,
}

/// The writer's own side.
struct Desk {
    opened: Opened,
    marks: Marks,
    committed: watch::Sender<u64>,
    health: Arc<Health>,
    /// Whether the log holds what the database does not.
    dirty: bool,
}

impl Desk {
    fn run(
        &mut self,
        runtime: &Runtime,
        mut commands: mpsc::Receiver<Box<dyn Command>>,
        mut bulk: mpsc::Receiver<Errand>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut batch = Vec::with_capacity(GROUP);
        let mut errand = None;
        let mut stopping = false;
        loop {
            let next = runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop), if !stopping => Next::Stop,
                    taken = commands.recv_many(&mut batch, GROUP), if !(commands.is_closed() && commands.is_empty()) => {
                        if taken == 0 { Next::Idle } else { Next::Commands }
                    }
                    () = std::future::ready(()), if errand.is_some() => Next::Piece,
                    next = bulk.recv() => next.map_or(Next::End, Next::Errand),
                    () = tokio::time::sleep(IDLE), if self.restless() => Next::Idle,
                }
            });
            match next {
                Next::Commands => {
                    self.commit(&mut batch);
                    // Commands come first, but not so that bulk work never gets its turn.
                    errand = errand.take().or_else(|| bulk.try_recv().ok());
                    errand = errand.and_then(|errand| self.piece(errand));
                }
                Next::Errand(next) => errand = Some(next),
                Next::Piece => errand = errand.and_then(|errand| self.piece(errand)),
                Next::Idle => self.rest(),
                Next::Stop => {
                    stopping = true;
                    commands.close();
                    bulk.close();
                }
                Next::End => break,
            }
        }
    }

    /// Lets go of the file, the lock last: whoever gets it next finds nothing half done.
    fn leave(self) {
        self.settle("TRUNCATE");
        let Opened { connection, lock, .. } = self.opened;
        drop(connection);
        drop(lock);
    }

    /// Whether quiet time would be put to use.
    fn restless(&self) -> bool {
        self.dirty || self.health.write_failed.load(Ordering::Relaxed)
    }

    fn rest(&mut self) {
        if self.health.write_failed.load(Ordering::Relaxed) {
            // Nobody may write for long: readiness should come back by itself.
            let tried = self.transact(|work| {
                work::set_meta(work.conn, "probe", &jiff::Timestamp::now().to_string())?;
                Ok(())
            });
            if tried.is_err() {
                return;
            }
        }
        if self.dirty {
            self.settle("PASSIVE");
            self.dirty = false;
        }
    }

    /// Copies the log back into the database, so that neither reading nor starting gets slower with age.
    fn settle(&self, how: &str) {
        let settled = self
            .opened
            .connection
            .query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get::<_, i64>(0));
        if let Err(e) = settled {
            tracing::warn!(error = %e, "the store's log could not be copied back; it is kept");
        }
    }

    fn commit(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        let mut failure = None;
        let committed = self.transact(|work| {
            batch.iter_mut().try_for_each(|command| single(work, command.as_mut(), &mut failure))
        });
        if let (Ok(()), Some(e)) = (&committed, failure) {
            self.note_failure(&e);
        }
        for command in batch.drain(..) {
            command.answer(committed.clone());
        }
    }

    /// Does one piece of an errand; returns it while there is more.
    fn piece(&mut self, mut errand: Errand) -> Option<Errand> {
        let until = Instant::now() + PIECE;
        match self.transact(|work| Ok(errand.work.piece(work, until)?)) {
            Ok(true) => return Some(errand),
            Ok(false) => {
                let _ = errand.answer.send(Ok(errand.work.done()));
            }
            Err(e) => {
                let _ = errand.answer.send(Err(e));
            }
        }
        None
    }

    /// One transaction: after it, either everything is on disk or nothing happened.
    fn transact<T>(
        &mut self,
        act: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let conn = &self.opened.connection;
        let attempt = || {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            let mut work = Work { conn, marks: self.marks, unwritten: &self.opened.unwritten };
            let answer = act(&mut work)?;
            work.marks.save(conn, &self.marks)?;
            feed::trim(conn, work.marks.revision)?;
            conn.execute_batch("COMMIT")?;
            Ok((answer, work.marks))
        };
        match attempt() {
            Ok((answer, marks)) => {
                let moved = marks.revision != self.marks.revision;
                self.marks = marks;
                self.dirty = true;
                if moved {
                    self.committed.send_replace(marks.revision);
                }
                if self.health.write_failed.swap(false, Ordering::Relaxed) {
                    tracing::info!("the store can be written again");
                }
                Ok(answer)
            }
            Err(e) => {
                roll_back(conn);
                self.note_failure(&e);
                Err(e)
            }
        }
    }

    /// Logs the first failure of a row; quiet time then finds out when it is over.
    fn note_failure(&self, e: &StoreError) {
        if !self.health.write_failed.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %e, "the store cannot be written: changes are refused until it can");
        }
    }
}

/// Runs one command so that its failure undoes it alone; fails if the whole transaction is lost.
fn single(
    work: &mut Work<'_>,
    command: &mut dyn Command,
    failure: &mut Option<StoreError>,
) -> Result<(), StoreError> {
    let before = work.marks;
    work.conn.execute_batch("SAVEPOINT command")?;
    if let Err(e) = command.run(work) {
        // A full disk or an I/O error may have undone everything already.
        if work.conn.is_autocommit() {
            return Err(e);
        }
        work.marks = before;
        work.conn.execute_batch("ROLLBACK TO command")?;
        *failure = Some(e);
    }
    work.conn.execute_batch("RELEASE command")?;
    Ok(())
}

fn roll_back(conn: &Connection) {
    if !conn.is_autocommit()
        && let Err(e) = conn.execute_batch("ROLLBACK")
    {
        tracing::error!(error = %e, "a failed transaction could not be undone yet");
    }
}
