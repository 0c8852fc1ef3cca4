//! What went on lately, for charts: of each environment, and of the tokens that were used last. In memory, bounded, and
//! put together from counts that the gateway makes anyway, a few seconds after the fact.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use super::traffic::Totals;
use crate::model::{AppName, EnvironmentName, TokenId};

/// A minute each, for the last hour.
const MINUTES: usize = 60;
/// Half an hour each, for the last day.
const HALVES: usize = 48;
const MINUTE: i64 = 60_000;
const HALF_HOUR: i64 = 30 * MINUTE;
/// Tokens whose last day is remembered: those that were used last. Each takes about 1.3 KB.
const TOKENS: usize = 4096;
/// How many make room at once where one has to.
const MADE_ROOM: usize = TOKENS / 8;

/// Requests of one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u32,
    /// Of these, what the gateway refused.
    pub refused: u32,
    /// Of these, what the app failed: answers from 500 on, or none.
    pub failed: u32,
}

impl Count {
    pub(super) fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.refused = self.refused.saturating_add(more.refused);
        self.failed = self.failed.saturating_add(more.failed);
    }
}

/// The last hour in minutes and the last day in half hours, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lately {
    pub hour: Vec<Count>,
    pub day: Vec<Count>,
}

/// A ring of stretches of time.
#[derive(Debug)]
struct Ring<const N: usize> {
    /// The number of the stretch that was counted in last.
    last: i64,
    counts: [Count; N],
}

impl<const N: usize> Ring<N> {
    fn new(number: i64) -> Self {
        Self { last: number, counts: [Count::default(); N] }
    }

    fn place(number: i64) -> usize {
        number.rem_euclid(N as i64) as usize
    }

    fn add(&mut self, number: i64, count: Count) {
        // A clock that goes back goes on counting where it was.
        let number = number.max(self.last);
        for passed in (self.last + 1..=number).take(N) {
            self.counts[Self::place(passed)] = Count::default();
        }
        if number - self.last > N as i64 {
            self.counts = [Count::default(); N];
        }
        self.last = number;
        self.counts[Self::place(number)].add(count);
    }

    fn read(&self, number: i64) -> Vec<Count> {
        let ring = N as i64;
        let known = |number: &i64| *number <= self.last && *number > self.last - ring;
        let count =
            |number: i64| if known(&number) { self.counts[Self::place(number)] } else { Count::default() };
        (number - ring + 1..=number).map(count).collect()
    }
}

#[derive(Debug)]
struct Series {
    hour: Ring<MINUTES>,
    day: Ring<HALVES>,
}

impl Series {
    fn new(at: i64) -> Self {
        Self { hour: Ring::new(at.div_euclid(MINUTE)), day: Ring::new(at.div_euclid(HALF_HOUR)) }
    }

    fn add(&mut self, at: i64, count: Count) {
        self.hour.add(at.div_euclid(MINUTE), count);
        self.day.add(at.div_euclid(HALF_HOUR), count);
    }

    fn read(&self, at: i64) -> Lately {
        Lately { hour: self.hour.read(at.div_euclid(MINUTE)), day: self.day.read(at.div_euclid(HALF_HOUR)) }
    }
}

/// The last counts of one environment, and what was counted since the start.
#[derive(Debug)]
struct Followed {
    series: Series,
    seen: [u64; 3],
}

#[derive(Debug, Default)]
pub(super) struct History {
    tokens: Mutex<HashMap<TokenId, Box<Series>>>,
    environments: Mutex<BTreeMap<(AppName, EnvironmentName), Followed>>,
}

impl History {
    /// Takes in what tokens were used for since the last time.
    pub(super) fn note_tokens(&self, at: i64, counts: impl IntoIterator<Item = (TokenId, Count)>) {
        let mut all = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        for (token, count) in counts {
            if all.len() >= TOKENS && !all.contains_key(&token) {
                make_room(&mut all);
            }
            all.entry(token).or_insert_with(|| Box::new(Series::new(at))).add(at, count);
        }
    }

    /// Takes in what was counted of environments since the start.
    pub(super) fn note_totals(&self, at: i64, totals: Vec<((AppName, EnvironmentName), Totals)>) {
        let mut all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        for (names, totals) in totals {
            let now = sums(&totals);
            // What is counted is counted since the start, and so is what is first seen.
            let followed =
                all.entry(names).or_insert_with(|| Followed { series: Series::new(at), seen: [0; 3] });
            let [requests, refused, failed] = [0, 1, 2].map(|place| {
                let more = now[place].saturating_sub(followed.seen[place]);
                u32::try_from(more).unwrap_or(u32::MAX)
            });
            followed.seen = now;
            followed.series.add(at, Count { requests, refused, failed });
        }
    }

    pub(super) fn of_token(&self, token: TokenId, at: i64) -> Option<Lately> {
        let all = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&token).map(|series| series.read(at))
    }

    pub(super) fn of_environment(&self, names: &(AppName, EnvironmentName), at: i64) -> Option<Lately> {
        let all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(names).map(|followed| followed.series.read(at))
    }
}

/// All requests, those that were refused, and those that the app failed.
fn sums(totals: &Totals) -> [u64; 3] {
    let mut sums = [0; 3];
    for (refusal, class, count) in totals.outcomes() {
        sums[0] += count;
        if class == 5 {
            sums[2] += count;
        } else if refusal.is_some() {
            sums[1] += count;
        }
    }
    sums
}

/// Forgets those that were not used for the longest time.
fn make_room(all: &mut HashMap<TokenId, Box<Series>>) {
    let mut ages: Vec<_> = all.iter().map(|(token, series)| (series.hour.last, *token)).collect();
    let most = MADE_ROOM.min(ages.len().saturating_sub(1));
    let (oldest, _, _) = ages.select_nth_unstable_by_key(most, |(last, _)| *last);
    for (_, token) in oldest {
        all.remove(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Count = Count { requests: 1, refused: 0, failed: 0 };

    fn token(number: i64) -> TokenId {
        TokenId::next(None, jiff::Timestamp::from_millisecond(number).unwrap())
    }

    fn requests(counts: &[Count]) -> Vec<(usize, u32)> {
        let counts = counts.iter().enumerate().filter(|(_, count)| count.requests > 0);
        counts.map(|(place, count)| (place, count.requests)).collect()
    }

    #[test]
    fn the_last_hour_and_the_last_day() {
        let (history, id) = (History::default(), token(1));
        let note = |at, count| history.note_tokens(at, [(id, count)]);
        let start = 1_000 * HALF_HOUR;
        note(start, ONE);
        note(start + MINUTE, Count { requests: 3, refused: 1, failed: 1 });
        let lately = history.of_token(id, start + MINUTE).unwrap();
        assert_eq!(requests(&lately.hour), [(58, 1), (59, 3)]);
        assert_eq!(requests(&lately.day), [(47, 4)]);
        assert_eq!((lately.hour[59].refused, lately.hour[59].failed), (1, 1));

        let later = history.of_token(id, start + 10 * MINUTE).unwrap();
        assert_eq!(requests(&later.hour), [(49, 1), (50, 3)]);
        note(start + 61 * MINUTE, ONE);
        let later = history.of_token(id, start + 61 * MINUTE).unwrap();
        assert_eq!(requests(&later.hour), [(59, 1)]);
        assert_eq!(requests(&later.day), [(45, 4), (47, 1)]);
        note(start + 1_000 * MINUTE, ONE);
        let much_later = history.of_token(id, start + 10_000 * MINUTE).unwrap();
        assert_eq!((much_later.hour.len(), requests(&much_later.day)), (MINUTES, Vec::new()));
        note(start, ONE);
        let back = history.of_token(id, start + 1_000 * MINUTE).unwrap();
        assert_eq!(requests(&back.hour), [(59, 2)], "a clock that went back");
        assert_eq!(history.of_token(token(2), start), None);
    }

    #[test]
    fn those_used_last_are_remembered() {
        let history = History::default();
        let ids: Vec<_> = (0..TOKENS as i64 * 3).map(token).collect();
        for (minute, id) in (0..).zip(&ids) {
            history.note_tokens(minute * MINUTE, [(*id, ONE)]);
        }
        let now = ids.len() as i64 * MINUTE;
        assert!(history.tokens.lock().unwrap().len() <= TOKENS);
        assert!(history.of_token(ids[0], now).is_none());
        assert!(ids[ids.len() - TOKENS / 2..].iter().all(|id| history.of_token(*id, now).is_some()));
        // The same where all come at once.
        history.note_tokens(now, ids.iter().map(|id| (*id, ONE)));
        assert!(history.tokens.lock().unwrap().len() <= TOKENS);
    }
}
