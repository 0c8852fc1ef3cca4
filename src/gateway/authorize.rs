//! The fifth stage: whether this token opens this app's environment. Only here can a [`Permit`] be made.

use std::sync::Arc;

use super::authenticate::Authenticated;
use super::credential::Carrier;
use super::reject::{self, Reject};
use super::route::Route;
use crate::config::ExternalAccess;
use crate::index::Identity;
use crate::model::Refusal;

/// Proof that a request may be forwarded, and where to.
#[derive(Clone, Debug)]
pub struct Permit {
    route: Arc<Route>,
    identity: Identity,
    carrier: Carrier,
}

impl Permit {
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    #[must_use]
    pub fn carrier(&self) -> Carrier {
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
    Ok(Permit { route: route.clone(), identity, carrier })
}
