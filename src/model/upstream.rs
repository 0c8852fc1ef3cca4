//! Where an environment's requests go.

use std::fmt;

/// Why an upstream was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    #[error("an upstream is a URL without path, query or user, as in `http://127.0.0.1:3000`")]
    Malformed,
    #[error("`{0}` upstreams are not available in this version: use `http://`")]
    Unavailable(&'static str),
}

/// An app's own address: `http://` and a host with an optional port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    authority: http::uri::Authority,
}

impl Upstream {
    /// # Errors
    /// When `text` is not such a URL, or of a scheme that this version does not speak.
    pub fn parse(text: &str) -> Result<Self, InvalidUpstream> {
        for scheme in ["https", "h2c", "unix"] {
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
        Ok(Self { authority: parsed })
    }

    /// Host and port as written: what `host_header = "upstream"` sends.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The host to resolve, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(80)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_bare_http_urls() {
        let app = Upstream::parse("http://127.0.0.1:3000/").unwrap();
        assert_eq!(
            (app.host(), app.port(), app.to_string().as_str()),
            ("127.0.0.1", 3000, "http://127.0.0.1:3000")
        );
        let six = Upstream::parse("http://[::1]").unwrap();
        assert_eq!((six.host(), six.port()), ("::1", 80));
        for bad in [
            "",
            "127.0.0.1:3000",
            "http://",
            "http://a/b",
            "http://u@a",
            "http://a:0",
            "http://a:99999",
            "http://a?x",
        ] {
            assert_eq!(Upstream::parse(bad), Err(InvalidUpstream::Malformed), "{bad:?}");
        }
        assert_eq!(Upstream::parse("https://a"), Err(InvalidUpstream::Unavailable("https")));
    }
}
