//! Where an environment's requests go.

use std::fmt;
use std::path::{Path, PathBuf};

use http::uri::Authority;
use rustls_pki_types::ServerName;

/// Why an upstream was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    #[error(
        "an upstream is http://, https:// or h2c:// with a host and no path, query or user, as in \
         `http://127.0.0.1:3000`, or `unix:` and an absolute path, as in `unix:/run/app.sock`"
    )]
    Malformed,
    #[error("no certificate can be for that name: an https upstream wants a DNS name or an IP address")]
    Name,
}

/// An app's own address: a URL of scheme, host and optional port, or `unix:` and the absolute path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    Tcp(Scheme, Authority),
    Unix(PathBuf),
}

/// What is spoken to an upstream, and under which protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    /// HTTP/2 or HTTP/1.1, as the upstream prefers.
    Https,
    /// HTTP/2 without TLS, known beforehand.
    H2c,
}

impl Scheme {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

impl Upstream {
    /// # Errors
    /// When `text` is no such address.
    pub fn parse(text: &str) -> Result<Self, InvalidUpstream> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            let usable = path.is_absolute() && path.file_name().is_some() && !text.contains('\0');
            return if usable { Ok(Self::Unix(path.into())) } else { Err(InvalidUpstream::Malformed) };
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUpstream::Malformed)?;
        let scheme = [Scheme::Http, Scheme::Https, Scheme::H2c]
            .into_iter()
            .find(|known| known.as_str() == scheme)
            .ok_or(InvalidUpstream::Malformed)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: Authority = authority.parse().map_err(|_| InvalidUpstream::Malformed)?;
        let port_in_range = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
            _ => true,
        };
        if parsed.host().is_empty() || authority.contains('@') || !port_in_range {
            return Err(InvalidUpstream::Malformed);
        }
        if scheme == Scheme::Https && ServerName::try_from(bare(parsed.host())).is_err() {
            return Err(InvalidUpstream::Name);
        }
        Ok(Self::Tcp(scheme, parsed))
    }

    /// What `host_header = "upstream"` sends: host and port as written, `localhost` for a socket.
    #[must_use]
    pub fn authority(&self) -> &str {
        match self {
            Self::Tcp(_, authority) => authority.as_str(),
            Self::Unix(_) => "localhost",
        }
    }

    /// The host to resolve, without the brackets of an IPv6 address, and the port; `None` for a socket.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp(scheme, authority) => {
                Some((bare(authority.host()), authority.port_u16().unwrap_or(scheme.port())))
            }
            Self::Unix(_) => None,
        }
    }

    /// Whether TLS protects the way there.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        matches!(self, Self::Tcp(Scheme::Https, _))
    }
}

/// A host without the brackets that an IPv6 address has in a URL.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(scheme, authority) => write!(f, "{}://{authority}", scheme.as_str()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_bare_http_urls() {
        let app = Upstream::parse("http://127.0.0.1:3000/").unwrap();
        assert_eq!(app.host_and_port(), Some(("127.0.0.1", 3000)));
        assert_eq!(app.to_string(), "http://127.0.0.1:3000");
        let six = Upstream::parse("http://[::1]").unwrap();
        assert_eq!(six.host_and_port(), Some(("::1", 80)));
        let bad = [
            "",
            "127.0.0.1:3000",
            "http://",
            "http://a/b",
            "http://u@a",
            "http://a:0",
            "http://a:99999",
            "http://a?x",
            "ftp://a",
            "https:a",
            "HTTP://a",
        ];
        for bad in bad {
            assert_eq!(Upstream::parse(bad), Err(InvalidUpstream::Malformed), "{bad:?}");
        }
        assert_eq!(Upstream::parse("https://a..b"), Err(InvalidUpstream::Name));
    }

    #[test]
    fn each_scheme_has_its_port() {
        for (url, port) in
            [("http://a", 80), ("https://a", 443), ("h2c://a", 80), ("https://[::1]:8443", 8443)]
        {
            let app = Upstream::parse(url).unwrap();
            assert_eq!(app.host_and_port().unwrap().1, port);
            assert_eq!(app.to_string(), url);
        }
    }

    #[test]
    fn upstreams_are_sockets_by_absolute_path() {
        let app = Upstream::parse("unix:/run/app.sock").unwrap();
        assert_eq!((app.to_string().as_str(), app.authority()), ("unix:/run/app.sock", "localhost"));
        assert_eq!(app.host_and_port(), None);
        for bad in ["unix:", "unix:app.sock", "unix:/", "unix:/a\0b"] {
            assert_eq!(Upstream::parse(bad), Err(InvalidUpstream::Malformed), "{bad:?}");
        }
    }
}
