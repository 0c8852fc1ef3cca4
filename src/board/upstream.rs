//! How each upstream does, as the gateway learns it and the admin side tells it. Kept by app, environment and address,
//! so that a reload forgets nothing about an upstream that stays.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::model::{AppName, EnvironmentName, Upstream};
use crate::telemetry::Counter;

/// Whose upstream, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whose {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub address: Upstream,
}

/// One upstream's condition, shared by all workers. Only the gateway writes.
#[derive(Debug, Default)]
pub struct Standing {
    pub in_flight: AtomicUsize,
    /// Requests that had to be sent again, here or elsewhere, because this upstream failed them.
    pub retries: Counter,
    /// How often it was taken out.
    pub ejections: Counter,
    /// Requests that failed since one last got an answer.
    pub failures: AtomicU32,
    /// How often it was taken out since it last gave an answer.
    pub ejections_in_a_row: AtomicU32,
    /// Until when it is taken out, by the gateway's own clock; 0 while it is in.
    pub out_until: AtomicU64,
    /// Health checks say that it is down.
    pub down: AtomicBool,
}

impl Standing {
    /// Whether requests may go there as a matter of course.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.down.load(Ordering::Relaxed) && self.out_until.load(Ordering::Relaxed) == 0
    }
}

/// Every upstream that is in use.
#[derive(Debug, Default)]
pub struct Standings(Mutex<HashMap<Whose, Weak<Standing>>>);

impl Standings {
    /// The standing of an upstream, made if there is none yet. It lasts as long as somebody holds it.
    #[must_use]
    pub fn of(&self, whose: Whose) -> Arc<Standing> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = all.get(&whose).and_then(Weak::upgrade) {
            return standing;
        }
        all.retain(|_, standing| standing.strong_count() > 0);
        let standing = Arc::new(Standing::default());
        all.insert(whose, Arc::downgrade(&standing));
        standing
    }

    /// The standing of an upstream that is in use.
    #[must_use]
    pub fn find(&self, whose: &Whose) -> Option<Arc<Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(whose)?.upgrade()
    }

    /// All that are in use, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(Whose, Arc<Standing>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|(whose, standing)| Some((whose.clone(), standing.upgrade()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_lasts_as_long_as_it_is_held() {
        let standings = Standings::default();
        let whose = |url: &str| Whose {
            app: AppName::parse("shop").unwrap(),
            environment: EnvironmentName::parse("production").unwrap(),
            address: Upstream::parse(url).unwrap(),
        };
        let first = standings.of(whose("http://a"));
        first.retries.add(1);
        let again = standings.of(whose("http://a"));
        assert!(Arc::ptr_eq(&first, &again));
        drop((first, again));
        assert!(standings.find(&whose("http://a")).is_none());
        let other = standings.of(whose("http://b"));
        assert_eq!(standings.all().len(), 1);
        assert_eq!(other.retries.get(), 0);
    }
}
