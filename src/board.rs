//! What the gateway posts for others to read, and what it is asked: last use of tokens, and requests to end what is
//! in flight. One post per worker, so that workers do not wait for each other.

mod denial;
mod ending;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::model::TokenId;

use denial::Denials;

pub use denial::Denial;
pub use ending::{Affected, Ending, Stopped};

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

/// One worker's place on the board.
#[derive(Debug)]
pub struct Post {
    pub connections: AtomicUsize,
    last_use: Mutex<HashMap<TokenId, LastUse>>,
    denials: Denials,
    mailbox: mpsc::UnboundedSender<Ending>,
}

impl Post {
    pub fn used(&self, token: TokenId, last: LastUse) {
        self.last_use.lock().unwrap_or_else(PoisonError::into_inner).insert(token, last);
    }

    /// Remembers a refusal for a while.
    pub fn denied(&self, denial: Denial) {
        self.denials.note(denial);
    }
}

/// Where gateway and admin side meet without knowing each other.
#[derive(Debug)]
pub struct Board {
    posts: Vec<Arc<Post>>,
    pub draining: AtomicBool,
}

impl Board {
    /// A board for `workers` workers, and each worker's mailbox.
    #[must_use]
    pub fn new(workers: usize) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Ending>>) {
        let refusals = Arc::new(AtomicU64::new(1));
        let (posts, mailboxes) = (0..workers)
            .map(|_| {
                let (mailbox, receiver) = mpsc::unbounded_channel();
                let denials = Denials::new(refusals.clone());
                let last_use = Mutex::default();
                let post = Post { connections: AtomicUsize::new(0), last_use, denials, mailbox };
                (Arc::new(post), receiver)
            })
            .unzip();
        (Arc::new(Self { posts, draining: AtomicBool::new(false) }), mailboxes)
    }

    #[must_use]
    pub fn posts(&self) -> &[Arc<Post>] {
        &self.posts
    }

    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Has every worker judge anew what is in flight and `affected`; returns what that stopped.
    pub async fn end(&self, affected: Affected) -> Vec<Stopped> {
        let affected = Arc::new(affected);
        let mut answers = Vec::with_capacity(self.posts.len());
        for post in &self.posts {
            let (done, answer) = oneshot::channel();
            if post.mailbox.send(Ending { of: affected.clone(), done }).is_ok() {
                answers.push(answer);
            }
        }
        let deadline = tokio::time::Instant::now() + CONFIRMATION;
        let mut all = Vec::new();
        for answer in answers {
            if let Ok(Ok(stopped)) = tokio::time::timeout_at(deadline, answer).await {
                all.extend(stopped);
            }
        }
        all
    }

    /// The remembered refusals that are `wanted`, newest first, each with a number that grows.
    #[must_use]
    pub fn denials(&self, wanted: impl Fn(&Denial) -> bool) -> Vec<(u64, Denial)> {
        let mut all = Vec::new();
        for post in &self.posts {
            post.denials.read(&wanted, &mut all);
        }
        all.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        all
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
