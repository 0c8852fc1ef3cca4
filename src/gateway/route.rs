//! The second stage: which environment claims the host.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::HeaderValue;

use super::reject::Reject;
use super::upstream::Upstreams;
use crate::config::{App, Environment, ExternalAccess, HostHeader, Timeouts};
use crate::index::{EnvironmentState, Index};
use crate::model::{AppName, EnvironmentName, HostPattern, PathPattern, Refusal};

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
            upstreams: Upstreams::new(&environment.upstreams),
        }
    }
}
