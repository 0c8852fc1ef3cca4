//! The worker threads and the ways to them.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};

use crate::board::Ending;
use crate::gateway::listen::Door;
use crate::gateway::{Drain, Gateway, worker};

/// All workers, running.
pub(super) struct Workers {
    pub(super) doors: Arc<[Door]>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// One for each post on the board; `mailboxes` are those of the posts.
    pub(super) fn start(
        gateway: &Arc<Gateway>,
        mailboxes: Vec<mpsc::UnboundedReceiver<Ending>>,
        draining: &watch::Receiver<Drain>,
    ) -> Result<Self> {
        let mut doors = Vec::new();
        let mut threads = Vec::new();
        for (number, (post, mailbox)) in gateway.board.posts().iter().zip(mailboxes).enumerate() {
            let (connections, accepted) = mpsc::unbounded_channel();
            doors.push(Door { post: post.clone(), connections });
            let (gateway, post, draining) = (gateway.clone(), post.clone(), draining.clone());
            let serve = move || {
                if let Err(error) = worker::run(gateway, post, accepted, mailbox, draining) {
                    tracing::error!("worker {number}: {error}");
                }
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(serve);
            threads.push(thread.context("no thread for a worker")?);
        }
        Ok(Self { doors: doors.into(), threads })
    }
}
