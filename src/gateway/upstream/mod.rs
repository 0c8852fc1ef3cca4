//! The app's own addresses: which one a request goes to, and the connections kept open to each.

pub(super) mod answer;
mod cap;
mod departure;
pub(super) mod dial;
mod health;
pub(super) mod link;
mod place;
pub(super) mod pool;
mod probe;
pub(super) mod reply;
pub(super) mod sender;
mod shape;
pub(super) mod shared;
pub(super) mod source;
pub mod stock;
pub(super) mod stream;
pub mod supervisor;
pub mod trust;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;

use self::cap::Cap;
use self::dial::Expected;
use self::health::{Moment, Noted, Trial};
use self::place::Place;
use self::probe::Check;
use crate::board::upstream::{Standing, Whose};
use crate::model::Upstream;

/// An environment's upstreams, shared by all workers.
#[derive(Debug, Default)]
pub struct Upstreams {
    targets: Vec<Arc<Target>>,
    /// Where the next search begins, so that equals are used in turn.
    turn: AtomicUsize,
}

/// One upstream: the way there, and how it does.
#[derive(Debug)]
pub struct Target {
    pub address: Upstream,
    /// Its URL, and how the access log has that.
    pub name: Box<str>,
    pub logged: Box<str>,
    pub host_value: Option<HeaderValue>,
    pub standing: Arc<Standing>,
    whose: Whose,
    place: Place,
    /// `None`: without TLS.
    expected: Option<Expected>,
    cap: Option<Cap>,
    check: Option<Check>,
}

/// A request under way to a target, counted for as long as this lives.
#[derive(Debug)]
pub struct Chosen {
    target: Arc<Target>,
    /// It shows whether the target can be let in again.
    on_trial: bool,
}

impl Upstreams {
    const fn new(targets: Vec<Arc<Target>>) -> Self {
        Self { targets, turn: AtomicUsize::new(0) }
    }

    pub(super) fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// The least busy target that was not tried yet, equals in turn. One that is left out is used where nothing better
    /// is left, one that health checks found down is not.
    #[must_use]
    pub fn choose(&self, tried: &[Chosen]) -> Option<Chosen> {
        let first = match self.targets.len() {
            0 | 1 => 0,
            _ => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let untried = |target: &&Arc<Target>| !tried.iter().any(|chosen| Arc::ptr_eq(&chosen.target, target));
        loop {
            let now = Moment::now();
            let best = (0..self.targets.len())
                .map(|step| &self.targets[first.wrapping_add(step) % self.targets.len()])
                .filter(untried)
                .filter(|target| !target.standing.is_down())
                .min_by_key(|target| {
                    (target.standing.is_out(now), target.standing.in_flight.load(Ordering::Relaxed))
                })?;
            match best.standing.try_again(now) {
                // Another request was faster: until it is answered the target stays out.
                Trial::Taken => {}
                Trial::None => return Some(Chosen::new(best, false)),
                Trial::Yours => return Some(Chosen::new(best, true)),
            }
        }
    }

    /// Targets besides `chosen` that were not tried yet and do well; `desperate`: or were left out for a while that is over.
    pub(super) fn others(
        &self,
        tried: &[Chosen],
        chosen: &Chosen,
        desperate: bool,
    ) -> impl Iterator<Item = &Arc<Target>> {
        let known =
            move |target| tried.iter().chain([chosen]).any(|known| Arc::ptr_eq(&known.target, target));
        let now = Moment::now();
        let may_serve = move |standing: &Standing| match desperate {
            true => !standing.is_down() && !standing.is_out(now),
            false => standing.is_healthy(),
        };
        self.targets.iter().filter(move |target| may_serve(&target.standing) && !known(target))
    }

    /// Notes that a request was not answered. Too many of them in a row, and the target is left out for a while, if
    /// there is another.
    pub(super) fn failed(&self, target: &Arc<Target>, on_trial: bool, why: &str) {
        let others = || {
            let mut others = self.targets.iter().filter(|other| !Arc::ptr_eq(other, target));
            others.any(|other| other.standing.is_healthy())
        };
        match target.standing.note_failure(Moment::now(), on_trial, others) {
            Noted::Counted => tracing::debug!("{target} failed a request: {why}"),
            Noted::Indispensable => tracing::warn!("{target} fails request after request: {why}"),
            Noted::Out(pause) => tracing::warn!("{target} is left out for {} s: {why}", pause.as_secs()),
        }
    }
}

impl Target {
    /// Notes that a request was answered, whatever the answer.
    pub(super) fn answered(&self) {
        if self.standing.note_success() {
            tracing::info!("{self} answers again");
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "upstream {} of {} in {}", self.name, self.whose.app, self.whose.environment)
    }
}

impl Chosen {
    fn new(target: &Arc<Target>, on_trial: bool) -> Self {
        target.standing.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { target: target.clone(), on_trial }
    }

    #[must_use]
    pub const fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(super) const fn is_on_trial(&self) -> bool {
        self.on_trial
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.target.standing.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::upstream::Standings;

    fn three() -> Upstreams {
        let config = crate::control::sample::config();
        let (app, mut environment) = (config.apps[0].clone(), config.apps[0].environments[0].clone());
        environment.upstreams =
            ["http://a", "http://b", "http://c"].map(|url| Upstream::parse(url).unwrap()).into();
        let standings = Standings::default();
        stock::Stock::new(&standings, []).upstreams(&app.name, &environment, &environment.upstreams).unwrap()
    }

    fn names(upstreams: &Upstreams, count: usize) -> Vec<Box<str>> {
        (0..count).map(|_| upstreams.choose(&[]).unwrap().target().name.clone()).collect()
    }

    #[test]
    fn equals_take_turns() {
        let names = names(&three(), 6);
        assert_eq!(names[..3], names[3..]);
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    }

    #[test]
    fn the_least_busy_is_chosen_and_none_twice() {
        let upstreams = three();
        let busy = [upstreams.choose(&[]).unwrap(), upstreams.choose(&[]).unwrap()];
        let free = upstreams.choose(&[]).unwrap();
        assert!(busy.iter().all(|busy| !Arc::ptr_eq(busy.target(), free.target())));
        drop(free);
        let again = upstreams.choose(&busy).unwrap();
        let tried: Vec<_> = busy.into_iter().chain([again]).collect();
        assert!(upstreams.choose(&tried).is_none());
    }

    #[test]
    fn what_fails_is_left_out_but_never_the_last() {
        let upstreams = three();
        let [a, b, c] = upstreams.targets() else { panic!() };
        for target in [a, b, c] {
            for _ in 0..3 {
                upstreams.failed(target, false, "test");
            }
        }
        assert_eq!([a, b, c].map(|target| target.standing.is_healthy()), [false, false, true]);
        assert!(names(&upstreams, 6).iter().all(|name| *name == c.name));
        // Where nothing better is left, what was left out is tried all the same.
        let tried = [upstreams.choose(&[]).unwrap()];
        assert!(!upstreams.choose(&tried).unwrap().is_on_trial());
        a.answered();
        assert!(a.standing.is_healthy());
        assert!(names(&upstreams, 6).iter().any(|name| *name == a.name));
    }

    #[test]
    fn what_is_found_down_is_not_used_at_all() {
        let upstreams = three();
        for (left, target) in upstreams.targets().iter().enumerate().rev() {
            target.standing.down.store(true, Ordering::Relaxed);
            assert_eq!(upstreams.choose(&[]).is_some(), left > 0);
        }
    }
}
