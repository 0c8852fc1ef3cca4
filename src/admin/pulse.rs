//! Tells a long answer that is being taken from one that nobody takes: the life of its connection has no other bound.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::seats::Taken;

/// What the long answers of a connection were taken of. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    beats: Arc<watch::Sender<u64>>,
    /// Where there are only so many.
    place: Option<Arc<Taken>>,
}

impl Pulse {
    pub(super) fn new(place: Option<Arc<Taken>>) -> Self {
        Self { beats: Arc::new(watch::Sender::new(0)), place }
    }

    /// One more piece of a long answer was taken. The connection is for that answer from then on.
    pub(super) fn beat(&self) {
        if let Some(place) = &self.place {
            place.moved(true);
        }
        self.beats.send_modify(|beats| *beats += 1);
    }

    /// Waits for the first piece.
    pub(super) async fn begun(&self) {
        // The sender is here, so waiting cannot fail.
        let _ = self.beats.subscribe().wait_for(|beats| *beats > 0).await;
    }

    /// Waits for the end of `serving`; `None` once nothing was taken for `silence`.
    pub(super) async fn outlast<T>(&self, silence: Duration, serving: impl Future<Output = T>) -> Option<T> {
        let mut serving = std::pin::pin!(serving);
        let mut beats = self.beats.subscribe();
        loop {
            tokio::select! {
                ended = serving.as_mut() => return Some(ended),
                beat = tokio::time::timeout(silence, beats.changed()) => {
                    if beat.is_err() {
                        return None;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn what_is_taken_may_last_and_what_is_not_may_not() {
        let pulse = Pulse::new(None);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(SILENCE / 8).await;
                pulse.beat();
            }
        };
        assert_eq!(pulse.outlast(SILENCE, slow).await, Some(()), "longer than the silence in all");
        pulse.begun().await;
        let stalled = pulse.outlast(Duration::from_millis(1), std::future::pending::<()>());
        assert_eq!(stalled.await, None);
    }
}
