//! The requests of one HTTP/1 connection, as its raw bytes tell them: notes that guard, driver and exchange share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use super::clock;
use super::connection::{Connection, Phase};
use super::framing::{Event, Framing};
use super::head::{Head, HeadLimits, Offence};
use super::upgrade::Handover;

/// What is known of a connection's requests.
#[derive(Debug)]
pub(super) struct Messages {
    pub connection: Rc<Connection>,
    framing: RefCell<Framing>,
    heads: RefCell<VecDeque<Head>>,
    /// Requests whose heads have come, whose bodies have come to their end, and that were handed to the service.
    arrived: Cell<u64>,
    ended: Cell<u64>,
    served: Cell<u64>,
    /// Of those, the ones whose answers were begun.
    answered: Cell<u64>,
    /// The request whose body is malformed.
    bad_body: Cell<Option<u64>>,
    body_watch: RefCell<Option<Waker>>,
    /// Why nothing more is read: the head that is under way is too long.
    overlong: Cell<Option<Offence>>,
    pub handover: RefCell<Option<Handover>>,
}

impl Messages {
    pub(super) fn new(connection: Rc<Connection>, limits: HeadLimits) -> Self {
        Self {
            connection,
            framing: RefCell::new(Framing::new(limits)),
            heads: RefCell::default(),
            arrived: Cell::new(0),
            ended: Cell::new(0),
            served: Cell::new(0),
            answered: Cell::new(0),
            bad_body: Cell::new(None),
            body_watch: RefCell::default(),
            overlong: Cell::new(None),
            handover: RefCell::default(),
        }
    }

    // What the guard tells.

    pub(super) fn heard(&self, bytes: &[u8]) {
        self.connection.hears(clock::look());
        self.framing.borrow_mut().feed(bytes, |event| match event {
            Event::Head(head) => {
                self.arrived.set(self.arrived.get() + 1);
                self.heads.borrow_mut().push_back(head);
            }
            Event::Overlong(offence) => self.overlong.set(Some(offence)),
            Event::BodyEnd => self.ended.set(self.ended.get() + 1),
            Event::BadBody(_) => {
                self.bad_body.set(Some(self.arrived.get()));
                self.wake_body();
            }
        });
    }

    // What the exchange asks and tells.

    /// The ordinal and raw head of the request that the HTTP library hands over next.
    pub(super) fn next_head(&self) -> (u64, Option<Head>) {
        self.connection.enter(Phase::Busy);
        self.served.set(self.served.get() + 1);
        (self.served.get(), self.heads.borrow_mut().pop_front())
    }

    /// The HTTP library was given an answer.
    pub(super) fn answered(&self) {
        self.answered.set(self.answered.get() + 1);
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
        self.connection.enter(if within_head { Phase::Head(now) } else { Phase::Idle(now) });
    }

    // What the driver asks.

    /// Why a head that stands first in line is not waited for.
    pub(super) fn refused_head(&self) -> Option<Offence> {
        self.overlong.get().filter(|_| !self.is_busy() && self.heads.borrow().is_empty())
    }

    /// Whether nothing more is read.
    pub(super) fn is_shut(&self) -> bool {
        self.overlong.get().is_some()
    }

    /// What is wrong with the head that stands first in line.
    pub(super) fn first_offence(&self) -> Option<Offence> {
        self.heads.borrow().front().and_then(|head| head.offence)
    }

    /// Whether a request was begun and no part of an answer was given to it.
    pub(super) fn within_head(&self) -> bool {
        self.framing.borrow().within_head() && !self.is_busy()
    }

    /// Whether bytes of a request that was answered may still be on their way.
    pub(super) fn has_unread(&self) -> bool {
        self.ended.get() < self.arrived.get() || self.framing.borrow().within_head()
    }

    /// Whether no request and no answer is under way, nor any part of one.
    pub(super) fn are_at_rest(&self) -> bool {
        self.answered.get() == self.arrived.get() && !self.has_unread() && self.connection.is_at_rest()
    }

    fn is_busy(&self) -> bool {
        matches!(self.connection.phase(), Phase::Busy)
    }
}
