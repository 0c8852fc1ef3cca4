//! The second stage: which environment claims the host.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use http::HeaderValue;

use super::block::Block;
use super::crossing::{APP, ENVIRONMENT};
use super::inject::{Injected, Injections};
use super::reject::Reject;
use super::upstream::stock::Stock;
use super::upstream::trust::NoTrust;
use super::upstream::{Chosen, Target, Upstreams};
use crate::board::{Board, Traffic};
use crate::config::{App, Environment, ExternalAccess, HostHeader, Timeouts};
use crate::index::{EnvironmentState, Index};
use crate::model::{AppName, EnvironmentName, HostPattern, PathPattern, Refusal, Upstream};
use crate::secrets::Vault;

/// One environment of one app, resolved for the request path.
#[derive(Debug)]
pub struct Route {
    pub app: AppName,
    pub environment: EnvironmentName,
    /// What an app is told of both names.
    pub(super) names: Block,
    pub state: Arc<EnvironmentState>,
    pub external_access: ExternalAccess,
    pub host_header: HostHeader,
    pub timeouts: Timeouts,
    pub public_paths: Vec<PathPattern>,
    pub preflight: bool,
    pub browser_sessions: bool,
    pub traffic: Arc<Traffic>,
    /// `None`: requests get nothing from the configuration.
    injections: Option<Injections>,
    /// What upstreams are made from.
    configured: Environment,
    served: ArcSwap<Served>,
}

/// The upstreams that requests go to.
#[derive(Debug)]
struct Served {
    /// Of the environment's state, when they were taken from there.
    generation: u64,
    upstreams: Upstreams,
}

/// Every environment by the hosts that it claims.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<[u8]>, Arc<Route>, RandomState>,
    /// By the part after `*.`.
    wildcard: HashMap<Box<[u8]>, Arc<Route>, RandomState>,
}

impl Routes {
    /// Resolves the configured apps. Two that claim one host were refused when the configuration was read.
    ///
    /// # Errors
    /// When an upstream is https and there is nothing that it could be judged by.
    pub fn new(apps: &[App], index: &Index, board: &Board, stock: &mut Stock<'_>) -> Result<Self, NoTrust> {
        let mut routes = Self::default();
        for app in apps {
            for environment in &app.environments {
                let route = Arc::new(Route::new(app, environment, index, board, stock)?);
                for host in &environment.hosts {
                    let (hosts, host) = match host {
                        HostPattern::Exact(host) => (&mut routes.exact, host),
                        HostPattern::Wildcard(rest) => (&mut routes.wildcard, rest),
                    };
                    hosts.insert(host.as_bytes().into(), route.clone());
                }
            }
        }
        Ok(routes)
    }

    /// Every upstream in use, some more than once.
    #[must_use]
    pub fn targets(&self) -> Vec<Arc<Target>> {
        let routes = self.exact.values().chain(self.wildcard.values());
        routes.flat_map(|route| route.served.load().upstreams.targets().to_vec()).collect()
    }

    /// Takes the upstreams of every release over that has others than before.
    pub(super) fn renew(&self, stock: &mut Stock<'_>) {
        for route in self.exact.values().chain(self.wildcard.values()) {
            route.renew(stock);
        }
    }

    /// The environment that claims `host`, which is in lower case and without a port.
    ///
    /// # Errors
    /// When none does.
    pub fn route(&self, host: &[u8]) -> Result<&Arc<Route>, Reject> {
        const UNKNOWN: Reject = Reject::new(Refusal::UnknownHost, "no app here answers to this host");
        let wildcard = || {
            let dot = memchr::memchr(b'.', host).filter(|dot| *dot > 0)?;
            self.wildcard.get(&host[dot + 1..])
        };
        self.exact.get(host).or_else(wildcard).ok_or(UNKNOWN)
    }
}

impl Route {
    /// The upstream to try next, if there is one.
    pub(super) fn choose(&self, tried: &[Chosen]) -> Option<Chosen> {
        self.served.load().upstreams.choose(tried)
    }

    /// Whether there is another upstream to try, which does well, or `desperate` may do so again, and is none that `takes_nothing`.
    pub(super) fn has_others(
        &self,
        tried: &[Chosen],
        chosen: &Chosen,
        desperate: bool,
        takes_nothing: impl Fn(&Arc<Target>) -> bool,
    ) -> bool {
        self.served.load().upstreams.others(tried, chosen, desperate).any(|target| !takes_nothing(target))
    }

    /// Notes that an upstream gave a request no answer.
    pub(super) fn failed(&self, target: &Arc<Target>, on_trial: bool, why: &str) {
        self.served.load().upstreams.failed(target, on_trial, why);
    }

    fn new(
        app: &App,
        environment: &Environment,
        index: &Index,
        board: &Board,
        stock: &mut Stock<'_>,
    ) -> Result<Self, NoTrust> {
        // Names are ASCII letters, digits, `-` and `_`: they are header values as they stand.
        let value = |name: &str| HeaderValue::from_str(name).unwrap_or_else(|_| HeaderValue::from_static(""));
        let state = index.environment(&app.name, &environment.name);
        let served = Served::new(&app.name, environment, &state, stock)?;
        Ok(Self {
            app: app.name.clone(),
            environment: environment.name.clone(),
            names: Block::new([
                (APP, value(app.name.as_str())),
                (ENVIRONMENT, value(environment.name.as_str())),
            ]),
            state,
            external_access: environment.external_access,
            host_header: environment.host_header,
            timeouts: environment.timeouts,
            public_paths: environment.public_paths.clone(),
            preflight: environment.preflight,
            browser_sessions: environment.browser_sessions,
            traffic: board.traffic(&app.name, &environment.name),
            injections: Injections::new(app, environment),
            configured: environment.clone(),
            served: ArcSwap::from_pointee(served),
        })
    }

    /// What a request gets from the configuration at `now`, in Unix milliseconds.
    ///
    /// # Errors
    /// When a secret that it needs cannot be used.
    pub(super) fn injected(&self, vault: &Vault, now: i64) -> Result<Option<Arc<Injected>>, Reject> {
        self.injections.as_ref().map(|injections| injections.get(vault, now)).transpose()
    }

    /// Whether the environment lets tokens in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.external_access {
            ExternalAccess::On => true,
            ExternalAccess::Off => false,
            ExternalAccess::OnFirstToken => self.state.is_open(),
        }
    }

    /// Takes the upstreams of the current release over, if they are others than before.
    fn renew(&self, stock: &mut Stock<'_>) {
        let generation = self.state.generation();
        if self.served.load().generation == generation {
            return;
        }
        let released = self.state.upstreams();
        let addresses = released.as_deref().unwrap_or(&self.configured.upstreams);
        let upstreams = Served::released(&self.app, &self.configured, addresses, stock);
        self.served.store(Arc::new(Served { generation, upstreams }));
    }
}

impl Served {
    /// As the store and the configuration have it.
    fn new(
        app: &AppName,
        environment: &Environment,
        state: &EnvironmentState,
        stock: &mut Stock<'_>,
    ) -> Result<Self, NoTrust> {
        let generation = state.generation();
        // Judged even where a release has others in their place: these are next once it has none.
        let listed = stock.upstreams(app, environment, &environment.upstreams)?;
        let upstreams = match state.upstreams() {
            Some(released) => Self::released(app, environment, &released, stock),
            None => listed,
        };
        Ok(Self { generation, upstreams })
    }

    /// None where they cannot be made: no release goes on under the name of the next.
    fn released(
        app: &AppName,
        environment: &Environment,
        addresses: &[Upstream],
        stock: &mut Stock<'_>,
    ) -> Upstreams {
        stock.upstreams(app, environment, addresses).unwrap_or_else(|error| {
            tracing::error!("the release of {app} in {} cannot be served: {error}", environment.name);
            Upstreams::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Routes of environments that claim one of `hosts` each; an environment's name is its place in the list.
    fn routes(hosts: &[String]) -> Routes {
        let mut text = String::new();
        for (place, host) in hosts.iter().enumerate() {
            text += &format!(
                "[apps.a.environments.e{place}]\nhosts = [\"{host}\"]\nupstreams = [\"http://127.0.0.1:1\"]\n"
            );
        }
        let loaded = crate::config::parse(&text, Path::new("proxy.toml"), Path::new("."), []).unwrap();
        let (board, _) = Board::new(0);
        let mut stock = Stock::new(&board.upstreams, []);
        Routes::new(&loaded.config.apps, &Index::new().0, &board, &mut stock).unwrap()
    }

    fn environment(routes: &Routes, host: &str) -> Option<String> {
        routes.route(host.as_bytes()).ok().map(|route| route.environment.to_string())
    }

    #[test]
    fn the_most_specific_claim_wins_and_a_star_is_one_label() {
        let routes = routes(&["shop.test", "*.shop.test", "a.shop.test", "*.a.shop.test"].map(str::to_owned));
        for (host, expected) in [
            ("shop.test", Some("e0")),
            ("b.shop.test", Some("e1")),
            ("a.shop.test", Some("e2")),
            ("b.a.shop.test", Some("e3")),
            ("c.b.shop.test", None),
            (".shop.test", None),
            ("test", None),
            ("*.shop.test", Some("e1")),
            ("xshop.test", None),
            ("", None),
        ] {
            assert_eq!(environment(&routes, host).as_deref(), expected, "{host}");
        }
    }

    fn label() -> impl Strategy<Value = String> {
        prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("shop".to_owned())]
    }

    fn name() -> impl Strategy<Value = String> {
        proptest::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."))
    }

    proptest! {
        /// The reference: an equal claim, else one that is equal once the first label is a star.
        #[test]
        fn hosts_match_as_claimed(
            claims in proptest::collection::hash_set((any::<bool>(), name()), 1..6),
            host in name(),
        ) {
            let claims: Vec<String> =
                claims.into_iter().map(|(star, name)| if star { format!("*.{name}") } else { name }).collect();
            let starred = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            let claimed = |host: &str| claims.iter().position(|claim| claim == host);
            let expected = claimed(&host).or_else(|| claimed(&starred?));
            let found = environment(&routes(&claims), &host);
            prop_assert_eq!(found, expected.map(|place| format!("e{place}")));
        }

        #[test]
        fn no_host_causes_a_panic(host: String) {
            let _ = environment(&routes(&["*.shop.test".to_owned()]), &host);
        }
    }
}
