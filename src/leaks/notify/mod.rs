//! Tells people of what happened to credentials: takes notices out of the outbox, sends each until it has arrived or has
//! to be given up, and notes what came of it. One is sent again where that could not be noted: with the same id.

mod letter;
mod mail;
mod webhook;

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::control::{Control, Sent, is_open};
use crate::model::{Channel, Notice, NoticeId};
use crate::outgoing::Trust;

/// Notices that are under way at once, by each channel.
const AT_ONCE: usize = 4;
/// How long to wait after the first failure; twice as long after each further one, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// Attempts that are made: they take about three days.
const ATTEMPTS: u32 = 80;
/// Failures in a row after which a far end is taken to be down, and the longest time until it is tried again.
const BROKEN: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How long the system's certificates are believed to be what they were.
const LONGEST_TRUST: Duration = Duration::from_secs(60 * 60);
/// How long those under way may take once we stop.
const LEAVING: Duration = Duration::from_secs(3);
/// How long nothing is tried after the store could not be asked.
const PAUSE: Duration = Duration::from_secs(5);

/// Why a notice did not arrive. It holds nothing of what was sent.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// It may arrive the next time, and not before so long.
    ForNow(String, Option<Duration>),
    /// The same, and it is no sign of how the far end fares: that refused this one alone.
    Refused(String),
    /// It never will.
    ForGood(String),
}

/// Sends notices until `stop` is true or its sender is gone.
pub async fn run(control: Control, stop: watch::Receiver<bool>) {
    tokio::join!(
        serve(Channel::Email, control.clone(), stop.clone()),
        serve(Channel::Webhook, control, stop)
    );
}

/// Serves one channel: what hangs in one does not hold up the other.
async fn serve(channel: Channel, control: Control, mut stop: watch::Receiver<bool>) {
    let mut news = control.outbox();
    let mut trust: Option<(Trust, Instant)> = None;
    let mut under_way: JoinSet<bool> = JoinSet::new();
    let mut ids: HashMap<task::Id, NoticeId> = HashMap::new();
    let mut health = Health::default();
    loop {
        news.mark_unchanged();
        let places = health.places(Instant::now()).saturating_sub(under_way.len());
        let next = if places == 0 {
            None
        } else if !is_open(channel, &control.config().notify) {
            // What waits goes on waiting: a configuration may come back.
            Timestamp::now().checked_add(PAUSE).ok()
        } else {
            // Those under way are among what is due.
            match control.due_notices(channel, AT_ONCE + under_way.len()).await {
                Ok((mut due, next)) => {
                    due.retain(|notice| ids.values().all(|id| *id != notice.id));
                    due.truncate(places);
                    if channel == Channel::Webhook && !due.is_empty() {
                        renew(&mut trust).await;
                    }
                    for notice in due {
                        let (id, trust) = (notice.id, trust.as_ref().map(|(trust, _)| trust.clone()));
                        let task = under_way.spawn(deliver(control.clone(), trust, notice));
                        ids.insert(task.id(), id);
                    }
                    next
                }
                // The store says itself that it cannot be read.
                Err(_) => Timestamp::now().checked_add(PAUSE).ok(),
            }
        };
        let due = next.map(|next| {
            let ahead = Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default();
            Instant::now() + ahead.clamp(Duration::from_millis(10), LONGEST_WAIT)
        });
        let wait = async {
            match health.rest(Instant::now()).or(due) {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            changed = news.changed() => if changed.is_err() { break },
            Some(ended) = under_way.join_next_with_id() => {
                let (task, reached) = ended.unwrap_or_else(|e| (e.id(), false));
                ids.remove(&task);
                health.heard(reached, Instant::now(), fastrand::f64());
            }
            () = wait => {}
        }
    }
    // What has arrived would be sent again if nobody noted that.
    let rest = async { while under_way.join_next().await.is_some() {} };
    let _ = timeout(LEAVING, rest).await;
}

/// How the far end of a channel fares. Where it fails again and again, one notice at a time finds out whether it still
/// does, and the others keep their attempts.
#[derive(Debug, Default)]
struct Health {
    /// In a row.
    failures: u32,
    rest: Option<Instant>,
}

impl Health {
    fn heard(&mut self, reached: bool, now: Instant, chance: f64) {
        if reached {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.failures.checked_sub(BROKEN) {
            self.rest = Some(now + wait(more, chance).min(LONGEST_REST));
        }
    }

    /// How many notices may be under way.
    fn places(&self, now: Instant) -> usize {
        match self.rest {
            None => AT_ONCE,
            Some(until) => usize::from(until <= now),
        }
    }

    /// Until when nothing is tried.
    fn rest(&self, now: Instant) -> Option<Instant> {
        self.rest.filter(|until| *until > now)
    }
}

/// Reads the system's certificates anew where that was long ago: they change while we run.
async fn renew(trust: &mut Option<(Trust, Instant)>) {
    if trust.as_ref().is_none_or(|(_, read)| read.elapsed() >= LONGEST_TRUST) {
        match Trust::load().await {
            Ok(system) => *trust = Some((system, Instant::now())),
            Err(e) => tracing::error!("no webhook can be called: {e}"),
        }
    }
}

/// Tries a notice once; whether its far end was reached.
async fn deliver(control: Control, trust: Option<Trust>, notice: Notice) -> bool {
    let config = control.config();
    let sent = match (notice.channel, &config.notify.smtp, &config.notify.webhook) {
        (Channel::Email, Some(smtp), _) => mail::send(&control, smtp, &config.tokens, &notice).await,
        (Channel::Webhook, _, Some(webhook)) => match trust {
            Some(trust) => webhook::send(&trust, webhook, &config.tokens, &notice).await,
            None => Err(Failed::ForNow("TLS cannot be set up".to_owned(), None)),
        },
        (Channel::Email, None, _) => {
            Err(Failed::ForNow("notify.smtp is not configured any more".to_owned(), None))
        }
        (Channel::Webhook, _, None) => {
            Err(Failed::ForNow("notify.webhook is not configured any more".to_owned(), None))
        }
    };
    let (event, subject, channel) = (notice.event.as_str(), &notice.subject, notice.channel.as_str());
    let reached = !matches!(sent, Err(Failed::ForNow(..)));
    let sent = sent.map_err(|failed| match failed {
        Failed::Refused(error) => Failed::ForNow(error, None),
        other => other,
    });
    let sent = match sent {
        Ok(()) => Sent::Delivered,
        Err(Failed::ForNow(error, least)) if notice.attempts + 1 < ATTEMPTS => {
            if notice.attempts == 0 {
                tracing::warn!(%event, %subject, %channel, "a notice did not arrive, and is sent again: {error}");
            }
            let wait =
                wait(notice.attempts, fastrand::f64()).max(least.unwrap_or_default()).min(LONGEST_WAIT);
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
            Sent::Again { due: control.now().checked_add(wait).unwrap_or(Timestamp::MAX), error }
        }
        Err(Failed::ForNow(error, _) | Failed::Refused(error) | Failed::ForGood(error)) => {
            tracing::error!(%event, %subject, %channel, "a notice was given up: {error}");
            Sent::GivenUp { error }
        }
    };
    if control.settle_notice(notice.id, notice.channel, sent).await.is_err() {
        // It stays due, and must not be sent over and over meanwhile.
        tokio::time::sleep(PAUSE).await;
    }
    reached
}

/// How long to wait after so many failures before; `chance` is from 0 to 1, so that those who failed together do not
/// come back together.
fn wait(failures: u32, chance: f64) -> Duration {
    let full =
        FIRST_WAIT.saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
    full.mul_f64(0.75 + 0.25 * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_end_that_is_down_is_tried_with_one_notice_at_a_time() {
        let (mut health, start) = (Health::default(), Instant::now());
        for _ in 1..BROKEN {
            health.heard(false, start, 1.0);
            assert_eq!(health.places(start), AT_ONCE);
        }
        health.heard(false, start, 1.0);
        assert_eq!((health.places(start), health.places(start + FIRST_WAIT)), (0, 1));
        for _ in 0..40 {
            health.heard(false, start, 1.0);
        }
        assert_eq!(health.rest(start), Some(start + LONGEST_REST));
        assert_eq!(health.rest(start + LONGEST_REST), None);
        health.heard(true, start, 1.0);
        assert_eq!(health.places(start), AT_ONCE);
    }

    #[test]
    fn waits_grow_to_an_hour_and_differ() {
        assert_eq!(wait(0, 1.0), Duration::from_secs(1));
        assert_eq!(wait(3, 0.0), Duration::from_secs(6));
        for failures in [12, 31, 32, u32::MAX] {
            assert_eq!(wait(failures, 1.0), LONGEST_WAIT);
        }
        let whole: Duration = (0..ATTEMPTS - 1).map(|failures| wait(failures, 0.5)).sum();
        let days = whole.as_secs() / 86_400;
        assert!((2..=3).contains(&days), "{days} days");
    }
}
