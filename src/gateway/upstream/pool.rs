//! Connections to upstreams, kept by the worker that opened them.

mod queue;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use self::queue::{Others, Waited};
use super::Target;
use super::cap::Cap;
use super::dial::{self, Protocol, Unconnected};
use super::link::{self, Link};
use super::sender::Sender;
use super::shared::Shared;
use crate::gateway::clock;
use crate::model::{Scheme, Upstream};

/// Requests after which a connection makes room for another worker that waits for one.
pub(super) const FAIR: u32 = 16;

/// Shorter than the idle time of common app servers (Node.js closes after 5 s), so that it is we who close.
const IDLE: Duration = Duration::from_secs(4);
/// HTTP/2 says when it closes, so that a request is never lost to it.
const IDLE_SHARED: Duration = Duration::from_secs(60);
/// Idle connections kept to one target by one worker.
const KEPT: usize = 256;
/// What may wait here of one request and its answer: what the client has yet to take, and what is read after that.
pub(crate) const WAITING: usize = 2 * link::MOST;
/// After how long another connection is opened for those who wait, and then one more each time.
const LONG: Duration = Duration::from_secs(1);

/// One worker's connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    kept: RefCell<HashMap<*const Target, Rc<Kept>, RandomState>>,
}

/// One worker's connections to one target.
#[derive(Debug)]
struct Kept {
    /// Keeps the address in the map's key from being given to another target.
    target: Arc<Target>,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// A connection that many wait for is being opened.
    opening: RefCell<Option<Opening>>,
    /// What was spoken on the connection opened last.
    spoken: Cell<Option<Protocol>>,
    /// Those of this worker that wait for a place under the target's cap, and those that wait for a connection to share.
    queued: Cell<usize>,
    joining: Cell<usize>,
    /// When the last opening began, and whether it failed, other than for want of a place.
    opened: Cell<Option<Instant>>,
    failed: Cell<bool>,
    /// Told whenever one of them may have become free.
    freed: Rc<Notify>,
    /// When a connection was last opened for those who wait for room, and how long none is after it.
    widened: Cell<Option<(Instant, Duration)>>,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

type Opening = watch::Receiver<Option<Result<(), Unconnected>>>;

impl Pool {
    /// A connection that is open already and not known to be dead.
    pub(crate) fn take(&self, target: &Arc<Target>) -> Option<Sender> {
        let kept = self.kept.borrow();
        let kept = kept.get(&Arc::as_ptr(target))?;
        // Those who wait come first.
        if kept.queued.get() > 0 { None } else { kept.take() }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, target: &Arc<Target>, sender: Sender) {
        match sender {
            Sender::Http1(link) => self.kept(target).put(link),
            // What a request shared is given back by being dropped.
            Sender::Http2(_) => {}
        }
    }

    /// A connection, opened if need be. Whether there are others to go to says how long to wait where that fails.
    pub(crate) async fn open(
        &self,
        target: &Arc<Target>,
        within: Duration,
        others: impl Others,
    ) -> Result<Sender, Unconnected> {
        let kept = self.kept(target);
        if kept.may_share() { kept.join(within, others).await } else { kept.connect(within).await }
    }

    /// A connection on which a request leaves at once, as soon as there is one; `in_line`: one to stand in line on will do,
    /// where the app takes anything.
    pub(crate) async fn room(
        &self,
        target: &Arc<Target>,
        within: Duration,
        in_line: bool,
        others: impl Others,
    ) -> Result<Sender, Unconnected> {
        self.kept(target).room(within, in_line, others).await
    }

    /// Whether the app takes nothing for now on any connection that is open.
    pub(crate) fn is_barren(&self, target: &Arc<Target>) -> bool {
        self.kept.borrow().get(&Arc::as_ptr(target)).is_some_and(|kept| kept.is_barren())
    }

    /// A new HTTP/1.1 connection, which alone can be upgraded.
    pub(crate) async fn open_to_upgrade(
        &self,
        target: &Arc<Target>,
        within: Duration,
    ) -> Result<Box<Link>, Unconnected> {
        let permit = match &target.cap {
            Some(cap) => Some(self.kept(target).wait_for_place(cap, within).await?),
            None => None,
        };
        dial::dial_http1(target, within, permit).await.map(Link::new)
    }

    /// Closes what has been idle too long, or is wanted by another worker.
    pub(crate) fn sweep(&self, now: Instant) {
        self.kept.borrow_mut().retain(|_, kept| {
            kept.sweep(now);
            kept.is_in_use()
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    fn kept(&self, target: &Arc<Target>) -> Rc<Kept> {
        let mut kept = self.kept.borrow_mut();
        kept.entry(Arc::as_ptr(target)).or_insert_with(|| Rc::new(Kept::new(target.clone()))).clone()
    }
}

impl Kept {
    fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: RefCell::default(),
            spoken: Cell::new(None),
            queued: Cell::new(0),
            joining: Cell::new(0),
            opened: Cell::new(None),
            failed: Cell::new(false),
            freed: Rc::default(),
            widened: Cell::new(None),
        }
    }

    /// What is open and free: of HTTP/1.1 connections the one used last.
    fn take(&self) -> Option<Sender> {
        if let Some(share) = self.shared.borrow().iter().find_map(|shared| shared.share()) {
            return Some(Sender::Http2(share));
        }
        let mut idle = self.idle.borrow_mut();
        let now = clock::now();
        // What the app has closed, or sent bytes on that nobody asked for, is dropped on the way.
        while let Some(Idle { link, since }) = idle.pop() {
            if now - since < IDLE && link.is_quiet() {
                return Some(Sender::Http1(link));
            }
        }
        None
    }

    fn put(&self, mut link: Box<Link>) {
        let yields = self.others_wait() && (self.queued.get() == 0 || link.has_served_well());
        if yields || !self.target.place.leads_to(&mut link.peer) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < KEPT {
            idle.push(Idle { link, since: clock::now() });
            self.freed.notify_one();
        }
    }

    /// Whether requests on other workers wait for a place.
    fn others_wait(&self) -> bool {
        self.target.cap.as_ref().is_some_and(|cap| cap.waiting() > self.queued.get())
    }

    fn may_share(&self) -> bool {
        match self.target.address {
            Upstream::Tcp(Scheme::H2c, _) => true,
            Upstream::Tcp(Scheme::Https, _) => self.spoken.get() != Some(Protocol::Http1),
            Upstream::Tcp(Scheme::Http, _) | Upstream::Unix(_) => false,
        }
    }

    /// A connection of the request's own, or one that becomes free meanwhile.
    async fn connect(&self, within: Duration) -> Result<Sender, Unconnected> {
        let permit = match &self.target.cap {
            None => None,
            Some(cap) => match cap.try_take() {
                Some(permit) => Some(permit),
                None => match self.wait(cap, within).await? {
                    Waited::Place(permit) => Some(permit),
                    Waited::Free(sender) => return Ok(sender),
                },
            },
        };
        let deadline = Instant::now() + within;
        let (stream, protocol) = dial::dial(&self.target, within, permit).await?;
        self.spoken.set(Some(protocol));
        match protocol {
            Protocol::Http1 => Ok(Sender::Http1(Link::new(stream))),
            Protocol::Http2 => {
                let opening = Shared::open(stream, self.freed.clone());
                let shared = timeout_at(deadline, opening).await.unwrap_or(Err(Unconnected::TimedOut))?;
                let share = shared.crowd();
                self.shared.borrow_mut().push(shared);
                Ok(Sender::Http2(share))
            }
        }
    }

    fn least_crowded(&self) -> Option<Rc<Shared>> {
        let shared = self.shared.borrow();
        shared
            .iter()
            .filter(|shared| shared.is_open())
            .min_by_key(|shared| (shared.allowed() == 0, shared.is_worn(), shared.streams()))
            .cloned()
    }

    /// The opening that is under way, begun if there is none. It goes on if those who wait go away.
    fn opening(self: &Rc<Self>, within: Duration) -> Opening {
        let mut opening = self.opening.borrow_mut();
        if let Some(opening) = &*opening {
            return opening.clone();
        }
        let (tell, told) = watch::channel(None);
        *opening = Some(told.clone());
        self.opened.set(Some(Instant::now()));
        let begun = Begun(self.clone());
        tokio::task::spawn_local(async move {
            let opened = begun.0.connect(within).await.map(|sender| match sender {
                Sender::Http1(link) => begun.0.put(link),
                Sender::Http2(share) => share.end(),
            });
            let failure = opened.as_ref().err().filter(|failure| !matches!(failure, Unconnected::Full));
            if let Some(failure) = failure {
                tracing::debug!("{}: no connection to share: {failure}", begun.0.target);
            }
            // For want of a place nothing was tried.
            if !matches!(opened, Err(Unconnected::Full)) {
                begun.0.failed.set(opened.is_err());
            }
            drop(begun);
            tell.send_replace(Some(opened));
        });
        told
    }

    fn sweep(&self, now: Instant) {
        let (others_wait, awaited) = (self.others_wait(), self.queued.get() + self.joining.get() > 0);
        let fair = others_wait && self.queued.get() == 0;
        let mut wanted = self.target.cap.as_ref().filter(|_| fair).map_or(0, Cap::waiting);
        self.idle.borrow_mut().retain(|idle| {
            let keep = now - idle.since < IDLE && wanted == 0 && idle.link.is_quiet();
            wanted = wanted.saturating_sub(1);
            keep
        });
        self.shared.borrow_mut().retain(|shared| {
            let unfair = others_wait && shared.has_served_well();
            let serves = shared.is_open();
            if serves && (wanted > 0 || unfair || !shared.still_leads_to(&self.target.place)) {
                shared.retire();
                wanted = wanted.saturating_sub(1);
            }
            // What an app has answered and does not take is in nobody's way otherwise.
            let is_in_the_way = shared.streams() > 0 && (others_wait || awaited);
            if shared.is_idle(now, if is_in_the_way { LONG } else { IDLE_SHARED }) {
                shared.close();
                return false;
            }
            // One that is retired goes on in the hands of those who use it.
            let goes_on = shared.is_open() || shared.streams() > 0;
            if !goes_on {
                shared.close();
            }
            goes_on
        });
    }

    fn is_in_use(&self) -> bool {
        !self.idle.borrow().is_empty()
            || !self.shared.borrow().is_empty()
            || self.opening.borrow().is_some()
            || self.queued.get() + self.joining.get() > 0
    }
}

/// An opening, which is under way as long as this lives, however it ends.
struct Begun(Rc<Kept>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.opening.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::super::stock::Stock;
    use super::*;
    use crate::board::upstream::Standings;

    #[tokio::test]
    async fn an_opening_that_breaks_off_is_over() {
        let app = crate::control::sample::config().apps[0].clone();
        let (environment, address) = (&app.environments[0], Upstream::parse("h2c://127.0.0.1:1").unwrap());
        let standings = Standings::default();
        let upstreams = Stock::new(&standings, []).upstreams(&app.name, environment, &[address]).unwrap();
        let kept = Rc::new(Kept::new(upstreams.targets()[0].clone()));
        let tasks = LocalSet::new();
        let entered = tasks.enter();
        let mut opening = kept.opening(Duration::from_secs(1));
        assert!(kept.is_in_use());
        drop((entered, tasks));
        assert!(opening.changed().await.is_err() && !kept.is_in_use());
    }
}
