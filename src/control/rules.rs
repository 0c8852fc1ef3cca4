//! Scopes, networks and rates as callers write them.

use super::Faults;
use super::fault::{CREDENTIAL, holds_credential};
use crate::model::{NETWORKS, Network, Rate, SCOPES, TokenScope};

pub(super) fn scopes(asked: &[String], faults: &mut Faults) -> Vec<TokenScope> {
    const FIELD: &str = "scopes";
    if asked.len() > SCOPES {
        faults.add(FIELD, format!("must be at most {SCOPES}"));
    }
    if asked.iter().any(|scope| holds_credential(scope)) {
        faults.add(FIELD, CREDENTIAL);
    }
    asked.iter().take(SCOPES).filter_map(|scope| faults.take(FIELD, TokenScope::parse(scope))).collect()
}

pub(super) fn networks(asked: &[String], faults: &mut Faults) -> Vec<Network> {
    const FIELD: &str = "allowed_addresses";
    if asked.len() > NETWORKS {
        faults.add(FIELD, format!("must be at most {NETWORKS}"));
    }
    let parse = |network: &String| {
        let parsed = Network::parse(network).map_err(|e| format!("each must be {e}"));
        faults.take(FIELD, parsed).map(|network| network.trunc())
    };
    asked.iter().take(NETWORKS).filter_map(parse).collect()
}

pub(super) fn rate(asked: Option<&str>, faults: &mut Faults) -> Option<Rate> {
    faults.take("rate_limit", Rate::parse(asked?))
}
