//! A named value that the gateway puts into upstream requests, as everybody but the gateway knows it: without the value.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use jiff::Timestamp;

use super::{AppName, Ended, EnvironmentName, Status, Text, is_link_local};

/// Shorter values are not looked for in answers: they would be found everywhere.
pub const SHORTEST_GUARDED: usize = 6;
/// Most apps, products or environments that a secret may be for, and most scopes that a grant may ask for.
pub const PLACES: usize = 50;

/// Why a name was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a secret is 1 to 64 capital letters, digits and `_`, and begins with a letter, as in `SHOP_KEY`"
)]
pub struct InvalidSecretName;

/// What a secret is called, as in `$Secret{SHOP_KEY}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(Arc<str>);

impl SecretName {
    /// # Errors
    /// When `name` is empty, too long, or holds a character that names may not.
    pub fn parse(name: &str) -> Result<Self, InvalidSecretName> {
        let shaped = (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
        shaped.then(|| Self(name.into())).ok_or(InvalidSecretName)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of value it is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    Credential,
    ApiKey,
    BearerToken,
    OauthToken,
}

impl SecretKind {
    pub const ALL: [Self; 4] = [Self::Credential, Self::ApiKey, Self::BearerToken, Self::OauthToken];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::ApiKey => "api-key",
            Self::BearerToken => "bearer-token",
            Self::OauthToken => "oauth-token",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Where a secret may be used. An empty list excludes nothing; apps and products add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretScope {
    pub apps: Vec<AppName>,
    pub products: Vec<AppName>,
    pub environments: Vec<EnvironmentName>,
}

impl SecretScope {
    #[must_use]
    pub fn covers(&self, app: &AppName, product: Option<&str>, environment: &EnvironmentName) -> bool {
        let named = self.apps.contains(app)
            || product.is_some_and(|product| self.products.iter().any(|name| name.as_str() == product));
        let anywhere = self.apps.is_empty() && self.products.is_empty();
        (anywhere || named) && (self.environments.is_empty() || self.environments.contains(environment))
    }

    /// Whether it may be used where there is no app: by the gateway for itself.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.apps.is_empty() && self.products.is_empty() && self.environments.is_empty()
    }
}

/// How a client shows who it is to a token endpoint (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    Basic,
    Post,
}

impl ClientAuth {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Post => "post",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Basic, Self::Post].into_iter().find(|auth| auth.as_str() == name)
    }
}

/// Why an address was not taken for a token endpoint's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an `https://` URL without user and fragment, as in `https://auth.example.com/oauth/token`; `http://` to this \
     machine alone"
)]
pub struct InvalidTokenUrl;

/// Where access tokens are asked for. What is sent there is a credential: nothing else than TLS leaves the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUrl(Uri);

impl TokenUrl {
    /// # Errors
    /// When `text` is another thing, or leads over the network in the clear.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenUrl> {
        let plain = !text.contains('#') && text.len() <= 2048;
        let uri: Uri = text.parse().ok().filter(|_| plain).ok_or(InvalidTokenUrl)?;
        let authority = uri.authority().ok_or(InvalidTokenUrl)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let private = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => near,
            _ => false,
        };
        let reachable = authority.port().is_none() || authority.port_u16().is_some_and(|port| port != 0);
        let fits = private && reachable && !host.is_empty() && !authority.as_str().contains('@');
        fits.then_some(Self(uri)).ok_or(InvalidTokenUrl)
    }

    /// Whether it leads to the gateway's own machine, or to what only that machine reaches, as far as can be told
    /// without asking a name server.
    #[must_use]
    pub fn is_near(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        match name.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) => address.is_loopback() || address.is_unspecified() || is_link_local(address),
            Err(_) => {
                let last = name.rsplit('.').next().unwrap_or_default();
                // Such as `127.1`, which resolvers take for an address.
                last == "localhost" || last.starts_with(|c: char| c.is_ascii_digit())
            }
        }
    }

    #[must_use]
    pub const fn as_uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for TokenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client-credentials grant (RFC 6749, section 4.4) but for the client's secret, which is the sealed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub token_url: TokenUrl,
    pub client_id: String,
    pub scopes: Vec<String>,
    pub auth: ClientAuth,
}

/// A value that nobody reads without the key it was sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key that is.
    pub key: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A secret as stored, without its value.
#[derive(Clone, Debug)]
pub struct Secret {
    pub name: SecretName,
    pub kind: SecretKind,
    pub description: Text<1000>,
    pub scope: SecretScope,
    /// Where the value is not used itself, but to get what is.
    pub grant: Option<Grant>,
    pub created_at: Timestamp,
    pub created_by: String,
    /// When the value was set, and who set it.
    pub set_at: Timestamp,
    pub set_by: String,
    pub expires_at: Option<Timestamp>,
    pub revoked: Option<Ended>,
    /// Changes with each edit.
    pub revision: u64,
}

impl Secret {
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Status::Expired
        } else {
            Status::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables() {
        for good in ["A", "SHOP_KEY", "K2", &"A".repeat(64)] {
            assert!(SecretName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "_A", "2A", "A-B", "A}", "É", &"A".repeat(65)] {
            assert!(SecretName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn apps_and_products_add_up_and_environments_narrow() {
        let app = |name: &str| AppName::parse(name).unwrap();
        let environment = |name: &str| EnvironmentName::parse(name).unwrap();
        let production = environment("production");
        let covers = |scope: &SecretScope, name: &str, product: Option<&str>| {
            scope.covers(&app(name), product, &production)
        };
        let mut scope = SecretScope::default();
        assert!(covers(&scope, "shop", None) && scope.is_everywhere());
        scope.apps = vec![app("shop")];
        scope.products = vec![app("commerce")];
        assert!(covers(&scope, "shop", None) && covers(&scope, "blog", Some("commerce")));
        assert!(!covers(&scope, "blog", None) && !covers(&scope, "blog", Some("shop")));
        scope.environments = vec![environment("development")];
        assert!(!covers(&scope, "shop", None));
    }

    #[test]
    fn credentials_go_nowhere_in_the_clear() {
        for good in [
            "https://auth.example.com/token?a=b",
            "https://10.0.0.1:8443/",
            "http://127.0.0.1:9/token",
            "http://[::1]:9/token",
            "http://localhost/token",
        ] {
            assert_eq!(TokenUrl::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "http://auth.example.com/token",
            "https://user@auth.example.com/",
            "https://auth.example.com/#a",
            "https://auth.example.com:0/",
            "ftp://127.0.0.1/",
            "/token",
            "auth.example.com",
            "",
        ] {
            assert!(TokenUrl::parse(bad).is_err(), "{bad}");
        }
        let near = |url: &str| TokenUrl::parse(url).unwrap().is_near();
        for url in [
            "http://127.0.0.1:9/token",
            "https://[::ffff:127.0.0.1]/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://0.0.0.0/",
            "https://169.254.169.254/",
        ] {
            assert!(near(url), "{url}");
        }
        assert!(!near("https://auth.example.com/") && !near("https://10.0.0.1/"));
    }
}
