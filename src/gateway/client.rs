//! Who is at the other end of a connection, as far as those before us are believed.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::connection::Connection;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who is at the other end of a connection, as far as that is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub address: IpAddr,
    /// The peer's own word on `X-Forwarded-*` and `X-Request-Id` counts.
    pub trusted: bool,
}

impl Client {
    /// Whether the client's own connection is encrypted, by what is known of ours or a trusted proxy says.
    pub(super) fn is_secure(&self, connection: &Connection, headers: &HeaderMap) -> bool {
        let said = || {
            let said = headers.get(FORWARDED_PROTO)?.to_str().ok()?;
            Some(said.split(',').next()?.trim().eq_ignore_ascii_case("https"))
        };
        match self.trusted.then(said).flatten() {
            Some(secure) => secure,
            None => connection.scheme == "https",
        }
    }

    /// The client behind the peer: the last address in `X-Forwarded-For` that no trusted proxy is known to have.
    pub(super) fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        if !is_trusted(&peer) {
            return Self { address: peer, trusted: false };
        }
        let fields: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut address = peer;
        for hop in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
            address = hop.to_canonical();
            if !is_trusted(&address) {
                break;
            }
        }
        Self { address, trusted: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_hop_nobody_vouches_for() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let find = |peer: &str, chain: &[&str]| {
            let fields = chain.iter().map(|value| (FORWARDED_FOR, value.parse().unwrap())).collect();
            Client::find(peer.parse().unwrap(), &fields, &trusted).address.to_string()
        };
        assert_eq!(find("1.1.1.1", &["9.9.9.9"]), "1.1.1.1");
        assert_eq!(find("10.0.0.1", &["8.8.8.8, 9.9.9.9", "10.0.0.2"]), "9.9.9.9");
        assert_eq!(find("10.0.0.1", &["nonsense, 10.0.0.3"]), "10.0.0.3");
        assert_eq!(find("::ffff:10.0.0.1", &["::ffff:9.9.9.9"]), "9.9.9.9");
        assert_eq!(find("10.0.0.1", &[]), "10.0.0.1");
    }
}
