//! Requests in flight on one worker, so that what let them in can also end them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::authenticate::Until;
use super::authorize::Pass;
use super::clock;
use super::lane::Lane;
use super::reject::Reject;
use crate::board::{Affected, Stopped};
use crate::model::{Hindsight, Mortal, Refusal};

/// A request of which nothing moves for this long is taken for stuck.
const STUCK: Duration = Duration::from_secs(1);

/// One worker's requests in flight.
#[derive(Debug, Default)]
pub(super) struct Slots {
    table: RefCell<Slab<Rc<Slot>>>,
}

/// One request in flight, from the decision that let it in to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Slot {
    /// What let it in; `None` where no token was needed.
    pass: Option<Pass>,
    /// As it was judged last.
    until: Cell<Option<Until>>,
    limits: SlotLimits,
    pub lane: Lane,
    ending: Cell<Option<Refusal>>,
    begun: Cell<bool>,
    /// The request left the table: nothing could end it any more.
    left: Cell<bool>,
    respond_by: Cell<Option<Instant>>,
    /// Until when it waits for room on a connection; `None`: it does not wait.
    room_by: Cell<Option<Instant>>,
    progress: Cell<Instant>,
    /// The app has given all of its answer: only the client is waited for.
    given: Cell<bool>,
    /// Something of the request's body is still to be sent to the app.
    pub uploading: Cell<bool>,
    /// Since when we wait for more of the request's body.
    body_awaited: Cell<Option<Instant>>,
    /// Since when the client has not come for more of the answer.
    answer_held: Cell<Option<Instant>>,
    /// What the upload found wrong with the request's body.
    pub fault: Cell<Option<Reject>>,
    pub received: Cell<u64>,
    pub sent: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// How long a request in flight may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotLimits {
    /// With both sides silent.
    pub idle: Duration,
    /// With a client that owes us bytes of its request, or does not take those of the answer.
    pub client: Duration,
}

/// A place in the table, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Occupied {
    slots: Rc<Slots>,
    key: usize,
    slot: Rc<Slot>,
}

impl Slots {
    /// Enters a request that was just let in. Nothing may be awaited between the look-up and this.
    pub(super) fn enter(self: &Rc<Self>, pass: Option<Pass>, limits: SlotLimits, lane: &Lane) -> Occupied {
        let slot = Rc::new(Slot {
            until: Cell::new(pass.as_ref().map(|pass| pass.until)),
            pass,
            limits,
            lane: lane.clone(),
            ending: Cell::new(None),
            begun: Cell::new(false),
            left: Cell::new(false),
            respond_by: Cell::new(None),
            room_by: Cell::new(None),
            progress: Cell::new(clock::now()),
            given: Cell::new(false),
            uploading: Cell::new(true),
            body_awaited: Cell::new(None),
            answer_held: Cell::new(None),
            fault: Cell::new(None),
            received: Cell::new(0),
            sent: Cell::new(0),
            waker: RefCell::default(),
        });
        let key = self.table.borrow_mut().insert(slot.clone());
        Occupied { slots: self.clone(), key, slot }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.borrow().is_empty()
    }

    /// Judges what is `affected` anew, and ends what may no longer be; returns what that was.
    pub(super) fn judge(
        &self,
        affected: &Affected,
        judge: impl Fn(&Pass) -> Result<Until, Refusal>,
    ) -> Vec<Stopped> {
        let mut all: Vec<Stopped> = Vec::new();
        for (_, slot) in self.table.borrow().iter() {
            let Some(pass) = &slot.pass else { continue };
            let Some(revision) = affected.revision(pass.token, pass.environment) else { continue };
            let met = match judge(pass) {
                Ok(until) => {
                    slot.until.set(Some(until));
                    None
                }
                Err(refusal) => slot.end(refusal),
            };
            let Some(met) = met else { continue };
            let place = all.iter().position(|stopped| stopped.revision == revision).unwrap_or_else(|| {
                all.push(Stopped { revision, requests: 0, streams: 0 });
                all.len() - 1
            });
            match met {
                Met::Request => all[place].requests += 1,
                Met::Stream => all[place].streams += 1,
            }
        }
        all
    }

    /// Ends what has expired by the wall clock or been silent too long by the other, and what nobody waits for any more.
    pub(super) fn sweep(&self, hindsight: &Hindsight, wall: i64, now: Instant) {
        for (_, slot) in self.table.borrow().iter() {
            let rests = now.saturating_duration_since(slot.progress.get());
            let is_stuck = rests >= STUCK && !slot.given.get();
            if slot.lane.has_hung_up(is_stuck) {
                slot.lane.cut();
            } else if let Some(refusal) = slot.overdue(hindsight, wall, now) {
                slot.end(refusal);
            }
        }
    }
}

/// What an ending met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// A request whose answer had not begun: it is refused.
    Request,
    /// An answer under way: it is cut.
    Stream,
}

impl Slot {
    /// Ends this request, once.
    pub(super) fn end(&self, refusal: Refusal) -> Option<Met> {
        if self.ending.get().is_some() {
            return None;
        }
        self.ending.set(Some(refusal));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        if self.begun.get() {
            self.lane.cut();
            return Some(Met::Stream);
        }
        Some(Met::Request)
    }

    /// What this request has run out of, if anything.
    fn overdue(&self, hindsight: &Hindsight, wall: i64, now: Instant) -> Option<Refusal> {
        let since = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let client_stands = |waiting: &Cell<Option<Instant>>| {
            waiting.get().is_some_and(|waiting| since(waiting, self.limits.client))
        };
        if let Some(until) = self.until.get().filter(|until| until.at <= wall) {
            if let Some(pass) = &self.pass {
                hindsight.saw(Mortal::Token(pass.token), until.at, wall);
            }
            return Some(until.refusal);
        }
        // Once the answer has begun, a client may well be silent for long: that is how two-way streams are.
        let owed = if self.begun.get() { &self.answer_held } else { &self.body_awaited };
        if client_stands(owed) {
            return Some(Refusal::RequestTimeout);
        }
        let is_past = |by: &Cell<Option<Instant>>| by.get().is_some_and(|by| by <= now);
        let late = is_past(&self.respond_by)
            || is_past(&self.room_by)
            || (!self.given.get() && since(self.progress.get(), self.limits.idle));
        late.then_some(Refusal::UpstreamTimeout)
    }

    /// Notes whether more of the request's body is waited for.
    pub(super) fn body_awaited(&self, awaited: bool) {
        self.body_awaited.set(awaited.then(|| self.body_awaited.get().unwrap_or_else(clock::now)));
    }

    /// Notes whether we wait for the client to take more of the answer.
    pub(super) fn answer_held(&self, held: bool) {
        self.answer_held.set(held.then(|| self.answer_held.get().unwrap_or_else(clock::now)));
    }

    /// Notes that a piece of the answer was handed on. The driver of HTTP/1 sees itself whether the client takes it, and
    /// counts those who do not: were they judged here too, it would be a matter of who looks first.
    pub(super) fn handed_on(&self) {
        self.answer_held(matches!(self.lane, Lane::Http2(_)));
    }

    /// Notes that all of the answer is there, and only its client is waited for.
    pub(super) fn given(&self) {
        self.given.set(true);
        self.answer_held(false);
    }

    /// Notes until when it waits for room on a connection, or that it does not any more.
    pub(super) fn room_awaited(&self, by: Option<Instant>) {
        self.room_by.set(by);
    }

    /// Whether it waits for room on a connection: nothing of it is on its way.
    pub(super) fn awaits_room(&self) -> bool {
        self.room_by.get().is_some()
    }

    /// Why this request was ended, if it was.
    pub(super) fn ending(&self) -> Option<Refusal> {
        self.ending.get()
    }

    /// Whether the app's answer has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Whether the request is over, its answer given or given up.
    pub(super) fn is_over(&self) -> bool {
        self.left.get()
    }

    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<Refusal> {
        if let Some(refusal) = self.ending.get() {
            return Poll::Ready(refusal);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The last byte of the request has gone: the app has this long to begin its answer.
    pub(super) fn uploaded(&self, within: Duration) {
        let now = clock::now();
        self.progress.set(now);
        self.uploading.set(false);
        if !self.begun.get() {
            self.respond_by.set(Some(now + within));
        }
    }

    /// The answer has begun: from here on an ending is a cut.
    pub(super) fn begin(&self) {
        self.begun.set(true);
        self.respond_by.set(None);
        self.progress.set(clock::now());
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        self.progress.set(clock::now());
        self.lane.received(bytes);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
        self.progress.set(clock::now());
        self.lane.sent(bytes);
    }
}

impl Occupied {
    pub(super) fn slot(&self) -> &Rc<Slot> {
        &self.slot
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.slots.table.borrow_mut().try_remove(self.key);
        self.slot.left.set(true);
        // An app that answered early must not go on receiving what no revocation could stop.
        self.slot.lane.wake_body();
    }
}
