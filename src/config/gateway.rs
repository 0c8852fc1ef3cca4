//! `[gateway]`: where requests come in, and their limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::report::Placed;
use super::section::Section;
use super::value::{address, bytes, duration, network, number, path, positive_duration};
use super::{AccessLog, Gateway, Limits, Tls, certificate, environment};
use crate::model::Upstream;
use crate::tls::Pair;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Gateway {
    /// Whether an upstream is the gateway itself, as far as can be told without asking a name server.
    #[must_use]
    pub fn is_at(&self, upstream: &Upstream) -> bool {
        let mut all = self.listen.iter().chain(self.tls.iter().map(|entry| &entry.listen));
        all.any(|listen| environment::leads_to(upstream, *listen))
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Gateway {
    let tls = section.tables("tls", tls);
    let listen = listen(section, &tls);
    Gateway {
        listen,
        workers: match section.or("workers", 0, number(0..=1024)) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        trusted_proxies: trusted_proxies(section),
        drain_delay: section.or("drain_delay", Duration::ZERO, duration),
        drain_timeout: section.or("drain_timeout", Duration::from_secs(30), duration),
        limits: section.table("limits", limits),
        access_log: section.table("access_log", access_log),
        tls: tls
            .into_iter()
            .filter_map(|entry| Some(Tls { listen: entry.listen?.value, pair: entry.pair? }))
            .collect(),
    }
}

/// Whether only one of two listeners can be had. Port 0 is a free port, another one each time; whether `[::]` takes
/// IPv4 too is up to the system.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || same_family && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() != 0 && a.port() == b.port() && overlap
}

/// An entry of `[[gateway.tls]]` as far as it can be read.
struct Entry {
    listen: Option<Placed<SocketAddr>>,
    pair: Option<Pair>,
}

fn tls(section: &mut Section<'_>) -> Entry {
    let listen = section.read("listen", address);
    section.missing("listen", "an IP address and port, as in \"0.0.0.0:8443\"");
    Entry { listen, pair: certificate::pair(section) }
}

/// Where plain HTTP is served. What is wrong between these addresses and those of TLS is reported as well.
fn listen(section: &mut Section<'_>, tls: &[Entry]) -> Vec<SocketAddr> {
    const WHAT: &str = "a list of addresses, as in [\"127.0.0.1:8080\"]";
    // Whoever serves TLS may well serve nothing else.
    let list = if tls.is_empty() {
        section.full_list("listen", WHAT, address)
    } else {
        section.list("listen", WHAT, address)
    };
    let plain = list.map_or_else(
        || vec![Placed { value: DEFAULT_LISTEN, place: section.place().clone() }],
        |list| list.items,
    );
    for (index, item) in plain.iter().enumerate() {
        if let Some(earlier) = plain.iter().take(index).find(|earlier| collide(earlier.value, item.value)) {
            let wrong = if earlier.value == item.value {
                format!("names {} twice", item.value)
            } else {
                format!("names {}, which {} occupies already", item.value, earlier.value)
            };
            section.mistake(&item.place, "listen", &wrong);
        }
        if !item.value.ip().to_canonical().is_loopback() {
            let doubt = format!(
                "serves plain HTTP beyond this machine on {}: tokens can be read on the way",
                item.value
            );
            section.warning(&item.place, "listen", &doubt);
        }
    }
    let encrypted: Vec<_> = tls.iter().filter_map(|entry| entry.listen.as_ref()).collect();
    for (index, item) in encrypted.iter().enumerate() {
        let plain = plain.iter().find(|plain| collide(plain.value, item.value));
        let earlier = encrypted.iter().take(index).copied();
        let other =
            earlier.clone().find(|earlier| earlier.value != item.value && collide(earlier.value, item.value));
        let taken =
            plain.map(|plain| (plain, "gateway.listen")).or(other.map(|other| (other, "gateway.tls")));
        if let Some((taken, key)) = taken {
            let wrong =
                format!("is {}, which {} of `{key}` occupies: take another port", item.value, taken.value);
            section.mistake(&item.place, "tls.listen", &wrong);
        }
    }
    plain.into_iter().map(|item| item.value).collect()
}

fn trusted_proxies(section: &mut Section<'_>) -> Vec<ipnet::IpNet> {
    let list = section.list("trusted_proxies", "a list of networks, as in [\"10.0.0.0/8\"]", network);
    let mut networks = Vec::new();
    for item in list.map_or_else(Vec::new, |list| list.items) {
        if item.value.prefix_len() == 0 {
            let doubt = "believes the X-Forwarded-* of everyone: any client can claim any address";
            section.warning(&item.place, "trusted_proxies", doubt);
        } else if item.value.trunc() != item.value {
            let doubt = format!("names an address within a network: read as {}", item.value.trunc());
            section.warning(&item.place, "trusted_proxies", &doubt);
        }
        networks.push(item.value.trunc());
    }
    networks
}

fn limits(section: &mut Section<'_>) -> Limits {
    Limits {
        connections: section.or("connections", 10_000, number(1..=10_000_000)),
        header_timeout: section.or("header_timeout", Duration::from_secs(10), positive_duration),
        idle_timeout: section.or("idle_timeout", Duration::from_secs(75), positive_duration),
        header_bytes: section.or("header_bytes", 65_536, number(4_096..=1_048_576)),
        headers: section.or("headers", 100, number(1..=1_000)),
        body_bytes: section.or("body_bytes", 0, bytes),
        auth_failures_per_minute: section.or("auth_failures_per_minute", 120, number(0..=u32::MAX)),
    }
}

fn access_log(section: &mut Section<'_>) -> AccessLog {
    match section.read("path", path) {
        None => AccessLog::Stdout,
        Some(read) => match read.value.as_str() {
            "-" => AccessLog::Stdout,
            "off" => AccessLog::Off,
            path => AccessLog::File(section.claim("path", path, Some(read.place))),
        },
    }
}
