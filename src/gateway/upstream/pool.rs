//! Connections to upstreams, kept by the worker that opened them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hyper::client::conn::http1::{self, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Target;
use super::stream::Stream;
use crate::gateway::clock;
use crate::gateway::upload::Upload;

/// Shorter than the idle time of common app servers (Node.js closes after 5 s), so that it is we who close.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections kept to one target by one worker.
const KEPT: usize = 256;
/// What hyper may buffer of a response head or a body.
const BUFFER: usize = 64 * 1024;

/// One worker's idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<*const Target, Vec<Idle>, RandomState>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
    /// Keeps the address in the map's key from being given to another target.
    _target: Arc<Target>,
}

impl Pool {
    /// An idle connection to `target` that is not known to be dead; the one used last, first.
    pub(crate) fn take(&self, target: &Arc<Target>) -> Option<SendRequest<Upload>> {
        let mut pools = self.idle.borrow_mut();
        let idle = pools.get_mut(&Arc::as_ptr(target))?;
        let now = clock::now();
        let place = idle.iter().rposition(|idle| idle.sender.is_ready() && now - idle.since < IDLE)?;
        Some(idle.remove(place).sender)
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, target: &Arc<Target>, sender: SendRequest<Upload>) {
        if sender.is_closed() {
            return;
        }
        let mut pools = self.idle.borrow_mut();
        let idle = pools.entry(Arc::as_ptr(target)).or_default();
        if idle.len() < KEPT {
            idle.push(Idle { sender, since: clock::now(), _target: target.clone() });
        }
    }

    /// Closes what has been idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| !idle.sender.is_closed() && now - idle.since < IDLE);
            !idle.is_empty()
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }
}

/// A new connection that is driven in the background until it ends.
pub(crate) async fn connect(target: &Target, timeout: Duration) -> io::Result<SendRequest<Upload>> {
    let (sender, connection) = handshake(target, timeout).await?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer is told of the failure; nobody else needs to know.
        let _ = connection.await;
    });
    Ok(sender)
}

/// A connection in the background that ends by giving its socket back.
pub(crate) type Driven = JoinHandle<hyper::Result<Parts<TokioIo<Stream>>>>;

/// A new connection that gives its socket back once an upgrade was agreed on.
pub(crate) async fn connect_to_upgrade(
    target: &Target,
    timeout: Duration,
) -> io::Result<(SendRequest<Upload>, Driven)> {
    let (sender, connection) = handshake(target, timeout).await?;
    Ok((sender, tokio::task::spawn_local(connection.without_shutdown())))
}

async fn handshake(
    target: &Target,
    timeout: Duration,
) -> io::Result<(SendRequest<Upload>, http1::Connection<TokioIo<Stream>, Upload>)> {
    let stream = Stream::connect(&target.address, timeout).await?;
    http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await.map_err(io::Error::other)
}
