//! The fourth stage: whose token it is, and whether it is still alive.

use super::credential::{Carrier, Presented};
use super::reject::{self, Reject};
use crate::index::{Identity, Index};
use crate::model::Refusal;

/// A live token, and how it came.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub identity: Identity,
    pub carrier: Carrier,
}

/// Finds the identity behind what was presented. `now` is in Unix milliseconds.
///
/// # Errors
/// When nothing was presented, when no such token was ever minted, or when it has ended.
pub fn authenticate(index: &Index, presented: Presented, now: i64) -> Result<Authenticated, Reject> {
    let (value, carrier) = match presented {
        Presented::Token { value, carrier } => (value, carrier),
        Presented::Nothing { foreign: false } => {
            return Err(Reject::new(Refusal::TokenMissing, "this app is private: present a token"));
        }
        Presented::Nothing { foreign: true } => {
            let detail = "this app is private, and the Authorization header holds no token of this gateway (they begin with pct_)";
            return Err(Reject::new(Refusal::TokenMissing, detail));
        }
    };
    const UNKNOWN: Reject =
        Reject::new(Refusal::TokenUnknown, "this is not a token that opens anything here");
    let identity = value.and_then(|value| index.get(&value.digest())).ok_or(UNKNOWN)?;
    if identity.revoked {
        return Err(reject::ended(Refusal::TokenRevoked).of(identity.id));
    }
    if identity.expires <= now {
        return Err(reject::ended(Refusal::TokenExpired).of(identity.id));
    }
    Ok(Authenticated { identity, carrier })
}
