//! What the gateway has to ask those who may look into the store. Bounded: who asks when too much is asked is told so.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::seats::Seats;
use crate::model::Landing;
use crate::telemetry::Counter;

/// Questions that may wait to be heard.
const WAITING: usize = 64;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a report, for which keys may have to be fetched; its sender waits for 30 s.
const REPORT_PATIENCE: Duration = Duration::from_secs(15);
/// Reports that may be judged at once.
pub const REPORTS: usize = 4;

/// One question, and the way back for its answer.
#[derive(Debug)]
pub enum Question {
    /// What a link that signs in is for.
    Share {
        /// The digest of its code.
        code: [u8; 32],
        /// Whether it is used with that.
        spend: bool,
        client: IpAddr,
        answer: oneshot::Sender<Shared>,
    },
    /// What is to be answered to a report of leaked credentials.
    Leaks { report: Box<LeakReport>, answer: oneshot::Sender<Reported>, place: Judging },
}

/// A place for a report while it is judged, whether anybody waits for that or not.
#[derive(Debug)]
pub struct Judging(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// A signed report of leaked credentials, as it arrived. Not for formatting: it holds them.
pub struct LeakReport {
    /// Which key it is said to be signed with, and the signature.
    pub key: String,
    pub signature: String,
    pub body: Bytes,
}

/// What came of a report.
#[derive(Debug, PartialEq, Eq)]
pub enum Reported {
    /// It was taken: the answer, as JSON.
    Taken(Vec<u8>),
    /// Such reports are not wanted here.
    Unwanted,
    /// It was not taken, in a few words.
    Refused(&'static str),
    /// Nobody can tell at present.
    Unavailable,
}

/// What a link that signs in is for.
#[derive(Clone, PartialEq, Eq)]
pub enum Shared {
    Open {
        /// The digest of its token.
        token: [u8; 32],
        /// Where it leads.
        landing: Landing,
    },
    UsedUp,
    /// There is no such link.
    Unknown,
    /// Nobody can tell at present.
    Unavailable,
}

/// The way to whoever answers.
#[derive(Debug)]
pub struct Questions {
    way: Mutex<Option<mpsc::Sender<Question>>>,
    reports: Arc<Semaphore>,
    /// For reports while they are read: they come from strangers and are long.
    pub seats: Seats,
    pub turned_away: TurnedAway,
}

/// Reports that were not taken for want of room or of somebody to judge them, whether they were genuine or not.
#[derive(Debug, Default)]
pub struct TurnedAway {
    /// There was no seat.
    pub full: Counter,
    /// The seat was given to somebody else.
    pub pushed_out: Counter,
    /// Nobody could judge it.
    pub unjudged: Counter,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            way: Mutex::default(),
            reports: Arc::new(Semaphore::new(REPORTS)),
            seats: Seats::default(),
            turned_away: TurnedAway::default(),
        }
    }
}

impl Questions {
    /// From here on the caller is asked.
    pub fn attend(&self) -> mpsc::Receiver<Question> {
        let (way, questions) = mpsc::channel(WAITING);
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        questions
    }

    /// Waits until a report can be judged; `None`: that took too long.
    pub async fn judging(&self) -> Option<Judging> {
        let place = tokio::time::timeout(PATIENCE, self.reports.clone().acquire_owned()).await;
        place.ok()?.ok().map(Judging)
    }

    /// Has a report of leaked credentials judged, and what it holds ended.
    pub async fn leaks(&self, report: LeakReport, place: Judging) -> Reported {
        let (answer, told) = oneshot::channel();
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = way.map(|way| way.try_send(Question::Leaks { report: Box::new(report), answer, place }));
        let Some(Ok(())) = asked else { return Reported::Unavailable };
        match tokio::time::timeout(REPORT_PATIENCE, told).await {
            Ok(Ok(reported)) => reported,
            _ => Reported::Unavailable,
        }
    }

    /// Asks what the link with this code is for, and uses it where `spend` says so.
    pub async fn share(&self, code: [u8; 32], spend: bool, client: IpAddr) -> Shared {
        let (answer, told) = oneshot::channel();
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = way.map(|way| way.try_send(Question::Share { code, spend, client, answer }));
        let Some(Ok(())) = asked else { return Shared::Unavailable };
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(shared)) => shared,
            _ => Shared::Unavailable,
        }
    }
}

impl std::fmt::Debug for LeakReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeakReport").field("key", &self.key).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open { .. } => "Open",
            Self::UsedUp => "UsedUp",
            Self::Unknown => "Unknown",
            Self::Unavailable => "Unavailable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_are_bounded_and_answered_once() {
        let questions = Questions::default();
        let client = "192.0.2.1".parse().unwrap();
        assert_eq!(questions.share([0; 32], false, client).await, Shared::Unavailable, "nobody is there");
        let mut asked = questions.attend();
        let ask = || questions.share([7; 32], true, client);
        let answer = async {
            let Some(Question::Share { code, spend, answer, .. }) = asked.recv().await else { panic!() };
            assert!(code == [7; 32] && spend);
            answer.send(Shared::UsedUp).unwrap();
        };
        assert_eq!(tokio::join!(ask(), answer).0, Shared::UsedUp);
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let mut one = Box::pin(ask());
            assert!(futures_poll(&mut one).is_pending());
            waiting.push(one);
        }
        assert_eq!(ask().await, Shared::Unavailable, "too many ask at once");
        drop(asked);
        for one in waiting {
            assert_eq!(one.await, Shared::Unavailable);
        }
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
