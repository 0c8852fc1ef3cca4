//! What the driver, the guard and the exchange of one client connection tell each other. One thread owns them all.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::clock;
use super::framing::{Event, Framing};
use super::head::{Head, HeadLimits, Offence};
use super::upgrade::Handover;
use crate::config::Limits;

/// How long an idle connection is left to a client that may be about to use it while we drain.
const DRAINED_IDLE: Duration = Duration::from_secs(2);
/// Times are not looked at more often than this.
const RESOLUTION: Duration = Duration::from_millis(1);

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub client: SocketAddr,
    /// The client's address, our port and the scheme as header values, the same for every request of the connection.
    pub client_value: Option<HeaderValue>,
    pub port_value: HeaderValue,
    pub scheme_value: HeaderValue,
    framing: RefCell<Framing>,
    heads: RefCell<VecDeque<Head>>,
    /// Requests whose heads have come, whose bodies have come to their end, and that were handed to the service.
    arrived: Cell<u64>,
    ended: Cell<u64>,
    served: Cell<u64>,
    /// The request whose body is malformed.
    bad_body: Cell<Option<u64>>,
    body_watch: RefCell<Option<Waker>>,
    head_refused: Cell<bool>,
    phase: Cell<Phase>,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// Since when we wait for the client to take bytes.
    write_blocked: Cell<Option<Instant>>,
    cut: Cell<bool>,
    draining: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    pub handover: RefCell<Option<Handover>>,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peers {
    pub client: SocketAddr,
    pub local: SocketAddr,
    /// When the connection was accepted.
    pub since: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Since the connection was accepted, or the first byte of a request came.
    Head(Instant),
    Busy,
    Idle(Instant),
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
        let head = HeadLimits { bytes: limits.header_bytes, fields: limits.headers };
        Self {
            client,
            client_value: HeaderValue::try_from(client.ip().to_canonical().to_string()).ok(),
            port_value: HeaderValue::from(local.port()),
            scheme_value: HeaderValue::from_static(scheme),
            framing: RefCell::new(Framing::new(head)),
            heads: RefCell::default(),
            arrived: Cell::new(0),
            ended: Cell::new(0),
            served: Cell::new(0),
            bad_body: Cell::new(None),
            body_watch: RefCell::default(),
            head_refused: Cell::new(false),
            phase: Cell::new(Phase::Head(since)),
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_blocked: Cell::new(None),
            cut: Cell::new(false),
            draining: Cell::new(false),
            driver: RefCell::default(),
            handover: RefCell::default(),
        }
    }

    // What the guard tells.

    pub(super) fn heard(&self, bytes: &[u8]) {
        let now = clock::look();
        if let Phase::Idle(_) = self.phase.get() {
            self.phase.set(Phase::Head(now));
        }
        self.framing.borrow_mut().feed(bytes, |event| match event {
            Event::Head(head) => {
                self.arrived.set(self.arrived.get() + 1);
                self.head_refused.set(head.offence == Some(Offence::HeadTooLarge));
                self.heads.borrow_mut().push_back(head);
            }
            Event::BodyEnd => self.ended.set(self.ended.get() + 1),
            Event::BadBody(_) => {
                self.bad_body.set(Some(self.arrived.get()));
                self.wake_body();
            }
        });
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

    // What the exchange asks and tells.

    /// The ordinal and raw head of the request that the HTTP library hands over next.
    pub(super) fn next_head(&self) -> (u64, Option<Head>) {
        self.phase.set(Phase::Busy);
        self.served.set(self.served.get() + 1);
        (self.served.get(), self.heads.borrow_mut().pop_front())
    }

    /// Whether the body of the request with this ordinal broke the rules.
    pub(super) fn is_bad_body(&self, ordinal: u64) -> bool {
        self.bad_body.get() == Some(ordinal)
    }

    /// Has `waker` woken should the body that is on its way turn out malformed or of no more use: hyper may wait for
    /// more of it.
    pub(super) fn watch_body(&self, waker: &Waker) {
        self.body_watch.replace(Some(waker.clone()));
    }

    /// Has whoever waits for more of a body look again whether it is still wanted.
    pub(super) fn wake_body(&self) {
        if let Some(waker) = self.body_watch.take() {
            waker.wake();
        }
    }

    /// Whether every byte of the request with this ordinal has arrived.
    pub(super) fn has_arrived(&self, ordinal: u64) -> bool {
        self.ended.get() >= ordinal
    }

    /// The answer is out of the exchange's hands.
    pub(super) fn finished(&self) {
        let now = clock::now();
        let within_head = self.framing.borrow().within_head();
        self.phase.set(if within_head { Phase::Head(now) } else { Phase::Idle(now) });
    }

    /// Ends the connection where it is: what was begun must not look complete.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// Answers from now on say that they are the last, and idleness is short.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    // What the driver asks.

    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        if self.cut.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether a head too large to wait for stands first in line.
    pub(super) fn head_refused(&self) -> bool {
        self.head_refused.get() && !matches!(self.phase.get(), Phase::Busy) && self.heads.borrow().len() == 1
    }

    /// What is wrong with the head that stands first in line.
    pub(super) fn first_offence(&self) -> Option<Offence> {
        self.heads.borrow().front().and_then(|head| head.offence)
    }

    /// Whether a request was begun and no part of an answer was given to it.
    pub(super) fn within_head(&self) -> bool {
        self.framing.borrow().within_head() && !matches!(self.phase.get(), Phase::Busy)
    }

    /// Whether bytes of a request that was answered may still be on their way.
    pub(super) fn has_unread(&self) -> bool {
        self.ended.get() < self.arrived.get() || self.framing.borrow().within_head()
    }

    /// What the client is late with, if anything.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let past = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if self.write_blocked.get().is_some_and(|since| past(since, self.idle_timeout)) {
            return Some(Overdue::Reading);
        }
        match self.phase.get() {
            Phase::Head(since) if past(since, self.head_limit()) => Some(Overdue::Head),
            // The end of an answer may still be on its way to a slow reader.
            Phase::Idle(_) if self.write_blocked.get().is_some() => None,
            Phase::Idle(since) if past(since, self.idle_limit()) => Some(Overdue::Idle),
            Phase::Head(_) | Phase::Idle(_) | Phase::Busy => None,
        }
    }

    /// When to look again, at the latest.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        let due = match self.phase.get() {
            Phase::Head(since) => since + self.head_limit(),
            Phase::Idle(since) => since + self.idle_limit(),
            Phase::Busy => now + self.idle_timeout,
        };
        let due = self.write_blocked.get().map_or(due, |since| due.min(since + self.idle_timeout));
        // A limit that begins to run later ends no earlier than the shortest one from now.
        let shortest = self.header_timeout.min(self.idle_timeout);
        due.clamp(now + RESOLUTION, now + shortest.max(RESOLUTION))
    }

    fn head_limit(&self) -> Duration {
        let silent = self.draining.get() && !self.framing.borrow().within_head();
        if silent { self.header_timeout.min(DRAINED_IDLE) } else { self.header_timeout }
    }

    fn idle_limit(&self) -> Duration {
        if self.draining.get() { self.idle_timeout.min(DRAINED_IDLE) } else { self.idle_timeout }
    }

    fn wake(&self) {
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
