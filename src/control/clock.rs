//! The time as commands take it: the system's, or a test's.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time. Clones share it.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub(super) fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// Now, as exactly as it is stored.
    pub(super) fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that stands still until it is set.
    pub(super) fn set_by(hand: Arc<std::sync::Mutex<Timestamp>>) -> Self {
        Self(Arc::new(move || *hand.lock().unwrap()))
    }
}
