//! Links that sign a browser in without showing a token.

use std::net::IpAddr;

use http::Uri;
use jiff::Timestamp;

use super::apps;
use super::tokens::MintToken;
use super::{Caller, Control, Fault, Faults};
use crate::config::{Config, Environment};
use crate::credential::{Digest, Kind, Plaintext};
use crate::model::{AppName, HostPattern, Landing, RESERVED, Scope, Token};
use crate::store::{Act, NewShare, Share};

/// What a token is called that nobody named.
const LABEL: &str = "share link";
/// How often one link may be used at most.
const USES: u32 = 1000;
/// Who acts where somebody followed a link.
const VISITOR: &str = "portcullis";

/// A link as asked for.
#[derive(Debug, Default)]
pub struct MintShare {
    /// The token that it stands for.
    pub token: MintToken,
    /// How often it may be used; once by default.
    pub uses: Option<u64>,
    /// Where it leads.
    pub path: Option<String>,
    /// Scheme, host and port by which browsers reach the app.
    pub origin: Option<String>,
}

/// A link, for the one answer that shows it: there is none where an earlier call had that answer.
#[derive(Debug)]
pub struct MintedShare {
    pub token: Token,
    pub uses: u32,
    pub link: Option<Link>,
}

#[derive(Debug)]
pub struct Link {
    code: Plaintext,
    origin: String,
}

/// What came of using a link.
#[derive(Debug)]
pub enum Spent {
    Open { token: Digest, landing: Landing },
    UsedUp,
    Unknown,
}

impl Link {
    /// Its path on the app's host.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{RESERVED}share/{}", self.code.reveal())
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.origin, self.path())
    }
}

impl Control {
    /// Mints a token whose value nobody is shown, and a link that signs browsers in with it.
    ///
    /// # Errors
    /// When a field is wrong, the caller may not, or the store cannot be written.
    pub async fn mint_share(&self, caller: &Caller, asked: MintShare) -> Result<MintedShare, Fault> {
        caller.require(Scope::Mint)?;
        let config = self.config.load_full();
        let MintShare { mut token, uses, path, origin } = asked;
        let faults = &mut token.faults;
        let uses = match uses.unwrap_or(1).try_into() {
            Ok(uses @ 1..=USES) => uses,
            _ => {
                faults.add("uses", format!("must be a whole number from 1 to {USES}"));
                1
            }
        };
        let landing = path.map_or_else(|| Some(Landing::front()), |path| Landing::parse(&path));
        let landing = landing.unwrap_or_else(|| {
            faults.add("path", "must be a path of the app, as in `/start`");
            Landing::front()
        });
        if token.app.as_deref() == Some("*") {
            faults.add("app", "must be one app: a link leads to a host");
        }
        let environment = environment(&config, token.app.as_deref(), token.environment.as_deref());
        let origin = match environment {
            None => String::new(),
            Some(environment) => {
                if !environment.browser_sessions {
                    let wrong = "gives browsers no session (`browser_sessions` is off)";
                    faults.add("environment", wrong);
                }
                origin_of(&config, environment, origin.as_deref(), faults)
            }
        };
        token.label.get_or_insert_with(|| LABEL.to_owned());
        let code = Plaintext::generate(Kind::Share)?;
        let share = NewShare { digest: code.digest(), landing, uses };
        let minted = self.mint(caller, token, Some(share)).await?;
        let link = minted.value.map(|_| Link { code, origin });
        Ok(MintedShare { token: minted.token, uses, link })
    }

    /// What the link with this code is for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn find_share(&self, code: Digest) -> Result<Spent, Fault> {
        Ok(spent(self.store.share(code).await?))
    }

    /// The same, and uses it where it may be used: on disk when this returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn spend_share(&self, code: Digest, from: IpAddr) -> Result<Spent, Fault> {
        // What is unknown must not cost a write.
        if self.store.share(code).await?.is_none() {
            return Ok(Spent::Unknown);
        }
        let act = visit(self.now(), from);
        let share = self.store.spend_share(act, code).await.map_err(|e| Fault::refused(e, "link"))?;
        Ok(spent(share))
    }
}

fn spent(share: Option<Share>) -> Spent {
    match share {
        None => Spent::Unknown,
        Some(share) if share.used >= share.uses => Spent::UsedUp,
        Some(share) => Spent::Open { token: share.token, landing: share.landing },
    }
}

fn visit(at: Timestamp, from: IpAddr) -> Act {
    Act { at, actor: VISITOR.to_owned(), key: None, from: from.to_string(), once: None }
}

fn environment<'a>(config: &'a Config, app: Option<&str>, name: Option<&str>) -> Option<&'a Environment> {
    let app = apps::find(config, &AppName::parse(app?).ok()?)?;
    app.environments.iter().find(|environment| Some(environment.name.as_str()) == name)
}

/// The beginning of the link: as asked for, or as the configuration lets guess.
fn origin_of(config: &Config, environment: &Environment, asked: Option<&str>, faults: &mut Faults) -> String {
    if let Some(asked) = asked {
        if let Some(origin) = origin(asked, &environment.hosts) {
            return origin;
        }
        let hosts = environment.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let wrong = format!(
            "must be `https://` or `http://` and a host of the environment, perhaps with a port; its hosts are {hosts}"
        );
        faults.add("origin", wrong);
        return String::new();
    }
    let exact = environment.hosts.iter().find_map(|host| match host {
        HostPattern::Exact(host) => Some(host),
        HostPattern::Wildcard(_) => None,
    });
    let Some(host) = exact else {
        faults.add("origin", "is missing: every host of this environment is a pattern");
        return String::new();
    };
    let (scheme, usual, port) = match (config.gateway.tls.first(), config.gateway.listen.first()) {
        (Some(tls), _) => ("https", 443, tls.listen.port()),
        (None, Some(listen)) => ("http", 80, listen.port()),
        (None, None) => ("http", 80, 80),
    };
    if port == usual || port == 0 {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

fn origin(asked: &str, hosts: &[HostPattern]) -> Option<String> {
    let uri: Uri = asked.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority()?;
    let host = authority.host().to_ascii_lowercase();
    let claimed = hosts.iter().any(|pattern| match pattern {
        HostPattern::Exact(exact) => **exact == *host,
        HostPattern::Wildcard(rest) => host.split_once('.').is_some_and(|(_, found)| *found == **rest),
    });
    let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    (claimed && bare && !authority.as_str().contains('@'))
        .then(|| format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_of_a_host_of_the_environment() {
        let hosts = ["shop.example", "*.shop.example"].map(|host| HostPattern::parse(host).unwrap());
        for (asked, found) in [
            ("https://Shop.example", Some("https://shop.example")),
            ("https://shop.example:8443/", Some("https://shop.example:8443")),
            ("http://a.shop.example", Some("http://a.shop.example")),
            ("https://a.b.shop.example", None),
            ("https://evil.example", None),
            ("https://u@shop.example", None),
            ("https://shop.example/a", None),
            ("https://shop.example?a", None),
            ("ftp://shop.example", None),
            ("shop.example", None),
            ("", None),
        ] {
            assert_eq!(origin(asked, &hosts).as_deref(), found, "{asked}");
        }
    }
}
