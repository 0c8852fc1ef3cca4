//! The most connections that may be open to one upstream, all workers together.
//!
//! A connection belongs to the worker that opened it and cannot be lent to another. What is counted is therefore open
//! connections: a worker that finds none free waits for one of its own or for a place, and the others close what they
//! hold idle as long as somebody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that may wait at one upstream; more are refused at once.
const WAITING: usize = 1024;

#[derive(Debug)]
pub(super) struct Cap {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    pub(super) most: u32,
}

/// A request that waits, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Cap {
    /// `None` where any number may be open.
    pub(super) fn new(most: u32) -> Option<Self> {
        let places = Arc::new(Semaphore::new(most as usize));
        (most > 0).then(|| Self { places, waiting: AtomicUsize::new(0), most })
    }

    /// A place for one more connection, if there is one now.
    pub(super) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place for one more connection, as soon as there is one; who asked first gets it.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Joins those who wait; `None` if they are too many.
    pub(super) fn queue(&self) -> Option<Waiting<'_>> {
        let waiting = Waiting(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(waiting)
    }

    /// How many wait on any worker.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
