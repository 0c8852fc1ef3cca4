//! The fifth stage: whether this request may pass to this environment. Only here can a [`Permit`] be made.

use std::sync::Arc;

use http::{Method, header};

use super::authenticate::Authenticated;
use super::credential::{Carrier, Presented};
use super::reject::{self, Reject};
use super::request::Request;
use super::route::Route;
use crate::config::ExternalAccess;
use crate::index::Identity;
use crate::model::{PlainPath, Refusal};

/// Proof that a request may be forwarded, and where to.
#[derive(Clone, Debug)]
pub struct Permit {
    route: Arc<Route>,
    holder: Option<Identity>,
    carrier: Option<Carrier>,
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

    /// Where a token was, needed or not.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        self.carrier
    }
}

/// Compares what the token is bound to with what is asked for.
///
/// # Errors
/// When the token is another app's or environment's, or the environment lets no token in.
pub fn authorize(authenticated: Authenticated, route: &Arc<Route>) -> Result<Permit, Reject> {
    let Authenticated { identity, carrier } = authenticated;
    let refuse = |refusal, detail| Err(Reject::new(refusal, detail).of(identity.id));
    if identity.app.is_some_and(|app| app != route.state.app) {
        return refuse(Refusal::WrongApp, "this token opens another app");
    }
    if identity.environment != route.state.name {
        return refuse(Refusal::WrongEnvironment, "this token opens another environment of the app");
    }
    let open = match route.external_access {
        ExternalAccess::On => true,
        ExternalAccess::Off => false,
        ExternalAccess::OnFirstToken => route.state.opened(),
    };
    if !open {
        return Err(reject::ended(Refusal::ExternalAccessOff).of(identity.id));
    }
    Ok(Permit { route: route.clone(), holder: Some(identity), carrier: Some(carrier) })
}

/// A permit for what the configuration opens to everyone: public paths, and CORS preflights where they are let through.
/// A token that came along is ignored.
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
        Presented::Nothing { .. } => None,
    };
    Some(Permit { route: route.clone(), holder: None, carrier })
}
