//! What narrows a token down: most tokens have none of it.

use std::net::IpAddr;

use http::Method;

use super::{Network, PlainPath, Rate, TokenScope};

/// Scopes of one token, at most.
pub const SCOPES: usize = 50;
/// Networks of one token, at most.
pub const NETWORKS: usize = 100;

/// Scopes, networks and a rate. An empty list allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub scopes: Vec<TokenScope>,
    pub networks: Vec<Network>,
    pub rate: Option<Rate>,
}

impl Rules {
    /// Whether nothing is narrowed down.
    #[must_use]
    pub const fn are_none(&self) -> bool {
        self.scopes.is_empty() && self.networks.is_empty() && self.rate.is_none()
    }

    #[must_use]
    pub fn allow_from(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether one scope allows both. A path that servers may disagree about satisfies none.
    #[must_use]
    pub fn allow_to(&self, method: &Method, path: &str) -> bool {
        let satisfied = |path| self.scopes.iter().any(|scope| scope.allows(method, path));
        self.scopes.is_empty() || PlainPath::new(path).is_some_and(satisfied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_is_no_obstacle_and_a_rule_is() {
        let client = "192.0.2.7".parse().unwrap();
        let mut rules = Rules::default();
        assert!(rules.are_none() && rules.allow_from(client) && rules.allow_to(&Method::GET, "/a//b"));
        rules.scopes = vec![TokenScope::parse("GET /a/*").unwrap(), TokenScope::parse("POST /b").unwrap()];
        assert!(rules.allow_to(&Method::GET, "/a/b") && rules.allow_to(&Method::POST, "/b"));
        assert!(!rules.allow_to(&Method::POST, "/a/b"), "one scope has to allow both");
        assert!(!rules.allow_to(&Method::GET, "/a//b") && !rules.allow_to(&Method::OPTIONS, "*"));
        rules.networks = vec![Network::parse("192.0.2.0/24").unwrap()];
        assert!(rules.allow_from(client) && !rules.allow_from("198.51.100.1".parse().unwrap()));
        assert!(!rules.are_none());
    }
}
