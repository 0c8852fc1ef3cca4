//! Connections for reading, off the async threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::super::StoreError;
use super::{Health, file};
use crate::model::Hindsight;
use crate::telemetry::Operations;

/// Steps of SQLite's machine between two looks at whether to go on: some 50 µs.
const STEPS: i32 = 4096;

/// A bounded set of connections, opened as they are needed. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Reader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    hindsight: Arc<Hindsight>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    /// How long a read may take; `None`: as long as it does.
    patience: Option<Duration>,
    health: Arc<Health>,
    operations: Arc<Operations>,
}

/// Tells a read that nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Reader {
    /// One connection, for reads that may take as long as they do.
    pub(in crate::store) fn new(
        path: &Path,
        hindsight: Arc<Hindsight>,
        health: Arc<Health>,
        operations: Arc<Operations>,
    ) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            hindsight,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(1)),
            patience: None,
            health,
            operations,
        }))
    }

    /// One more connection to the same store, which no one else uses.
    pub(in crate::store) fn alone(&self) -> Self {
        let Inner { path, hindsight, health, operations, .. } = &*self.0;
        Self::new(path, hindsight.clone(), health.clone(), operations.clone())
    }

    /// So many more connections, each for at most so long at a time.
    pub(in crate::store) fn beside(&self, connections: usize, patience: Duration) -> Self {
        let Inner { path, hindsight, health, operations, .. } = &*self.0;
        Self(Arc::new(Inner {
            path: path.clone(),
            hindsight: hindsight.clone(),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(connections)),
            patience: Some(patience),
            health: health.clone(),
            operations: operations.clone(),
        }))
    }

    /// Runs `read` in a read transaction on a thread that may block. It ends early once its caller has gone away.
    pub(in crate::store) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = |_| StoreError::Unavailable("it is closed".to_owned());
        let permit = self.0.permits.clone().acquire_owned().await.map_err(closed)?;
        let reader = self.clone();
        let gone = Arc::new(AtomicBool::new(false));
        let _waiting = Waiting(gone.clone());
        // The permit goes along: a caller that gives up does not free the connection that still works for it.
        let reading = tokio::task::spawn_blocking(move || {
            let until = reader.0.patience.map(|patience| Instant::now() + patience);
            let give_up =
                move || gone.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until);
            let answer = reader.answer(Some(give_up), read);
            drop(permit);
            answer
        });
        reading.await.unwrap_or_else(|e| Err(StoreError::gave_up(&e)))
    }

    /// Runs `read` in a read transaction on this thread, to its end.
    pub(in crate::store) fn read_blocking<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.answer(None::<fn() -> bool>, read)
    }

    pub(in crate::store) fn close(&self) {
        self.0.permits.close();
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn answer<T>(
        &self,
        give_up: Option<impl FnMut() -> bool + Send + 'static>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = self.attempt(give_up, read);
        self.0.operations.reads.ended(began, answer.is_err());
        // That a read was broken off says nothing about the store.
        let broken_off = |e: &rusqlite::Error| e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted);
        if !answer.as_ref().is_err_and(broken_off) {
            self.0.health.read_failed.store(answer.is_err(), Ordering::Relaxed);
        }
        Ok(answer?)
    }

    /// A connection that failed is dropped: the next read opens a new one.
    fn attempt<T>(
        &self,
        give_up: Option<impl FnMut() -> bool + Send + 'static>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => file::connect_to_read(&self.0.path, &self.0.hindsight)?,
        };
        connection.progress_handler(STEPS, give_up)?;
        let transaction = connection.unchecked_transaction()?;
        let answer = read(&transaction)?;
        transaction.finish()?;
        if !self.0.permits.is_closed() {
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHOUT_END: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

    fn reader(folder: &Path) -> Reader {
        let path = folder.join("s.db");
        drop(file::open(&path).unwrap());
        Reader::new(&path, Arc::default(), Arc::default(), Arc::default())
    }

    async fn ask(reader: &Reader, sql: &'static str) -> Result<i64, StoreError> {
        reader.read(move |conn| conn.query_row(sql, [], |row| row.get(0))).await
    }

    #[tokio::test]
    async fn a_read_that_takes_too_long_is_broken_off_and_no_sign_of_ill_health() {
        let folder = tempfile::tempdir().unwrap();
        let reader = reader(folder.path()).beside(1, Duration::from_millis(1));
        assert_eq!(ask(&reader, WITHOUT_END).await, Err(StoreError::Slow));
        assert!(reader.0.health.good());
        assert_eq!(ask(&reader, "SELECT 7").await, Ok(7));
        assert!(ask(&reader, "SELECT x FROM nowhere").await.is_err() && !reader.0.health.good());
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_lets_go_of_its_connection() {
        let folder = tempfile::tempdir().unwrap();
        let reader = reader(folder.path());
        let without_end = tokio::spawn({
            let reader = reader.clone();
            async move { ask(&reader, WITHOUT_END).await }
        });
        while reader.0.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        without_end.abort();
        assert_eq!(ask(&reader, "SELECT 7").await, Ok(7));
    }
}
