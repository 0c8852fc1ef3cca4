//! What the gateway posts for others to read, and what it is asked: last use of tokens, and requests to end what is
//! in flight. One post per worker, so that workers do not wait for each other.

pub mod upstream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::upstream::Standings;
use crate::model::{Refusal, TokenId};

/// How long an ending waits for a worker to confirm: past it the change counts as in force, for the worker applies
/// it before it serves another request.
const CONFIRMATION: Duration = Duration::from_millis(50);

/// When and from where a token was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Unix milliseconds.
    pub at: i64,
    pub client: IpAddr,
}

/// Which requests in flight are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Token(TokenId),
}

/// An order to a worker to end requests in flight.
#[derive(Debug)]
pub struct Ending {
    pub which: Which,
    /// What a request whose response has not begun is told.
    pub refusal: Refusal,
    /// Takes the counts of requests and streams ended.
    pub done: oneshot::Sender<(u64, u64)>,
}

/// One worker's place on the board.
#[derive(Debug)]
pub struct Post {
    pub connections: AtomicUsize,
    last_use: Mutex<HashMap<TokenId, LastUse>>,
    mailbox: mpsc::UnboundedSender<Ending>,
}

impl Post {
    pub fn used(&self, token: TokenId, last: LastUse) {
        self.last_use.lock().unwrap_or_else(PoisonError::into_inner).insert(token, last);
    }
}

/// Where gateway and admin side meet without knowing each other.
#[derive(Debug)]
pub struct Board {
    posts: Vec<Arc<Post>>,
    pub draining: AtomicBool,
    pub upstreams: Standings,
}

impl Board {
    /// A board for `workers` workers, and each worker's mailbox.
    #[must_use]
    pub fn new(workers: usize) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Ending>>) {
        let (posts, mailboxes) = (0..workers)
            .map(|_| {
                let (mailbox, receiver) = mpsc::unbounded_channel();
                let post = Post { connections: AtomicUsize::new(0), last_use: Mutex::default(), mailbox };
                (Arc::new(post), receiver)
            })
            .unzip();
        let board = Self { posts, draining: AtomicBool::new(false), upstreams: Standings::default() };
        (Arc::new(board), mailboxes)
    }

    #[must_use]
    pub fn posts(&self) -> &[Arc<Post>] {
        &self.posts
    }

    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Ends what is in flight for `which` on every worker; returns how many requests and streams that stopped.
    pub async fn end(&self, which: Which, refusal: Refusal) -> (u64, u64) {
        let mut answers = Vec::with_capacity(self.posts.len());
        for post in &self.posts {
            let (done, answer) = oneshot::channel();
            if post.mailbox.send(Ending { which, refusal, done }).is_ok() {
                answers.push(answer);
            }
        }
        let deadline = tokio::time::Instant::now() + CONFIRMATION;
        let (mut requests, mut streams) = (0, 0);
        for answer in answers {
            if let Ok(Ok((ended_requests, ended_streams))) = tokio::time::timeout_at(deadline, answer).await {
                requests += ended_requests;
                streams += ended_streams;
            }
        }
        (requests, streams)
    }

    /// Takes every last use noted since the last call, the latest of each token.
    #[must_use]
    pub fn take_last_uses(&self) -> HashMap<TokenId, LastUse> {
        let mut all = HashMap::new();
        for post in &self.posts {
            let taken = std::mem::take(&mut *post.last_use.lock().unwrap_or_else(PoisonError::into_inner));
            for (token, last) in taken {
                let seen = all.entry(token).or_insert(last);
                if seen.at < last.at {
                    *seen = last;
                }
            }
        }
        all
    }
}
