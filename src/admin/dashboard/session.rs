//! Who is signed in. Sessions are kept in memory, so a restart ends them; what their key may do is asked anew each time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

use super::random::{Hash, draw, hash};
use crate::admin::call::{Answer, Call, json};
use crate::admin::wire;
use crate::model::KeyId;

/// A session that nobody uses ends after this, and any after the second.
const IDLE: Duration = Duration::from_secs(60 * 60);
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions in all, and of one holder: past it the one that was not used for the longest time makes room.
const MOST: usize = 2048;
const MOST_OF_ONE: usize = 32;

/// As whom a session acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// By a link that was made on the admin socket.
    Operator,
    Key(KeyId),
}

/// What a request needs to know of its session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: Hash,
    pub(super) holder: Holder,
    /// What each form of this session carries, and nobody else's can.
    pub(super) proof: String,
}

#[derive(Debug)]
struct Kept {
    holder: Holder,
    proof: String,
    begun: Instant,
    used: Instant,
    /// What the next page is to say.
    notice: Option<String>,
}

impl Kept {
    fn has_ended(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE
            || now.saturating_duration_since(self.begun) >= LONGEST
    }
}

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Hash, Kept>>);

impl Sessions {
    /// Begins a session; what its cookie holds.
    pub(super) fn begin(&self, holder: Holder, now: Instant) -> Result<String, getrandom::Error> {
        let (secret, proof) = (draw()?, draw()?);
        self.with(|all| {
            all.retain(|_, kept| !kept.has_ended(now));
            let of_holder = all.values().filter(|kept| kept.holder == holder).count();
            if of_holder >= MOST_OF_ONE {
                make_room(all, |kept| kept.holder == holder);
            } else if all.len() >= MOST {
                make_room(all, |_| true);
            }
            all.insert(hash(&secret), Kept { holder, proof, begun: now, used: now, notice: None });
        });
        Ok(secret)
    }

    /// The session whose cookie holds `secret`, which is in use from now on.
    pub(super) fn find(&self, secret: &str, now: Instant) -> Option<Session> {
        let id = hash(secret);
        self.with(|all| {
            let kept = all.get_mut(&id)?;
            if kept.has_ended(now) {
                all.remove(&id);
                return None;
            }
            kept.used = now;
            Some(Session { id, holder: kept.holder, proof: kept.proof.clone() })
        })
    }

    pub(super) fn end(&self, id: &Hash) {
        self.with(|all| all.remove(id));
    }

    /// Ends all of them; how many there were.
    fn end_all(&self, now: Instant) -> u64 {
        let all = self.with(std::mem::take);
        all.values().filter(|kept| !kept.has_ended(now)).count() as u64
    }

    /// Leaves word for the next page.
    pub(super) fn leave_notice(&self, id: &Hash, notice: String) {
        self.with(|all| {
            if let Some(kept) = all.get_mut(id) {
                kept.notice = Some(notice);
            }
        });
    }

    pub(super) fn take_notice(&self, id: &Hash) -> Option<String> {
        self.with(|all| all.get_mut(id)?.notice.take())
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Hash, Kept>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(in crate::admin) fn end_all(call: Call) -> Answer {
    Box::pin(async move {
        let (dashboard, caller) = (&call.state.dashboard, call.caller()?);
        // A link that waits would begin the next one.
        dashboard.links.drop_all();
        let ended = dashboard.sessions.end_all(Instant::now());
        call.state.control.note_signed_out(caller, ended).await;
        json(StatusCode::OK, &wire::DashboardSessionsEnded { ended })
    })
}

fn make_room(all: &mut HashMap<Hash, Kept>, of: impl Fn(&Kept) -> bool) {
    let oldest = all.iter().filter(|(_, kept)| of(kept)).min_by_key(|(_, kept)| kept.used);
    if let Some(id) = oldest.map(|(id, _)| *id) {
        all.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_session_ends_idle_and_ends_anyway() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let secret = sessions.begin(Holder::Operator, start).unwrap();
        assert!(sessions.find("", start).is_none());
        let mut now = start;
        while now < start + LONGEST - 50 * MINUTE {
            now += 50 * MINUTE;
            assert_eq!(sessions.find(&secret, now).map(|found| found.holder), Some(Holder::Operator));
        }
        assert!(sessions.find(&secret, start + LONGEST).is_none(), "though it was in use");

        let secret = sessions.begin(Holder::Operator, start).unwrap();
        assert!(sessions.find(&secret, start + IDLE).is_none());
        assert!(sessions.find(&secret, start).is_none(), "ended is ended");
    }

    #[test]
    fn sessions_are_bounded_and_one_holder_does_not_push_out_others() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let other = Holder::Key(KeyId::next(None, jiff::Timestamp::UNIX_EPOCH));
        let kept = sessions.begin(other, now).unwrap();
        let first = sessions.begin(Holder::Operator, now).unwrap();
        for second in 1..=40 {
            sessions.begin(Holder::Operator, now + Duration::from_secs(second)).unwrap();
        }
        assert!(sessions.find(&first, now).is_none());
        assert!(sessions.find(&kept, now).is_some());
        assert_eq!(sessions.with(|all| all.len()), MOST_OF_ONE + 1);
        assert_eq!(sessions.end_all(now + IDLE), MOST_OF_ONE as u64, "one had ended of itself");
        assert!(sessions.find(&kept, now).is_none());
    }

    #[test]
    fn word_is_left_once() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let secret = sessions.begin(Holder::Operator, now).unwrap();
        let id = sessions.find(&secret, now).unwrap().id;
        sessions.leave_notice(&id, "done".to_owned());
        assert_eq!(sessions.take_notice(&id).as_deref(), Some("done"));
        assert_eq!(sessions.take_notice(&id), None);
        sessions.end(&id);
        assert!(sessions.find(&secret, now).is_none());
    }
}
