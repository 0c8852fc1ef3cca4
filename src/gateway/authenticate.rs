//! The fourth stage: whose token it is, and whether it is still alive.

use super::credential::{Absence, Carrier, Presented};
use super::reject::{self, Reject};
use crate::credential::Digest;
use crate::index::{EnvironmentState, Identity, Index, NEVER};
use crate::model::{Mortal, OnPublish, Refusal};

/// A live token, and how it came.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub identity: Identity,
    pub digest: Digest,
    pub carrier: Carrier,
    pub until: Until,
    /// When the browser session is over that it came in; [`NEVER`] where it came in no session.
    pub session_ends: i64,
}

/// When a token ends by itself, as far as is known now, and what its holder is told then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// Unix milliseconds.
    pub at: i64,
    pub refusal: Refusal,
}

/// Finds the identity behind what was presented; `near` is the environment that is asked for, which is mostly the
/// token's own. `now` is in Unix milliseconds.
///
/// # Errors
/// When nothing was presented, when no such token was ever minted, or when it has ended.
#[inline]
pub fn authenticate(
    index: &Index,
    presented: &Presented,
    near: &EnvironmentState,
    now: i64,
) -> Result<Authenticated, Reject> {
    const UNKNOWN: Reject =
        Reject::new(Refusal::TokenUnknown, "this is not a token that opens anything here");
    let (digest, carrier, session_ends) = match *presented {
        Presented::Token { digest: Some(digest), carrier } => (digest, carrier, NEVER),
        Presented::Token { digest: None, .. } => return Err(UNKNOWN),
        Presented::Session { digest, ends } => (digest, Carrier::Cookie, ends),
        Presented::Nothing(absence) => {
            let signed_in = absence == Absence::Elsewhere;
            return Err(Reject { signed_in, ..Reject::new(Refusal::TokenMissing, missing(absence)) });
        }
    };
    let Some(identity) = index.get(&digest) else { return Err(UNKNOWN) };
    match judge(index, &identity, near, now) {
        Ok(until) => {
            let until = until.within_session(session_ends);
            Ok(Authenticated { identity, digest, carrier, until, session_ends })
        }
        Err(refusal) => Err(reject::ended(refusal).of(identity.id)),
    }
}

impl Until {
    /// The same for what was let in by a session that is over at `ends`.
    #[must_use]
    pub fn within_session(self, ends: i64) -> Self {
        if ends < self.at { Self { at: ends, refusal: Refusal::TokenMissing } } else { self }
    }
}

const fn missing(absence: Absence) -> &'static str {
    match absence {
        Absence::Plain => "this app is private: present a token",
        Absence::Foreign => {
            "this app is private, and the Authorization header holds no token of this gateway (they begin with pct_)"
        }
        Absence::SessionOver => {
            "this app is private, and the browser session is over: present the token again"
        }
        Absence::Elsewhere => {
            "this app is private, and a browser session does not count for what the page of another origin asks for, \
             or one that keeps its origin to itself (Referrer-Policy: no-referrer)"
        }
    }
}

/// Whether a token lives, and until when. What has ended by itself is remembered as that.
///
/// # Errors
/// When it has ended: how.
pub fn judge(
    index: &Index,
    identity: &Identity,
    near: &EnvironmentState,
    now: i64,
) -> Result<Until, Refusal> {
    if identity.revoked {
        return Err(Refusal::TokenRevoked);
    }
    let of = Mortal::Token(identity.id);
    let now = index.hindsight().judged_at(of, now);
    let expiry = Until { at: identity.expires, refusal: Refusal::TokenExpired };
    let until = match replacement(index, identity, near) {
        Some(at) if at <= now => {
            index.hindsight().saw(of, at, now);
            return Err(Refusal::DeploymentReplaced);
        }
        Some(at) if at < expiry.at => Until { at, refusal: Refusal::DeploymentReplaced },
        _ => expiry,
    };
    if expiry.at <= now {
        index.hindsight().saw(of, expiry.at, now);
        return Err(expiry.refusal);
    }
    Ok(until)
}

/// When a token ends with its deployment, if that was replaced.
fn replacement(index: &Index, identity: &Identity, near: &EnvironmentState) -> Option<i64> {
    let end = |state: &EnvironmentState| state.end_of(identity.minted_under, identity.on_publish);
    match identity.app {
        // What opens every app is pinned to no app's deployment.
        None => None,
        Some(_) if identity.on_publish == OnPublish::Keep => None,
        Some(app) if app == near.app && identity.environment == near.name => end(near),
        Some(app) => end(&*index.known_environment(app, identity.environment)?),
    }
}
