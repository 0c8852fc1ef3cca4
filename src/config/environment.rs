//! `[apps.….environments.…]`: the hosts that an environment claims, and where its requests go.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::uri::PathAndQuery;
use rustls_pki_types::CertificateDer;

use super::report::Place;
use super::section::Section;
use super::value::{Given, boolean, number, path, positive_duration, word};
use super::{
    Admin, EchoGuard, Environment, ExternalAccess, Gateway, HealthCheck, HostHeader, Timeouts,
    request_headers,
};
use crate::model::{EnvironmentName, HostPattern, OnPublish, PathPattern, Upstream};
use crate::tls::read_authorities;

/// Every host claimed so far, by which environment and where.
pub(super) type Claims = HashMap<HostPattern, (String, Place)>;

/// `None` where hosts or upstreams are missing, which is then reported.
pub(super) fn read(
    name: EnvironmentName,
    section: &mut Section<'_>,
    (gateway, admin): (&Gateway, &Admin),
    claims: &mut Claims,
) -> Option<Environment> {
    let hosts = hosts(section, claims);
    let upstreams = upstreams(section, &gateway.listen, admin);
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
    let connections = connections(section, gateway.workers);
    let health_check = section.given_table("health_check", health_check);
    let upstream_ca = upstream_ca(section, upstreams.as_deref().unwrap_or_default());
    let request_headers = request_headers::read(section, preflight || !public_paths.is_empty());
    let guard = word(&[("headers", EchoGuard::Headers), ("body", EchoGuard::Body), ("off", EchoGuard::Off)]);
    let echo_guard = section.or("echo_guard", EchoGuard::Headers, guard);
    let browser_sessions = section.or("browser_sessions", true, boolean);
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
        connections,
        health_check,
        upstream_ca,
        request_headers,
        echo_guard,
        browser_sessions,
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

fn upstreams(section: &mut Section<'_>, listen: &[SocketAddr], admin: &Admin) -> Option<Vec<Upstream>> {
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
        if admin.is_at(&item.value) {
            let doubt = "leads to the admin side: whoever has a token is let in there";
            section.warning(&item.place, "upstreams", doubt);
        }
    }
    Some(list.items.into_iter().map(|item| item.value).collect())
}

fn upstream(given: &Given<'_>) -> Result<Upstream, String> {
    let text = given.text("a URL, as in \"http://127.0.0.1:3000\"")?;
    Upstream::parse(text).map_err(|wrong| format!("cannot be used: {wrong}"))
}

/// Where an upstream is, as far as can be told without asking a name server.
pub(super) fn address(upstream: &Upstream) -> Option<SocketAddr> {
    let (host, port) = upstream.host_and_port()?;
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether the upstream is, as far as can be told, one of our own listeners.
pub(super) fn leads_to(upstream: &Upstream, listen: SocketAddr) -> bool {
    address(upstream).is_some_and(|address| {
        address.port() == listen.port()
            && (address.ip() == listen.ip() || listen.ip().is_unspecified() && address.ip().is_loopback())
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

fn connections(section: &mut Section<'_>, workers: usize) -> u32 {
    let Some(read) = section.read("connections", number(0..=1_000_000)) else { return 0 };
    if read.value > 0 && (read.value as usize) < workers {
        let doubt = format!(
            "lets fewer connections be open than there are workers ({workers}): they take them from each other"
        );
        section.warning(&read.place, "connections", &doubt);
    }
    read.value
}

/// `None` where the path is missing, which is then reported.
fn health_check(section: &mut Section<'_>) -> Option<HealthCheck> {
    const WHAT: &str = "a path, as in \"/healthz\"";
    let path = section.read("path", health_path);
    if path.is_none() {
        section.missing("path", WHAT);
    }
    let given_interval = section.read("interval", positive_duration);
    let given_timeout = section.read("timeout", positive_duration);
    let interval = given_interval.as_ref().map_or(Duration::from_secs(5), |given| given.value);
    let timeout = given_timeout.as_ref().map_or(Duration::from_secs(2), |given| given.value);
    let place = given_timeout.as_ref().or(given_interval.as_ref()).map(|given| given.place.clone());
    if let Some(place) = place.filter(|_| timeout >= interval) {
        let doubt = "is no shorter than `interval`: a check that hangs delays the next";
        section.warning(&place, "timeout", doubt);
    }
    Some(HealthCheck {
        interval,
        timeout,
        unhealthy_after: section.or("unhealthy_after", 3, number(1..=1_000)),
        healthy_after: section.or("healthy_after", 2, number(1..=1_000)),
        path: path?.value,
    })
}

fn health_path(given: &Given<'_>) -> Result<PathAndQuery, String> {
    const WHAT: &str = "a path, as in \"/healthz\"";
    let text = given.text(WHAT)?;
    let path = text.parse().ok().filter(|_| text.starts_with('/') && !text.contains('#'));
    path.ok_or_else(|| format!("wants {WHAT}"))
}

fn upstream_ca(section: &mut Section<'_>, upstreams: &[Upstream]) -> Option<Vec<CertificateDer<'static>>> {
    let given = section.read("upstream_ca", path)?;
    if !upstreams.is_empty() && !upstreams.iter().any(Upstream::is_https) {
        section.warning(
            &given.place,
            "upstream_ca",
            "has no effect until a release brings one: no upstream here is https",
        );
    }
    if !section.looks_into_files() {
        return None;
    }
    match read_authorities(&section.resolve(&given.value)) {
        Ok(certificates) => Some(certificates),
        Err(wrong) => {
            section.mistake(&given.place, "upstream_ca", &wrong);
            None
        }
    }
}
