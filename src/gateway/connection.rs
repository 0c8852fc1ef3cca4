//! What the driver and the guard of one client connection tell each other, whatever is spoken on it. One thread owns
//! them all.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, Sleep};

use super::block::Block;
use super::client::{FORWARDED_FOR, FORWARDED_PORT, FORWARDED_PROTO};
use super::clock;
use crate::config::Limits;

/// How long an idle connection is left to a client that may be about to use it while we drain.
const DRAINED_IDLE: Duration = Duration::from_secs(2);
/// How long a connection keeps its buffers after an answer: a client that asks again at once finds them.
const RESTLESS: Duration = Duration::from_millis(200);
/// Times are not looked at more often than this.
const RESOLUTION: Duration = Duration::from_millis(1);

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub client: SocketAddr,
    pub scheme: &'static str,
    /// What an app is told of client, scheme and port, the same for every request of the connection.
    pub told: Rc<Block>,
    phase: Cell<Phase>,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// Since when we wait for the client to take bytes.
    write_blocked: Cell<Option<Instant>>,
    cut: Cell<bool>,
    draining: Cell<bool>,
    rest: Cell<Rest>,
    driver: RefCell<Option<Waker>>,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peers {
    pub client: SocketAddr,
    pub local: SocketAddr,
    /// When the connection was accepted.
    pub since: Instant,
}

/// What the client is to do next, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Nothing has come since the connection was accepted.
    Silent(Instant),
    /// A head has begun.
    Head(Instant),
    Busy,
    Idle(Instant),
}

/// How near a connection is to being put to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    No,
    /// Its worker looks at it now and then.
    Watched,
    /// The driver is to see to it.
    Due,
}

/// What a client has been too slow with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Head,
    Idle,
    /// Taking bytes from us.
    Reading,
}

impl Connection {
    pub(super) fn new(peers: Peers, scheme: &'static str, limits: &Limits) -> Self {
        let Peers { client, local, since } = peers;
        let address = HeaderValue::try_from(client.ip().to_canonical().to_string()).ok();
        Self {
            client,
            scheme,
            told: Rc::new(Block::new(
                address
                    .map(|address| (FORWARDED_FOR, address))
                    .into_iter()
                    .chain([(FORWARDED_PROTO, HeaderValue::from_static(scheme))])
                    .chain([(FORWARDED_PORT, HeaderValue::from(local.port()))]),
            )),
            phase: Cell::new(Phase::Silent(since)),
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_blocked: Cell::new(None),
            cut: Cell::new(false),
            draining: Cell::new(false),
            rest: Cell::new(Rest::No),
            driver: RefCell::default(),
        }
    }

    /// How long the client may leave what we have for it.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// Bytes came in; where none were under way, a head begins with them.
    pub(super) fn hears(&self, now: Instant) {
        match self.phase.get() {
            Phase::Silent(since) => self.phase.set(Phase::Head(since)),
            Phase::Idle(_) => self.phase.set(Phase::Head(now)),
            Phase::Head(_) | Phase::Busy => {}
        }
    }

    pub(super) fn wrote(&self) {
        if self.write_blocked.take().is_some()
            && let Phase::Idle(_) = self.phase.get()
        {
            self.phase.set(Phase::Idle(clock::look()));
        }
    }

    pub(super) fn write_blocks(&self) {
        if self.write_blocked.get().is_none() {
            // Nothing else may be happening on this worker, and then nobody else looks at the clock.
            self.write_blocked.set(Some(clock::look()));
        }
    }

    /// Ends the connection where it is: what was begun must not look complete.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// What is begun is the last that is served, and idleness is short.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the connection is idle and nobody looks at it yet; from here on somebody does.
    pub(super) fn begins_to_rest(&self) -> bool {
        let begins = self.rest.get() == Rest::No && self.is_at_rest();
        if begins {
            self.rest.set(Rest::Watched);
        }
        begins
    }

    /// Tells the driver once it has been idle for a while; returns whether to look again.
    pub(super) fn watch_rest(&self, now: Instant) -> bool {
        match self.phase.get() {
            Phase::Idle(since) if now.saturating_duration_since(since) >= RESTLESS => {
                self.rest.set(Rest::Due);
                self.wake();
                false
            }
            Phase::Idle(_) | Phase::Silent(_) | Phase::Head(_) | Phase::Busy => true,
        }
    }

    /// Whether the driver was told, and is told no more.
    pub(super) fn is_told_to_rest(&self) -> bool {
        let told = self.rest.get() == Rest::Due;
        if told {
            self.rest.set(Rest::No);
        }
        told
    }

    /// Whether neither side has anything to say, or to take.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.phase.get(), Phase::Idle(_)) && self.write_blocked.get().is_none()
    }

    /// Has the driver that is being polled woken by whatever ends the connection or begins its drain.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }

    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.watch(cx);
        if self.cut.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What the client is late with, if anything.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let past = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if self.write_blocked.get().is_some_and(|since| past(since, self.idle_timeout)) {
            return Some(Overdue::Reading);
        }
        match self.phase.get() {
            Phase::Silent(since) if past(since, self.silence_limit()) => Some(Overdue::Head),
            Phase::Head(since) if past(since, self.header_timeout) => Some(Overdue::Head),
            // The end of an answer may still be on its way to a slow reader.
            Phase::Idle(_) if self.write_blocked.get().is_some() => None,
            Phase::Idle(since) if past(since, self.idle_limit()) => Some(Overdue::Idle),
            Phase::Silent(_) | Phase::Head(_) | Phase::Idle(_) | Phase::Busy => None,
        }
    }

    /// When to look again, at the latest.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        let due = match self.phase.get() {
            Phase::Silent(since) => since + self.silence_limit(),
            Phase::Head(since) => since + self.header_timeout,
            Phase::Idle(since) => since + self.idle_limit(),
            Phase::Busy => now + self.idle_timeout,
        };
        let due = self.write_blocked.get().map_or(due, |since| due.min(since + self.idle_timeout));
        // A limit that begins to run later ends no earlier than the shortest one from now.
        let shortest = self.header_timeout.min(self.idle_timeout);
        due.clamp(now + RESOLUTION, now + shortest.max(RESOLUTION))
    }

    /// Waits until the client is late with something. `timer` is to be at the last look that was planned.
    pub(super) fn poll_overdue(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Overdue> {
        // A drain brings the next look nearer; nothing else does.
        if self.is_draining() {
            let next = self.next_look(clock::look());
            if next < timer.deadline() {
                timer.as_mut().reset(next);
            }
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = clock::look();
            if let Some(overdue) = self.overdue(now) {
                return Poll::Ready(overdue);
            }
            timer.as_mut().reset(self.next_look(now));
        }
        Poll::Pending
    }

    fn silence_limit(&self) -> Duration {
        if self.draining.get() { self.header_timeout.min(DRAINED_IDLE) } else { self.header_timeout }
    }

    fn idle_limit(&self) -> Duration {
        if self.draining.get() { self.idle_timeout.min(DRAINED_IDLE) } else { self.idle_timeout }
    }

    /// Has the driver look again.
    pub(super) fn wake(&self) {
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_idle_is_told_to_rest_and_once() {
        let limits = crate::control::sample::config().gateway.limits;
        let address = ([127, 0, 0, 1], 1).into();
        let start = Instant::now();
        let peers = Peers { client: address, local: address, since: start };
        let connection = Connection::new(peers, "http", &limits);
        assert!(!connection.begins_to_rest(), "nothing has come yet");
        connection.enter(Phase::Idle(start));
        connection.write_blocks();
        assert!(!connection.begins_to_rest(), "the client has yet to take something");
        connection.wrote();
        connection.enter(Phase::Idle(start));
        assert!(connection.begins_to_rest() && !connection.begins_to_rest());
        assert!(
            connection.watch_rest(start) && !connection.is_told_to_rest(),
            "it may be used again at once"
        );
        connection.enter(Phase::Busy);
        assert!(connection.watch_rest(start + RESTLESS), "it is in use");
        connection.enter(Phase::Idle(start));
        assert!(!connection.watch_rest(start + RESTLESS), "nobody need look at it any more");
        assert!(connection.is_told_to_rest() && !connection.is_told_to_rest());
    }

    #[test]
    fn a_slow_reader_of_the_last_bytes_is_not_idle() {
        let limits = crate::control::sample::config().gateway.limits;
        let address = ([127, 0, 0, 1], 1).into();
        let start = Instant::now();
        let peers = Peers { client: address, local: address, since: start };
        let connection = Connection::new(peers, "http", &limits);
        let later = |part: f64| start + limits.idle_timeout.mul_f64(part);
        connection.phase.set(Phase::Idle(start));
        connection.write_blocked.set(Some(later(0.8)));
        assert_eq!(connection.overdue(later(1.2)), None);
        assert_eq!(connection.overdue(later(1.8)), Some(Overdue::Reading));
        connection.wrote();
        assert!(matches!(connection.phase.get(), Phase::Idle(since) if since >= start));
        assert_eq!(connection.overdue(later(0.9)), None);
    }
}
