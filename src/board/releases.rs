//! Word of new releases, for whoever puts their upstreams in force.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// Answered once it is done.
pub type Notice = oneshot::Sender<()>;

/// The way to whoever attends to releases.
#[derive(Debug, Default)]
pub struct Releases(Mutex<Option<mpsc::UnboundedSender<Notice>>>);

impl Releases {
    /// From here on the caller is told.
    pub fn attend(&self) -> mpsc::UnboundedReceiver<Notice> {
        let (way, notices) = mpsc::unbounded_channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        notices
    }

    /// Tells of new releases; returns once they are in force, or nobody attends any more.
    pub async fn announce(&self) {
        let (done, answer) = oneshot::channel();
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|way| way.send(done));
        if let Some(Ok(())) = told {
            // Dropped unanswered, it means the same.
            let _ = answer.await;
        }
    }
}
