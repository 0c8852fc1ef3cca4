//! The fifth stage: whether this request may pass to this environment. Only here can a [`Permit`] be made.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, header};

use super::authenticate::{self, Authenticated, Until};
use super::credential::{Carrier, Presented};
use super::inject::Injected;
use super::reject::{self, Reject};
use super::request::{Host, Request};
use super::route::{Route, Routes};
use crate::credential::Digest;
use crate::index::{Identity, Index};
use crate::model::{NameRef, PlainPath, Refusal, TokenId};
use crate::secrets::Vault;

/// Proof that a request may be forwarded, and where to.
#[derive(Clone, Debug)]
pub struct Permit {
    route: Arc<Route>,
    holder: Option<Identity>,
    pass: Option<Pass>,
    carrier: Option<Carrier>,
}

/// What let a request in, small enough to be kept for as long as it runs, so that it can be judged anew.
#[derive(Clone, Debug)]
pub struct Pass {
    host: Host,
    digest: Digest,
    session_ends: i64,
    pub token: TokenId,
    /// The app and the name of the environment that was asked for.
    pub environment: (NameRef, NameRef),
    pub until: Until,
}

impl Permit {
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whose token let the request in; `None` where none was needed.
    #[must_use]
    pub fn holder(&self) -> Option<&Identity> {
        self.holder.as_ref()
    }

    /// What the token is looked up by; `None` where no token was needed.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.pass.as_ref().map(|pass| pass.digest)
    }

    /// What the request gets from the configuration at `now`, in Unix milliseconds.
    ///
    /// # Errors
    /// When a secret that it needs cannot be used.
    pub(super) fn injected(&self, vault: &Vault, now: i64) -> Result<Option<Arc<Injected>>, Reject> {
        let token = self.holder.as_ref().map(|holder| holder.id);
        self.route.injected(vault, now).map_err(|reject| Reject { token, ..reject })
    }

    /// Takes out what has to hold for as long as the request runs; `None` where no token was needed.
    pub(super) fn take_pass(&mut self) -> Option<Pass> {
        self.pass.take()
    }

    /// Where a token was, needed or not.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        self.carrier
    }
}

/// Compares what the token is bound to with what is asked for. Counts toward the token's rate what passes all else;
/// `now` is in milliseconds of a clock that cannot be set.
///
/// # Errors
/// When the token is another app's or environment's, the environment lets no token in, or the token's rules are not
/// met.
#[inline]
pub fn authorize(
    authenticated: Authenticated,
    request: &Request,
    client: IpAddr,
    route: &Arc<Route>,
    now: i64,
) -> Result<Permit, Reject> {
    let Authenticated { identity, digest, carrier, until, session_ends } = authenticated;
    let refuse = |refusal, detail| Err(Reject::new(refusal, detail).of(identity.id));
    admit(&identity, client, route)?;
    if let Some(restrictions) = &identity.restrictions {
        let rules = &restrictions.rules;
        if !rules.allow_to(&request.method, request.path()) {
            return refuse(
                Refusal::InsufficientScope,
                "this token's scopes do not cover this method and path",
            );
        }
        if let Some(Err(seconds)) = restrictions.limiter.as_ref().map(|limiter| limiter.admit(now)) {
            let detail = "this token is used more often than it may be";
            let reject = Reject::new(Refusal::RateLimited, detail).of(identity.id);
            return Err(Reject { retry_after: Some(seconds), ..reject });
        }
    }
    let environment = (route.state.app, route.state.name);
    let pass =
        Pass { host: request.named_host(), digest, session_ends, token: identity.id, environment, until };
    Ok(Permit { route: route.clone(), holder: Some(identity), pass: Some(pass), carrier: Some(carrier) })
}

/// Whether the holder of a token may come in at all, whatever it is that they ask for then.
///
/// # Errors
/// When the token is another app's or environment's, the environment lets no token in, or not from this address.
pub fn admit(identity: &Identity, client: IpAddr, route: &Route) -> Result<(), Reject> {
    within(identity, route).map_err(|refusal| reject::ended(refusal).of(identity.id))?;
    if identity.restrictions.as_ref().is_none_or(|restrictions| restrictions.rules.allow_from(client)) {
        return Ok(());
    }
    let detail = "this token may not be used from this address";
    Err(Reject::new(Refusal::AddressNotAllowed, detail).of(identity.id))
}

/// Whether a token is for this environment, and that lets tokens in.
fn within(identity: &Identity, route: &Route) -> Result<(), Refusal> {
    if identity.app.is_some_and(|app| app != route.state.app) {
        return Err(Refusal::WrongApp);
    }
    if identity.environment != route.state.name {
        return Err(Refusal::WrongEnvironment);
    }
    if route.is_open() { Ok(()) } else { Err(Refusal::ExternalAccessOff) }
}

/// Whether what let a request in would still let it in, and until when.
///
/// # Errors
/// With what the next such request would be told.
pub fn again(routes: &Routes, index: &Index, pass: &Pass, now: i64) -> Result<Until, Refusal> {
    let route = routes.route(pass.host.as_bytes()).map_err(|reject| reject.refusal)?;
    let identity = index.get(&pass.digest).ok_or(Refusal::TokenUnknown)?;
    let until = authenticate::judge(index, &identity, &route.state, now)?.within_session(pass.session_ends);
    within(&identity, route)?;
    if until.at <= now { Err(until.refusal) } else { Ok(until) }
}

/// A permit for what the configuration opens to everyone: public paths, and CORS preflights where they are let through.
/// A token that came along is ignored.
#[inline]
#[must_use]
pub fn public(request: &Request, presented: &Presented, route: &Arc<Route>) -> Option<Permit> {
    if route.public_paths.is_empty() && !route.preflight {
        return None;
    }
    let preflight = route.preflight
        && request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let listed = || {
        let path = PlainPath::new(request.path())?;
        route.public_paths.iter().any(|pattern| pattern.matches(path)).then_some(())
    };
    if !preflight {
        listed()?;
    }
    let carrier = match presented {
        Presented::Token { carrier, .. } => Some(*carrier),
        Presented::Session { .. } => Some(Carrier::Cookie),
        Presented::Nothing(_) => None,
    };
    Some(Permit { route: route.clone(), holder: None, pass: None, carrier })
}
