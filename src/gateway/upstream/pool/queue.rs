//! Requests that wait for a connection: for a place under the cap, for one to share, or for room on one that is shared.

use std::cell::Cell;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::super::cap::Cap;
use super::super::dial::Unconnected;
use super::super::sender::Sender;
use super::{Kept, LONG, Opening};

/// How much longer than the opening of a shared connection those wait who did not begin it.
const GRACE: Duration = Duration::from_millis(50);
/// Openings that a request waits for before it joins those in line on a connection that is full.
const ROUNDS: u32 = 3;
/// How often those who wait for room look whether the app has raised its limit, which nobody tells them.
const LOOK: Duration = Duration::from_millis(100);
/// How often another connection is opened at least for those who wait where the app takes nothing on any.
const LONGEST: Duration = Duration::from_secs(32);

/// Tells who waits at an app whether there is another to go to now: one that does well, or, where this one takes nothing at
/// all (`true`), one that was left out for a while that is over. Those that take nothing themselves do not count.
pub(crate) trait Others: Fn(bool) -> bool {}

impl<F: Fn(bool) -> bool> Others for F {}

impl Kept {
    /// Waits for a place for a new connection or for a free one.
    pub(super) async fn wait(&self, cap: &Cap, within: Duration) -> Result<Waited, Unconnected> {
        let _queued = (cap.queue().ok_or(Unconnected::Full)?, Counted::new(&self.queued));
        let waited = timeout(within, async {
            let mut place = pin!(cap.take());
            loop {
                tokio::select! {
                    permit = &mut place => return permit.map(Waited::Place),
                    () = self.freed.notified() => if let Some(sender) = self.take() {
                        return Some(Waited::Free(sender));
                    }
                }
            }
        });
        waited.await.ok().flatten().ok_or(Unconnected::Full)
    }

    pub(super) async fn wait_for_place(
        &self,
        cap: &Cap,
        within: Duration,
    ) -> Result<OwnedSemaphorePermit, Unconnected> {
        if let Some(permit) = cap.try_take() {
            return Ok(permit);
        }
        let _queued = (cap.queue().ok_or(Unconnected::Full)?, Counted::new(&self.queued));
        let waited = timeout(within, async {
            let mut place = pin!(cap.take());
            loop {
                // One that is idle gives way. It may be dead for all that is known, and an upgrade is asked for once.
                drop(self.idle.borrow_mut().pop());
                tokio::select! {
                    permit = &mut place => return permit,
                    () = self.freed.notified() => {}
                }
            }
        });
        waited.await.ok().flatten().ok_or(Unconnected::Full)
    }

    /// A part in a connection that many requests share. One at a time is opened, and all wait for it. Who has `others` to go
    /// to is sent there rather than to stand in line where none can be opened.
    pub(super) async fn join(
        self: &Rc<Self>,
        within: Duration,
        others: impl Others,
    ) -> Result<Sender, Unconnected> {
        let _joining = Counted::new(&self.joining);
        let joined = timeout(within + GRACE, async {
            let mut rounds = 0;
            loop {
                if let Some(sender) = self.take_in_line() {
                    return Ok(sender);
                }
                if !self.may_share() {
                    return self.connect(within).await;
                }
                if self.is_passed_over(within, &others) {
                    return Err(Unconnected::Passed);
                }
                // An app that takes little at once: wait in line there. Where it takes nothing another connection may yet help.
                let is_in_vain = self.is_barren() && self.opening.borrow().is_none();
                let in_line = is_in_vain && (rounds > 0 || !self.may_widen(Instant::now()));
                if (in_line || rounds >= ROUNDS)
                    && let Some(shared) = self.least_crowded()
                {
                    return Ok(Sender::Http2(shared.crowd()));
                }
                let mut opening = Some(self.opening(within));
                let outcome = tokio::select! {
                    // What was opened is free as well: it counts for all who waited.
                    biased;
                    outcome = over(&mut opening) => outcome,
                    () = self.freed.notified() => continue,
                    () = sleep(LOOK), if self.least_crowded().is_some() => continue,
                };
                rounds += 1;
                if let Some(Err(failure)) = outcome {
                    let is_full = matches!(failure, Unconnected::Full);
                    self.bear(failure, &others)?;
                    if !is_full {
                        rounds = ROUNDS;
                    }
                }
            }
        });
        joined.await.unwrap_or_else(|_| {
            if self.target.cap.is_some() {
                return Err(Unconnected::Full);
            }
            // Who came late to an opening that hangs may have what is open already, too.
            let shared = self.least_crowded().ok_or(Unconnected::TimedOut)?;
            if others(false) { Err(Unconnected::Passed) } else { Ok(Sender::Http2(shared.crowd())) }
        })
    }

    /// The same where a request may not stand in line on a connection, or not as long as the app takes nothing on any: here
    /// it waits for room on any.
    pub(super) async fn room(
        self: &Rc<Self>,
        within: Duration,
        in_line: bool,
        others: impl Others,
    ) -> Result<Sender, Unconnected> {
        let _joining = Counted::new(&self.joining);
        let begun = Instant::now();
        let mut freed = pin!(self.freed.notified());
        let mut opening = None;
        loop {
            if let Some(sender) = self.take_in_line() {
                return Ok(sender);
            }
            if !self.may_share() {
                return self.connect(within).await;
            }
            if self.is_passed_over(within, &others) {
                return Err(Unconnected::Passed);
            }
            // Newcomers stand there already, and would always be first.
            if in_line
                && !self.is_barren()
                && let Some(shared) = self.least_crowded()
            {
                return Ok(Sender::Http2(shared.crowd()));
            }
            let now = Instant::now();
            let is_under_way = self.opening.borrow().is_some();
            let since = |at| now.saturating_duration_since(at);
            let widens = || since(begun) >= LONG && !is_under_way && self.may_widen(now);
            // An app that ends each connection as soon as it is there is not stormed.
            let may_open = is_under_way || self.opened.get().is_none_or(|at| since(at) >= LOOK);
            if (self.least_crowded().is_none() && may_open) || widens() {
                opening = Some(self.opening(within));
            }
            tokio::select! {
                biased;
                outcome = over(&mut opening) => {
                    opening = None;
                    if let Some(Err(failure)) = outcome {
                        self.bear(failure, &others)?;
                    }
                }
                // Who goes on waiting keeps its turn.
                () = freed.as_mut() => freed.set(self.freed.notified()),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// What is free, for one of those who wait: there may be room for the next as well.
    fn take_in_line(&self) -> Option<Sender> {
        let taken = self.take()?;
        self.freed.notify_one();
        Some(taken)
    }

    /// Whether one more connection may be opened now for those who wait for room. Where the last brought none, ever seldomer.
    fn may_widen(&self, now: Instant) -> bool {
        let last = self.widened.get();
        let in_vain = last.map(|(_, pause)| pause).filter(|_| self.is_barren());
        let is_soon = |at| now.saturating_duration_since(at) < in_vain.unwrap_or(LONG);
        if last.is_some_and(|(at, _)| is_soon(at)) {
            return false;
        }
        let pause = in_vain.map_or(LONG, |pause| (pause * 2).min(LONGEST));
        self.widened.set(Some((now, pause)));
        true
    }

    /// Whether the app takes nothing for now on any connection that it keeps open.
    pub(super) fn is_barren(&self) -> bool {
        let shared = self.shared.borrow();
        let mut open = shared.iter().filter(|shared| shared.is_open()).peekable();
        open.peek().is_some() && open.all(|shared| shared.allowed() == 0)
    }

    /// Whether who has another app to go to goes there: this one takes nothing, or what is open is full and the last opening
    /// failed. Now and then a connection is tried again, for which nobody waits.
    fn is_passed_over(self: &Rc<Self>, within: Duration, others: &impl Others) -> bool {
        let is_barren = self.is_barren();
        let is_so = (is_barren || (self.failed.get() && self.least_crowded().is_some())) && others(is_barren);
        if is_so && self.opening.borrow().is_none() && self.may_widen(Instant::now()) {
            drop(self.opening(within));
        }
        is_so
    }

    /// Goes on waiting although an opening failed.
    ///
    /// # Errors
    /// Where nothing is open, or another app may take the request sooner.
    fn bear(&self, failure: Unconnected, others: &impl Others) -> Result<(), Unconnected> {
        match failure {
            failure if self.least_crowded().is_none() => Err(failure),
            // What holds the places under the cap may become free.
            Unconnected::Full => Ok(()),
            _ if others(self.is_barren()) => Err(Unconnected::Passed),
            _ => Ok(()),
        }
    }
}

/// Waits until an opening is over, where there is one; `None` where it broke off.
async fn over(opening: &mut Option<Opening>) -> Option<Result<(), Unconnected>> {
    let Some(opening) = opening else { return pending().await };
    let _ = opening.changed().await;
    opening.borrow_and_update().clone()
}

/// What a request got that waited.
pub(super) enum Waited {
    Place(OwnedSemaphorePermit),
    Free(Sender),
}

/// One more, for as long as this lives.
struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
