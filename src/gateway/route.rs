//! The second stage: which environment claims the host.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use http::HeaderValue;

use super::reject::Reject;
use super::upstream::{Chosen, Upstreams};
use crate::config::{App, Environment, ExternalAccess, HostHeader, Timeouts};
use crate::index::{EnvironmentState, Index};
use crate::model::{AppName, EnvironmentName, HostPattern, NameRef, PathPattern, Refusal, Upstream};

/// One environment of one app, resolved for the request path.
#[derive(Debug)]
pub struct Route {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub app_value: HeaderValue,
    pub environment_value: HeaderValue,
    pub state: Arc<EnvironmentState>,
    pub external_access: ExternalAccess,
    pub host_header: HostHeader,
    pub timeouts: Timeouts,
    pub public_paths: Vec<PathPattern>,
    pub preflight: bool,
    /// Those of the configuration.
    listed: Vec<Upstream>,
    pub upstreams: ArcSwap<InForce>,
}

/// The upstreams that requests go to.
#[derive(Debug)]
pub struct InForce {
    /// Of the environment's state, when they were taken from there.
    generation: u64,
    pub upstreams: Upstreams,
}

/// Every environment by the hosts that it claims.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Arc<Route>, RandomState>,
    /// By the part after `*.`.
    wildcard: HashMap<Box<str>, Arc<Route>, RandomState>,
}

impl Routes {
    /// Resolves the configured apps. Two that claim one host were refused when the configuration was read.
    #[must_use]
    pub fn new(apps: &[App], index: &Index) -> Self {
        let mut routes = Self::default();
        for app in apps {
            for environment in &app.environments {
                let route = Arc::new(Route::new(app, environment, index));
                for host in &environment.hosts {
                    let (hosts, host) = match host {
                        HostPattern::Exact(host) => (&mut routes.exact, host),
                        HostPattern::Wildcard(rest) => (&mut routes.wildcard, rest),
                    };
                    hosts.insert(host.clone(), route.clone());
                }
            }
        }
        routes
    }

    /// The route of an environment, wherever it is claimed.
    #[must_use]
    pub fn of(&self, app: NameRef, name: NameRef) -> Option<&Arc<Route>> {
        let mut all = self.exact.values().chain(self.wildcard.values());
        all.find(|route| route.state.app == app && route.state.name == name)
    }

    /// The environment that claims `host`, which is in lower case and without a port.
    ///
    /// # Errors
    /// When none does.
    pub fn route(&self, host: &str) -> Result<&Arc<Route>, Reject> {
        const UNKNOWN: Reject = Reject::new(Refusal::UnknownHost, "no app here answers to this host");
        let wildcard = || {
            let (label, rest) = host.split_once('.')?;
            self.wildcard.get(rest).filter(|_| !label.is_empty())
        };
        self.exact.get(host).or_else(wildcard).ok_or(UNKNOWN)
    }
}

impl Route {
    fn new(app: &App, environment: &Environment, index: &Index) -> Self {
        // Names are ASCII letters, digits, `-` and `_`: they are header values as they stand.
        let value = |name: &str| HeaderValue::from_str(name).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            app: app.name.clone(),
            environment: environment.name.clone(),
            app_value: value(app.name.as_str()),
            environment_value: value(environment.name.as_str()),
            state: index.environment(&app.name, &environment.name),
            external_access: environment.external_access,
            host_header: environment.host_header,
            timeouts: environment.timeouts,
            public_paths: environment.public_paths.clone(),
            preflight: environment.preflight,
            listed: environment.upstreams.clone(),
            upstreams: ArcSwap::from_pointee(InForce {
                generation: 0,
                upstreams: Upstreams::new(&environment.upstreams),
            }),
        }
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

    /// The least busy upstream that was not tried yet, of those that the current release has.
    #[must_use]
    pub fn choose(&self, tried: &[Chosen]) -> Option<Chosen> {
        let generation = self.state.generation();
        let in_force = self.upstreams.load();
        if in_force.generation == generation {
            return in_force.upstreams.choose(tried);
        }
        let released = self.state.upstreams();
        let upstreams = Upstreams::new(released.as_deref().unwrap_or(&self.listed));
        let fresh = Arc::new(InForce { generation, upstreams });
        self.upstreams.store(fresh.clone());
        fresh.upstreams.choose(tried)
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
        Routes::new(&loaded.config.apps, &Index::new().0)
    }

    fn environment(routes: &Routes, host: &str) -> Option<String> {
        routes.route(host).ok().map(|route| route.environment.to_string())
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
