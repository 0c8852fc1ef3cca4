//! Connections for reading, off the async threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::super::StoreError;
use super::{Health, file};
use crate::model::Hindsight;
use crate::telemetry::Operations;

/// A bounded set of connections, opened as they are needed. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Reader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    hindsight: Arc<Hindsight>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    health: Arc<Health>,
    operations: Arc<Operations>,
}

impl Reader {
    pub(in crate::store) fn new(
        path: &Path,
        hindsight: Arc<Hindsight>,
        connections: usize,
        health: Arc<Health>,
        operations: Arc<Operations>,
    ) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            hindsight,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(connections)),
            health,
            operations,
        }))
    }

    /// One more connection to the same store, which no one else uses.
    pub(in crate::store) fn alone(&self) -> Self {
        let Inner { path, hindsight, health, operations, .. } = &*self.0;
        Self::new(path, hindsight.clone(), 1, health.clone(), operations.clone())
    }

    /// Runs `read` in a read transaction on a thread that may block.
    pub(in crate::store) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = |_| StoreError("it is closed".to_owned());
        let permit = self.0.permits.clone().acquire_owned().await.map_err(closed)?;
        let reader = self.clone();
        // The permit goes along: a caller that gives up does not free the connection that still works for it.
        let reading = tokio::task::spawn_blocking(move || {
            let answer = reader.read_blocking(read);
            drop(permit);
            answer
        });
        reading.await.unwrap_or_else(|e| Err(StoreError::gave_up(&e)))
    }

    /// Runs `read` in a read transaction on this thread.
    pub(in crate::store) fn read_blocking<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = self.attempt(read);
        self.0.operations.reads.ended(began, answer.is_err());
        self.0.health.read_failed.store(answer.is_err(), Ordering::Relaxed);
        Ok(answer?)
    }

    pub(in crate::store) fn close(&self) {
        self.0.permits.close();
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A connection that failed is dropped: the next read opens a new one.
    fn attempt<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => file::connect_to_read(&self.0.path, &self.0.hindsight)?,
        };
        let transaction = connection.unchecked_transaction()?;
        let answer = read(&transaction)?;
        transaction.finish()?;
        if !self.0.permits.is_closed() {
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }
}
