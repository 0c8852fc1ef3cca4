//! `[apps.….environments.…]`: the hosts that an environment claims, and where its requests go.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::report::Place;
use super::section::Section;
use super::value::{Given, boolean, number, path, positive_duration, text, word};
use super::{Environment, ExternalAccess, HostHeader, Timeouts};
use crate::model::{EnvironmentName, HostPattern, OnPublish, PathPattern, Upstream};

/// Every host claimed so far, by which environment and where.
pub(super) type Claims = HashMap<HostPattern, (String, Place)>;

/// `None` where hosts or upstreams are missing, which is then reported.
pub(super) fn read(
    name: EnvironmentName,
    section: &mut Section<'_>,
    listen: &[SocketAddr],
    claims: &mut Claims,
) -> Option<Environment> {
    let hosts = hosts(section, claims);
    let upstreams = upstreams(section, listen);
    let usual = if name.as_str() == "production" { OnPublish::Stop } else { OnPublish::Keep };
    let on_publish = section.or("on_publish", usual, on_publish);
    let access = word(&[
        ("on-first-token", ExternalAccess::OnFirstToken),
        ("on", ExternalAccess::On),
        ("off", ExternalAccess::Off),
    ]);
    let external_access = section.or("external_access", ExternalAccess::OnFirstToken, access);
    let header = word(&[("preserve", HostHeader::Preserve), ("upstream", HostHeader::Upstream)]);
    let host_header = section.or("host_header", HostHeader::Preserve, header);
    let timeouts = section.table("timeouts", timeouts);
    let public_paths = public_paths(section);
    let preflight = section.or("preflight", false, boolean);
    not_yet(section);
    Some(Environment {
        name,
        hosts: hosts?,
        upstreams: upstreams?,
        on_publish,
        external_access,
        host_header,
        timeouts,
        public_paths,
        preflight,
    })
}

fn hosts(section: &mut Section<'_>, claims: &mut Claims) -> Option<Vec<HostPattern>> {
    const WHAT: &str = "a list of host names, as in [\"shop.example.com\"]";
    let Some(list) = section.full_list("hosts", WHAT, host) else {
        section.missing("hosts", WHAT);
        return None;
    };
    for item in &list.items {
        match claims.get(&item.value) {
            Some((claimant, place)) if claimant == section.path() => {
                let wrong = format!("names {} twice, first on {}", item.value, section.locate(place));
                section.mistake(&item.place, "hosts", &wrong);
            }
            Some((claimant, place)) => {
                let at = section.locate(place);
                let wrong =
                    format!("claims {}, which `{claimant}` claims on {at}: a host has one owner", item.value);
                section.mistake(&item.place, "hosts", &wrong);
            }
            None => {
                claims.insert(item.value.clone(), (section.path().to_owned(), item.place.clone()));
            }
        }
    }
    Some(list.items.into_iter().map(|item| item.value).collect())
}

fn host(given: &Given<'_>) -> Result<HostPattern, String> {
    const WHAT: &str =
        "a host name without scheme, port and path, as in \"shop.example.com\" or \"*.shop.example.com\"";
    HostPattern::parse(given.text(WHAT)?).ok_or_else(|| format!("wants {WHAT}"))
}

fn upstreams(section: &mut Section<'_>, listen: &[SocketAddr]) -> Option<Vec<Upstream>> {
    const WHAT: &str = "a list of URLs, as in [\"http://127.0.0.1:3000\"]";
    let Some(list) = section.full_list("upstreams", WHAT, upstream) else {
        section.missing("upstreams", WHAT);
        return None;
    };
    let mut seen = HashSet::new();
    for item in &list.items {
        if !seen.insert(&item.value) {
            section.warning(&item.place, "upstreams", &format!("names {} twice", item.value));
        }
        if listen.iter().any(|listen| leads_to(&item.value, *listen)) {
            let doubt = format!(
                "leads back to the gateway itself: {} is in `gateway.listen`",
                item.value.authority()
            );
            section.warning(&item.place, "upstreams", &doubt);
        }
    }
    Some(list.items.into_iter().map(|item| item.value).collect())
}

fn upstream(given: &Given<'_>) -> Result<Upstream, String> {
    let text = given.text("a URL, as in \"http://127.0.0.1:3000\"")?;
    Upstream::parse(text).map_err(|wrong| format!("cannot be used: {wrong}"))
}

/// Whether the upstream is, as far as can be told without asking a name server, one of our own listeners.
fn leads_to(upstream: &Upstream, listen: SocketAddr) -> bool {
    let Some((host, port)) = upstream.host_and_port() else { return false };
    let address = match host {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse::<IpAddr>().ok(),
    };
    address.is_some_and(|address| {
        port == listen.port()
            && (address == listen.ip() || listen.ip().is_unspecified() && address.is_loopback())
    })
}

fn public_paths(section: &mut Section<'_>) -> Vec<PathPattern> {
    const WHAT: &str = "a list of paths, as in [\"/healthz\", \"/assets/*\"]";
    let Some(list) = section.list("public_paths", WHAT, public_path) else { return Vec::new() };
    for item in list.items.iter().filter(|item| item.value.is_everything()) {
        section.warning(
            &item.place,
            "public_paths",
            "lets everyone in: no path of this environment needs a token",
        );
    }
    list.items.into_iter().map(|item| item.value).collect()
}

fn public_path(given: &Given<'_>) -> Result<PathPattern, String> {
    let text = given.text("a path, as in \"/healthz\" or \"/assets/*\"")?;
    PathPattern::parse(text).map_err(|wrong| format!("cannot be used: {wrong}"))
}

fn on_publish(given: &Given<'_>) -> Result<OnPublish, String> {
    const WHAT: &str = "\"stop\", \"keep\", or as in \"grace:24h\"";
    OnPublish::parse(given.text(WHAT)?).ok_or_else(|| format!("wants {WHAT}"))
}

fn timeouts(section: &mut Section<'_>) -> Timeouts {
    Timeouts {
        connect: section.or("connect", Duration::from_secs(5), positive_duration),
        response_header: section.or("response_header", Duration::from_secs(60), positive_duration),
        idle: section.or("idle", Duration::from_secs(300), positive_duration),
    }
}

/// The keys of features that this version lacks.
fn not_yet(section: &mut Section<'_>) {
    section.not_yet("connections", number(0..=u32::MAX), |most| *most == 0);
    section.table_not_yet(
        "health_check",
        &[
            ("path", |given| path(given).map(drop)),
            ("interval", |given| positive_duration(given).map(drop)),
            ("timeout", |given| positive_duration(given).map(drop)),
            ("unhealthy_after", |given| number(1..=u32::MAX)(given).map(drop)),
            ("healthy_after", |given| number(1..=u32::MAX)(given).map(drop)),
        ],
    );
    section.not_yet("upstream_ca", path, |_| false);
    section.not_yet("request_headers", headers, |headers| *headers == 0);
    section.not_yet("upstream_auth", text, |_| false);
    section.not_yet("echo_guard", word(&[("headers", true), ("off", true), ("body", false)]), |known| *known);
    section.or("browser_sessions", true, boolean);
}

/// How many header fields a table sets.
fn headers(given: &Given<'_>) -> Result<usize, String> {
    given.entries("a table of header fields, as in { \"X-Name\" = \"value\" }")
}
