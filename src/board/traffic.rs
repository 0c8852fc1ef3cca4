//! What is counted of one environment's requests. Each worker has cells of its own, so that counting waits for nobody;
//! they are put together when somebody reads them.

use crate::model::Refusal;
use crate::telemetry::{Counter, Histogram, Spread};

/// `ok`, and every refusal.
const CODES: usize = 1 + Refusal::ALL.len();
/// 1xx to 5xx.
const CLASSES: usize = 5;

/// One environment's counts, or those of strangers.
#[derive(Debug)]
pub struct Traffic {
    /// By the number of the worker.
    cells: Box<[Cells]>,
}

/// What one worker has counted. Only its thread writes.
// On cache lines of its own: prefetchers take two at a time.
#[derive(Debug)]
#[repr(align(128))]
pub struct Cells {
    outcomes: [Counter; CODES * CLASSES],
    /// Of requests that have ended, tunnels left out.
    duration: Histogram,
    /// Until the head of the app's answer.
    upstream: Histogram,
    received: Counter,
    sent: Counter,
    begun: Counter,
    ended: Counter,
    tunnels_begun: Counter,
    tunnels_ended: Counter,
    redacted: Counter,
    unsearched: Counter,
}

/// What is counted of a request at its end.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `None`: `ok`.
    pub refusal: Option<Refusal>,
    pub status: u16,
    /// In microseconds, as the next one.
    pub duration: u64,
    pub upstream: Option<u64>,
    pub received: u64,
    pub sent: u64,
    pub tunnel: bool,
}

impl Traffic {
    #[must_use]
    pub(super) fn new(workers: usize) -> Self {
        Self { cells: (0..workers).map(|_| Cells::default()).collect() }
    }

    /// The cells of one worker.
    #[must_use]
    pub fn cells(&self, worker: usize) -> Option<&Cells> {
        self.cells.get(worker)
    }

    /// All workers' together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for cells in &self.cells {
            for (sum, cell) in totals.outcomes.iter_mut().zip(&cells.outcomes) {
                *sum += cell.get();
            }
            totals.duration.take_in(&cells.duration);
            totals.upstream.take_in(&cells.upstream);
            totals.received += cells.received.get();
            totals.sent += cells.sent.get();
            // Ends first: a request that ends in between counts as in flight, not as less than none.
            totals.in_flight += in_between(&cells.ended, &cells.begun);
            totals.tunnels_open += in_between(&cells.tunnels_ended, &cells.tunnels_begun);
            totals.tunnels += cells.tunnels_begun.get();
            totals.redacted += cells.redacted.get();
            totals.unsearched += cells.unsearched.get();
        }
        totals
    }
}

impl Cells {
    /// A request was given to this environment.
    pub fn begin(&self) {
        self.begun.add_alone(1);
    }

    /// Its connection became a tunnel.
    pub fn begin_tunnel(&self) {
        self.tunnels_begun.add_alone(1);
    }

    /// So many secrets were replaced in what the app answered.
    pub fn redacted(&self, count: u64) {
        self.redacted.add_alone(count);
    }

    /// The app's answer could not be searched for secrets though it was to be; returns how many there were.
    pub fn unsearched(&self) -> u64 {
        self.unsearched.add_alone(1);
        self.unsearched.get()
    }

    /// It has ended.
    pub fn end(&self, outcome: &Outcome) {
        let code = outcome.refusal.map_or(0, |refusal| 1 + refusal as usize);
        let class = usize::from(outcome.status / 100).clamp(1, CLASSES) - 1;
        if let Some(cell) = self.outcomes.get(code * CLASSES + class) {
            cell.add_alone(1);
        }
        if outcome.tunnel {
            self.tunnels_ended.add_alone(1);
        } else {
            self.duration.observe_alone(outcome.duration);
        }
        if let Some(upstream) = outcome.upstream {
            self.upstream.observe_alone(upstream);
        }
        self.received.add_alone(outcome.received);
        self.sent.add_alone(outcome.sent);
        self.ended.add_alone(1);
    }
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| Counter::default()),
            duration: Histogram::default(),
            upstream: Histogram::default(),
            received: Counter::default(),
            sent: Counter::default(),
            begun: Counter::default(),
            ended: Counter::default(),
            tunnels_begun: Counter::default(),
            tunnels_ended: Counter::default(),
            redacted: Counter::default(),
            unsearched: Counter::default(),
        }
    }
}

/// One environment's counts at one moment.
#[derive(Clone, Debug)]
pub struct Totals {
    outcomes: [u64; CODES * CLASSES],
    pub duration: Spread,
    pub upstream: Spread,
    pub received: u64,
    pub sent: u64,
    pub in_flight: u64,
    pub tunnels: u64,
    pub tunnels_open: u64,
    pub redacted: u64,
    pub unsearched: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            outcomes: [0; CODES * CLASSES],
            duration: Spread::default(),
            upstream: Spread::default(),
            received: 0,
            sent: 0,
            in_flight: 0,
            tunnels: 0,
            tunnels_open: 0,
            redacted: 0,
            unsearched: 0,
        }
    }
}

impl Totals {
    /// Requests by refusal (`None`: `ok`) and by the first digit of the status; only what has occurred.
    pub fn outcomes(&self) -> impl Iterator<Item = (Option<Refusal>, u8, u64)> + '_ {
        self.outcomes.iter().enumerate().filter(|(_, count)| **count > 0).map(|(place, count)| {
            let refusal = (place / CLASSES).checked_sub(1).and_then(|place| Refusal::ALL.get(place).copied());
            (refusal, (place % CLASSES) as u8 + 1, *count)
        })
    }
}

fn in_between(ended: &Counter, begun: &Counter) -> u64 {
    let ended = ended.get();
    begun.get().saturating_sub(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome {
        refusal: None,
        status: 200,
        duration: 700,
        upstream: None,
        received: 3,
        sent: 5,
        tunnel: false,
    };

    #[test]
    fn outcomes_come_back_as_they_were_counted_whoever_counted_them() {
        let traffic = Traffic::new(2);
        let count = |worker: usize, refusal, status| {
            traffic.cells(worker).unwrap().end(&Outcome { refusal, status, ..OK });
        };
        count(0, None, 200);
        count(1, None, 204);
        count(1, None, 101);
        count(0, Some(Refusal::InvalidRequest), 400);
        count(0, Some(Refusal::NotFound), 404);
        count(0, None, 999);
        assert!(traffic.cells(2).is_none());
        let totals = traffic.totals();
        let outcomes: Vec<_> = totals.outcomes().collect();
        let expected = [
            (None, 1, 1),
            (None, 2, 2),
            (None, 5, 1),
            (Some(Refusal::InvalidRequest), 4, 1),
            (Some(Refusal::NotFound), 4, 1),
        ];
        assert_eq!(outcomes, expected);
        assert_eq!((totals.received, totals.sent, totals.duration.count()), (18, 30, 6));
    }

    #[test]
    fn what_has_begun_and_not_ended_is_in_flight() {
        let traffic = Traffic::new(1);
        let cells = traffic.cells(0).unwrap();
        cells.begin();
        cells.begin();
        cells.begin_tunnel();
        cells.end(&OK);
        let totals = traffic.totals();
        assert_eq!((totals.in_flight, totals.tunnels_open), (1, 1));
        cells.end(&Outcome { tunnel: true, ..OK });
        let totals = traffic.totals();
        assert_eq!((totals.in_flight, totals.tunnels_open, totals.tunnels), (0, 0, 1));
        assert_eq!(totals.duration.count(), 1, "a tunnel's is not a request's");
    }
}
