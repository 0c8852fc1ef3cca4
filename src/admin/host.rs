//! The names under which the admin side answers: a page of another origin that points its own name at this address
//! ("DNS rebinding") sends that name, and gets nothing.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::problem::Problem;

/// The allowed names.
#[derive(Debug)]
pub(super) struct Hosts {
    listen: SocketAddr,
    /// In lower case, without a port.
    named: Vec<String>,
}

impl Hosts {
    pub(super) fn new(listen: SocketAddr, named: &[String]) -> Self {
        Self { listen, named: named.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// # Errors
    /// When the request names no host, several, or one that is not ours.
    pub(super) fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut values = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Problem::invalid_request("there must be one Host header"));
        };
        let host = value.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let named = host.as_ref().is_some_and(|host| self.is_ours(host));
        if named && uri.authority().is_none_or(|target| self.is_ours(target)) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "this Host is not one of the admin side's: use the address it listens on, or add the name to `admin.hosts`",
        ))
    }

    fn is_ours(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        match address {
            Some(address) if address.is_loopback() => true,
            Some(address) if address == self.listen.ip() => true,
            _ => host == "localhost" || self.named.contains(&host),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_our_own_names_are_answered() {
        let hosts = Hosts::new("10.1.2.3:9180".parse().unwrap(), &["Admin.Example.com".to_owned()]);
        let admits = |host: &str, uri: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            hosts.admit(&uri.parse().unwrap(), &headers).is_ok()
        };
        for good in [
            "localhost",
            "LOCALHOST:9180",
            "127.0.0.1:1",
            "[::1]:9180",
            "10.1.2.3:9180",
            "admin.example.COM:443",
        ] {
            assert!(admits(good, "/"), "{good}");
        }
        for bad in
            ["evil.example", "localhost.evil.example", "x.localhost", "10.1.2.4", "", "localhost@evil", "a b"]
        {
            assert!(!admits(bad, "/"), "{bad}");
        }
        assert!(!admits("localhost", "http://evil.example/"));
        assert!(hosts.admit(&Uri::from_static("/"), &HeaderMap::new()).is_err());
    }
}
