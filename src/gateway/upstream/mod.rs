//! The app's own addresses: which one a request goes to, and the connections kept open to each.

pub(super) mod pool;
pub(super) mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;

use crate::model::Upstream;

/// An environment's upstreams, shared by all workers.
#[derive(Debug)]
pub struct Upstreams {
    targets: Vec<Arc<Target>>,
    /// Where the next search begins, so that equals are used in turn.
    turn: AtomicUsize,
}

/// One upstream and how busy it is.
#[derive(Debug)]
pub struct Target {
    pub address: Upstream,
    /// As logs show it.
    pub name: Box<str>,
    pub host_value: Option<HeaderValue>,
    in_flight: AtomicUsize,
}

/// A request under way to a target, counted for as long as this lives.
#[derive(Debug)]
pub struct Chosen(Arc<Target>);

impl Upstreams {
    #[must_use]
    pub fn new(addresses: &[Upstream]) -> Self {
        let target = |address: &Upstream| {
            Arc::new(Target {
                address: address.clone(),
                name: address.to_string().into(),
                host_value: HeaderValue::from_str(address.authority()).ok(),
                in_flight: AtomicUsize::new(0),
            })
        };
        Self { targets: addresses.iter().map(target).collect(), turn: AtomicUsize::new(0) }
    }

    /// The least busy target that was not tried yet, equals in turn.
    #[must_use]
    pub fn choose(&self, tried: &[Chosen]) -> Option<Chosen> {
        let first = match self.targets.len() {
            0 | 1 => 0,
            _ => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let untried = |target: &&Arc<Target>| !tried.iter().any(|chosen| Arc::ptr_eq(&chosen.0, target));
        (0..self.targets.len())
            .map(|step| &self.targets[first.wrapping_add(step) % self.targets.len()])
            .filter(untried)
            .min_by_key(|target| target.in_flight.load(Ordering::Relaxed))
            .map(|target| Chosen::new(target.clone()))
    }
}

impl Chosen {
    fn new(target: Arc<Target>) -> Self {
        target.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(target)
    }

    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Upstreams {
        Upstreams::new(&["http://a", "http://b", "http://c"].map(|url| Upstream::parse(url).unwrap()))
    }

    #[test]
    fn equals_take_turns() {
        let upstreams = three();
        let names: Vec<_> = (0..6).map(|_| upstreams.choose(&[]).unwrap().target().name.clone()).collect();
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
}
