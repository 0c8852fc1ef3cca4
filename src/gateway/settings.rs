//! The configuration as the request path uses it, and how it gives way to another.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;

use super::credential::Ways;
use super::route::Routes;
use super::session::Seal;
use super::upstream::stock::Stock;
use super::upstream::trust::NoTrust;
use crate::board::Board;
use crate::config::{Config, GithubKeys, Limits};
use crate::index::Index;

/// One reading of the configuration.
#[derive(Debug)]
pub struct Settings {
    pub routes: Routes,
    pub ways: Ways,
    pub limits: Limits,
    pub trusted_proxies: Vec<IpNet>,
    /// What browser sessions are sealed with. `None`: there are none.
    pub seal: Option<Arc<Seal>>,
    /// Whether reports of leaked credentials are taken.
    pub takes_reports: bool,
}

/// The settings in force. Whoever reads them waits for nobody.
#[derive(Debug)]
pub struct InForce {
    settings: ArcSwap<Settings>,
    /// Held by whoever changes anything: a release must not be put into settings that are just being replaced.
    changing: Mutex<()>,
}

impl Settings {
    /// Upstreams that `previous` has as well are taken over from it.
    ///
    /// # Errors
    /// When an upstream is https and there is nothing that it could be judged by.
    pub fn new(
        config: &Config,
        index: &Index,
        board: &Board,
        previous: Option<&Self>,
    ) -> Result<Self, NoTrust> {
        let in_use = previous.map_or_else(Vec::new, |previous| previous.routes.targets());
        let mut stock = Stock::new(&board.upstreams, in_use);
        Ok(Self {
            routes: Routes::new(&config.apps, index, board, &mut stock)?,
            ways: Ways {
                header: config.tokens.header.clone(),
                query_parameter: config.tokens.query_parameter.clone(),
            },
            limits: config.gateway.limits.clone(),
            trusted_proxies: config.gateway.trusted_proxies.clone(),
            seal: previous.and_then(|previous| previous.seal.clone()),
            takes_reports: config.leaks.github_keys != GithubKeys::Off,
        })
    }
}

impl InForce {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: ArcSwap::from_pointee(settings), changing: Mutex::default() }
    }

    /// For a short while.
    pub fn load(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    #[must_use]
    pub fn load_full(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Puts other settings in force, with the upstreams of whatever was released since they were made.
    pub fn replace(&self, settings: Settings, board: &Board) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut in_use = self.settings.load().routes.targets();
        in_use.extend(settings.routes.targets());
        settings.routes.renew(&mut Stock::new(&board.upstreams, in_use));
        self.settings.store(Arc::new(settings));
    }

    /// Puts the upstreams of new releases in force. May read files.
    pub fn renew(&self, board: &Board) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = self.settings.load();
        settings.routes.renew(&mut Stock::new(&board.upstreams, settings.routes.targets()));
    }
}
