//! What is done without anybody's call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::Control;
use super::calm::Calm;
use super::leaks::outlets;
use crate::model::Lifetime;
use crate::store::Ahead;

/// How often ended tokens are looked for, at the most and at the least.
const OFTENEST: Duration = Duration::from_secs(1);
const SELDOMEST: Duration = Duration::from_secs(600);
/// How often last uses of keys are written down, and what is about to end is looked for.
const OFTEN: Duration = Duration::from_secs(5);
/// How long before its end a token in use is noted.
const AHEAD: Lifetime = Lifetime::days(7);
/// How long before it its owner is told a last time.
const LAST_DAY: Lifetime = Lifetime::days(1);
/// How often those are counted where none was newly noted.
const COUNT: Duration = Duration::from_secs(60);

/// How many tokens in use end within 7 days, as they were counted last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Expiring(Arc<Mutex<Option<u64>>>);

impl Expiring {
    /// `None`: they have not been counted yet.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(count);
    }
}

impl Control {
    /// Forgets what is old and notes what is due, until `stop` is true or its sender is gone.
    pub async fn keep_house(self, stop: watch::Receiver<bool>) {
        tokio::join!(self.forget(stop.clone()), self.note(stop));
    }

    /// Forgets tokens that ended longer ago than `tokens.keep_ended`, and calls that nobody repeats any more.
    async fn forget(&self, mut stop: watch::Receiver<bool>) {
        let mut calm = Calm::new(Timestamp::now(), Instant::now());
        loop {
            let keep = self.config.load().tokens.keep_ended;
            let pause = keep.fixed().map_or(SELDOMEST, |keep| (keep / 10).clamp(OFTENEST, SELDOMEST));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
            let now = Timestamp::now();
            if !calm.lasts(now, Instant::now()) {
                continue;
            }
            // The store says itself when it cannot be written; the next round tries again.
            if let Some(cutoff) = keep.before(now) {
                let _ = self.store.forget_ended(cutoff).await;
            }
            let _ = self.store.trim_repeats(now).await;
            let _ = self.store.trim_notices(now).await;
        }
    }

    /// Notes last uses of keys, what was seen to have ended, and tokens in use that are about to end.
    async fn note(&self, mut stop: watch::Receiver<bool>) {
        let mut counted: Option<Instant> = None;
        loop {
            let ending = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(OFTEN) => false,
            };
            let taken = self.key_uses.take();
            if !taken.is_empty() && self.store.note_key_uses(taken).await.is_ok() {
                self.key_uses.wrote();
            }
            // The store keeps what it could not write, and says itself that it could not.
            let _ = self.store.note_sightings().await;
            if ending {
                return;
            }
            self.count_leaks().await;
            let now = self.now();
            let Some(end) = AHEAD.after(now) else { continue };
            let outlets = outlets(&self.config.load());
            let noted = self.store.note_ending(now, end, Ahead::Week, outlets).await.unwrap_or_default();
            let last = match LAST_DAY.after(now) {
                Some(end) => self.store.note_ending(now, end, Ahead::Day, outlets).await.unwrap_or_default(),
                None => 0,
            };
            if noted + last > 0 {
                self.outbox.send_replace(());
            }
            if (noted > 0 || counted.is_none_or(|last| last.elapsed() >= COUNT))
                && let Ok(count) = self.store.count_ending(now, end).await
            {
                self.expiring.set(count);
                counted = Some(Instant::now());
            }
        }
    }
}
