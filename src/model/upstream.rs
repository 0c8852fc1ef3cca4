//! Where an environment's requests go.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why an upstream was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    #[error(
        "an upstream is a URL without path, query or user, as in `http://127.0.0.1:3000`, or `unix:/run/app.sock`"
    )]
    Malformed,
    #[error("`{0}` upstreams are not available in this version: use `http://` or `unix:`")]
    Unavailable(&'static str),
}

/// An app's own address: `http://` and a host with an optional port, or `unix:` and the absolute path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    Tcp(http::uri::Authority),
    Unix(PathBuf),
}

impl Upstream {
    /// # Errors
    /// When `text` is no such address, or of a scheme that this version does not speak.
    pub fn parse(text: &str) -> Result<Self, InvalidUpstream> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            let usable = path.is_absolute() && path.file_name().is_some() && !text.contains('\0');
            return if usable { Ok(Self::Unix(path.into())) } else { Err(InvalidUpstream::Malformed) };
        }
        for scheme in ["https", "h2c"] {
            if text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')) {
                return Err(InvalidUpstream::Unavailable(scheme));
            }
        }
        let authority = text.strip_prefix("http://").ok_or(InvalidUpstream::Malformed)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let parsed: http::uri::Authority = authority.parse().map_err(|_| InvalidUpstream::Malformed)?;
        let port_in_range = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
            _ => true,
        };
        if parsed.host().is_empty() || authority.contains('@') || !port_in_range {
            return Err(InvalidUpstream::Malformed);
        }
        Ok(Self::Tcp(parsed))
    }

    /// What `host_header = "upstream"` sends: host and port as written, `localhost` for a socket.
    #[must_use]
    pub fn authority(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority.as_str(),
            Self::Unix(_) => "localhost",
        }
    }

    /// The host to resolve, without the brackets of an IPv6 address, and the port; `None` for a socket.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp(authority) => {
                let host = authority.host().trim_start_matches('[').trim_end_matches(']');
                Some((host, authority.port_u16().unwrap_or(80)))
            }
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
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
        ];
        for bad in bad {
            assert_eq!(Upstream::parse(bad), Err(InvalidUpstream::Malformed), "{bad:?}");
        }
        assert_eq!(Upstream::parse("https://a"), Err(InvalidUpstream::Unavailable("https")));
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
