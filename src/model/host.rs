//! Hosts an environment claims: `shop.localhost`, or `*.shop.localhost` for exactly one more label.

use std::fmt;

/// A claimed host, in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(Box<str>),
    /// The part after `*.`.
    Wildcard(Box<str>),
}

impl HostPattern {
    /// Reads a host name or address as `proxy.toml` writes it; `None` if it could never be a request's host.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("*.") {
            Some(rest) => is_name(rest).then(|| Self::Wildcard(rest.into())),
            None => (is_name(&lower) || is_ipv6(&lower)).then(|| Self::Exact(lower.into())),
        }
    }
}

/// Labels of letters, digits, `-` and `_`; none empty, none over 63 characters.
fn is_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn is_ipv6(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(rest) => write!(f, "*.{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_addresses_or_one_wildcard() {
        for good in ["shop.localhost", "Shop.Example.COM", "*.shop.localhost", "127.0.0.1", "[::1]", "a_b.c"]
        {
            assert_eq!(HostPattern::parse(good).unwrap().to_string(), good.to_ascii_lowercase());
        }
        for bad in
            ["", "*", "*.", "a..b", ".a", "a.", "a:80", "a/b", "*.*.a", "a.*.b", "::1", "[::1", "é.com"]
        {
            assert_eq!(HostPattern::parse(bad), None, "{bad:?}");
        }
    }
}
