//! What the gateway posts for others to read, and what it is asked: last use of tokens, and requests to end what is
//! in flight. One post per worker, so that workers do not wait for each other.

pub mod client;
mod denial;
mod ending;
mod following;
pub mod handshake;
mod history;
mod questions;
mod releases;
mod seats;
mod suspicion;
mod traffic;
pub mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::{mpsc, oneshot};

use self::client::Clients;
use self::denial::Denials;
use self::handshake::Handshakes;
use self::history::History;
use self::upstream::Standings;
use crate::model::{AppName, EnvironmentName, TokenId, are_near};
use crate::telemetry::Counter;

pub use denial::Denial;
pub use ending::{Affected, Ending, Stopped};
pub use following::Following;
pub use history::{Count, Lately};
pub use questions::{Judging, LeakReport, Question, Questions, REPORTS, Reported, Shared};
pub use releases::{Notice, Releases};
pub use seats::{SEATS, Seat, Seats};
pub use suspicion::{Suspicion, Suspicions};
pub use traffic::{Cells, Outcome, Totals, Traffic};

/// How long an ending waits for a worker to confirm: past it the change counts as in force, for the worker applies
/// it before it serves another request, but what it then stops is missing from the receipt. Workers answer within
/// milliseconds; one that takes longer is kept from running at all.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// Further networks of a token that are remembered until they are written down.
const OTHERS: usize = 31;
/// Networks of a token that are remembered from all workers, also while nothing can be written down.
const NETWORKS: usize = 64;

/// When and from where a token was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Unix milliseconds.
    pub at: i64,
    pub client: IpAddr,
}

/// The last uses of tokens, each one's latest last.
pub type LastUses = HashMap<TokenId, Vec<LastUse>>;

/// What a token was used for since that was last asked.
#[derive(Debug, Default)]
struct Used {
    /// `None`: no request with it was let in.
    last: Option<LastUse>,
    /// The last uses from other networks: whoever uses a token now and then is not hidden by who uses it always.
    others: Vec<LastUse>,
    count: Count,
}

/// Adds to the uses of one token, of which the last from each network is kept, the latest last.
fn merge(known: &mut Vec<LastUse>, more: impl IntoIterator<Item = LastUse>) {
    for used in more {
        match known.iter_mut().find(|other| are_near(other.client, used.client)) {
            Some(other) if other.at <= used.at => *other = used,
            Some(_) => {}
            None => known.push(used),
        }
    }
    known.sort_by_key(|used| used.at);
    known.drain(..known.len().saturating_sub(NETWORKS));
}

/// One worker's place on the board.
#[derive(Debug)]
pub struct Post {
    /// Which worker's it is.
    pub number: usize,
    pub connections: AtomicUsize,
    pub clients: Clients,
    uses: Mutex<HashMap<TokenId, Used, RandomState>>,
    denials: Denials,
    mailbox: mpsc::UnboundedSender<Ending>,
}

impl Post {
    /// A request with this token was let in.
    pub fn used(&self, token: TokenId, last: LastUse) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let used = uses.entry(token).or_default();
        let before = used.last.replace(last);
        used.count.requests += 1;
        if let Some(before) = before.filter(|before| !are_near(before.client, last.client)) {
            used.others.retain(|other| {
                !are_near(other.client, before.client) && !are_near(other.client, last.client)
            });
            // Who came last is not hidden by who came before.
            if used.others.len() >= OTHERS {
                used.others.remove(0);
            }
            used.others.push(before);
        }
    }

    /// A request with this token was not let in, or failed.
    pub fn fell_short(&self, token: TokenId, count: Count) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.entry(token).or_default().count.add(count);
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
    /// Uses that were taken, and are not written down yet as far as is known.
    taken: Mutex<Arc<LastUses>>,
    pub draining: AtomicBool,
    pub following: Following,
    pub accepted: Counter,
    pub accept_errors: Counter,
    pub handshakes: Handshakes,
    /// Of requests for hosts that no environment claims.
    strangers: Arc<Traffic>,
    /// Of every environment that was ever configured since the start: its counts outlive a reload, and do not go back
    /// should it return.
    traffic: Mutex<BTreeMap<(AppName, EnvironmentName), Arc<Traffic>>>,
    pub upstreams: Standings,
    pub releases: Releases,
    pub questions: Questions,
    pub suspicions: Suspicions,
    history: History,
}

impl Board {
    /// A board for `workers` workers, and each worker's mailbox.
    #[must_use]
    pub fn new(workers: usize) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Ending>>) {
        let refusals = Arc::new(AtomicU64::new(1));
        let (posts, mailboxes) = (0..workers)
            .map(|number| {
                let (mailbox, receiver) = mpsc::unbounded_channel();
                let post = Post {
                    number,
                    connections: AtomicUsize::new(0),
                    clients: Clients::default(),
                    uses: Mutex::default(),
                    denials: Denials::new(refusals.clone()),
                    mailbox,
                };
                (Arc::new(post), receiver)
            })
            .unzip();
        let board = Self {
            posts,
            taken: Mutex::default(),
            draining: AtomicBool::new(false),
            following: Following::default(),
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            handshakes: Handshakes::default(),
            strangers: Arc::new(Traffic::new(workers)),
            traffic: Mutex::default(),
            upstreams: Standings::default(),
            releases: Releases::default(),
            questions: Questions::default(),
            suspicions: Suspicions::default(),
            history: History::default(),
        };
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

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.posts.iter().map(|post| post.connections.load(Ordering::Acquire)).sum()
    }

    /// What is counted of an environment, the same for the board's whole life.
    #[must_use]
    pub fn traffic(&self, app: &AppName, environment: &EnvironmentName) -> Arc<Traffic> {
        let mut known = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.posts.len();
        let counted = known.entry((app.clone(), environment.clone()));
        counted.or_insert_with(|| Arc::new(Traffic::new(workers))).clone()
    }

    /// What is counted of requests for hosts that nobody claims.
    #[must_use]
    pub fn strangers(&self) -> &Arc<Traffic> {
        &self.strangers
    }

    /// What was counted of each environment, by app and name.
    #[must_use]
    pub fn totals(&self) -> Vec<((AppName, EnvironmentName), Totals)> {
        let known = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(names, traffic)| (names.clone(), traffic.totals())).collect()
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

    /// The uses of a token that are not written down yet, one from each of some networks, the latest last.
    #[must_use]
    pub fn uses(&self, token: TokenId) -> Vec<LastUse> {
        // Held throughout, so that none is on its way from a post meanwhile.
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = taken.get(&token).cloned().unwrap_or_default();
        for post in &self.posts {
            let uses = post.uses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(used) = uses.get(&token) {
                merge(&mut all, used.others.iter().copied().chain(used.last));
            }
        }
        all
    }

    /// Takes every last use noted since they were last written down, as of one token, and keeps what there was of use
    /// for charts. `now` is in Unix milliseconds.
    #[must_use]
    pub fn take_last_uses(&self, now: i64) -> Arc<LastUses> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever took them before has let go of them by now, so that nothing is copied.
        let all = Arc::make_mut(&mut taken);
        for post in &self.posts {
            let used = std::mem::take(&mut *post.uses.lock().unwrap_or_else(PoisonError::into_inner));
            for (token, used) in used.iter().filter(|(_, used)| used.last.is_some()) {
                merge(all.entry(*token).or_default(), used.others.iter().copied().chain(used.last));
            }
            self.history.note_tokens(now, used.into_iter().map(|(token, used)| (token, used.count)));
        }
        self.history.note_totals(now, self.totals());
        taken.clone()
    }

    /// What was taken is written down.
    pub fn wrote_last_uses(&self) {
        // Freed after the lock is let go of.
        let _written = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What a token was used for lately; `None`: nothing that is remembered.
    #[must_use]
    pub fn lately_of_token(&self, token: TokenId, now: i64) -> Option<Lately> {
        self.history.of_token(token, now)
    }

    /// What went on in an environment lately.
    #[must_use]
    pub fn lately(&self, app: &AppName, environment: &EnvironmentName, now: i64) -> Option<Lately> {
        self.history.of_environment(&(app.clone(), environment.clone()), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_use_is_not_hidden_by_a_frequent_one() {
        let (board, _mailboxes) = Board::new(2);
        let token = TokenId::next(None, jiff::Timestamp::UNIX_EPOCH);
        let used = |post: usize, at: i64, client: [u8; 4]| {
            board.posts()[post].used(token, LastUse { at, client: client.into() });
        };
        for at in 0..20 {
            used(0, 10 * at, [192, 0, 2, 1]);
        }
        used(0, 200, [198, 51, 100, 1]);
        used(0, 210, [192, 0, 2, 7]);
        used(1, 205, [203, 0, 113, 1]);
        assert_eq!(board.uses(token).len(), 3);
        let uses = board.take_last_uses(0)[&token].clone();
        assert_eq!(board.uses(token), uses);
        let seen: Vec<_> = uses.iter().map(|used| (used.at, used.client.to_string())).collect();
        let expected = [(200, "198.51.100.1"), (205, "203.0.113.1"), (210, "192.0.2.7")];
        assert_eq!(seen, expected.map(|(at, client)| (at, client.to_owned())));
        // What could not be written down is not forgotten for what comes.
        used(1, 220, [198, 51, 100, 2]);
        let uses = board.take_last_uses(0)[&token].clone();
        assert_eq!(uses.iter().map(|used| used.at).collect::<Vec<_>>(), [205, 210, 220]);
        board.wrote_last_uses();
        assert!(board.uses(token).is_empty());
        for third in 0..=255 {
            used(0, 300 + i64::from(third), [10, 0, third, 1]);
        }
        let uses = board.take_last_uses(0)[&token].clone();
        assert_eq!((uses.len(), uses.last().unwrap().at), (OTHERS + 1, 555));
    }
}
