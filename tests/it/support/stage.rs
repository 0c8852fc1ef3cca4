//! What most topics begin with.

use super::app::App;
use super::gateway::{Gateway, Setup};

/// A gateway before an echoing app, and a token for its production environment.
pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) gateway: Gateway,
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|setup| setup)
    }

    /// The same with a configuration that differs.
    pub(crate) fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let app = App::echo();
        let gateway = change(Setup::new(&app)).start();
        let minted = gateway.mint("production");
        Self { app, gateway, id: minted.id, token: minted.secret }
    }
}
