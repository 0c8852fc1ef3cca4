//! `proxy.toml.example` shows every key there is, and the defaults.

use super::super::{Loaded, load};
use super::{APP, accept, mistakes};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

/// The example with every key that is switched off switched on.
pub(super) fn whole_example() -> String {
    let on = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| !c.is_whitespace()) => key,
        _ => line,
    });
    on.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_accepted_and_shows_the_defaults() {
    let Loaded { config, warnings, .. } = accept(EXAMPLE);
    assert!(warnings.is_empty(), "{warnings:?}");
    let default = accept("").config;
    assert_eq!(format!("{:?}", config.gateway), format!("{:?}", default.gateway));
    assert_eq!(format!("{:?}", config.admin), format!("{:?}", default.admin));
    assert_eq!(format!("{:?}", config.store), format!("{:?}", default.store));
    assert_eq!(format!("{:?}", config.tokens), format!("{:?}", default.tokens));
    let mut production = config.apps[0].environments[1].clone();
    let bare = accept(APP).config.apps[0].environments[0].clone();
    (production.hosts, production.upstreams) = (bare.hosts.clone(), bare.upstreams.clone());
    assert_eq!(format!("{production:?}"), format!("{bare:?}"));
}

#[test]
fn the_example_shows_every_key_there_is_and_no_other() {
    let whole = whole_example();
    for mistake in mistakes(&whole) {
        let absent = mistake.contains("names a file that cannot be read");
        assert!(absent || mistake.ends_with("keep one of the two"), "{mistake}");
    }
    let shown: toml::Table = whole.parse().unwrap();
    for key in load::keys(&whole) {
        let shown = shows(&toml::Value::Table(shown.clone()), &key.split('.').collect::<Vec<_>>());
        assert!(shown, "proxy.toml.example lacks {key}");
    }
}

fn shows(value: &toml::Value, path: &[&str]) -> bool {
    match (path, value) {
        ([], _) => true,
        (["*", rest @ ..], toml::Value::Table(table)) => table.values().any(|value| shows(value, rest)),
        (["*", rest @ ..], toml::Value::Array(array)) => array.iter().any(|value| shows(value, rest)),
        ([key, rest @ ..], toml::Value::Table(table)) => {
            table.get(*key).is_some_and(|value| shows(value, rest))
        }
        _ => false,
    }
}
