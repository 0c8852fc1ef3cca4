//! `portcullis secret set`.

use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
use clap::builder::PossibleValuesParser;
use zeroize::Zeroizing;

use super::{End, at, described, lifetime, moment};
use crate::admin::wire::{PutGrant, PutSecret, Secret};
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::Screen;
use crate::model::{SHORTEST_GUARDED, SecretKind};

/// More than any value may be long.
const LONGEST: u64 = 64 * 1024;

/// The value is read from standard input, and one newline at its end is dropped. What is not given stays as it was, but
/// for the expiry, which goes with the value
#[derive(Args)]
pub(in crate::cli) struct Set {
    /// What it is called in proxy.toml, as in SHOP_KEY for $Secret{SHOP_KEY}
    name: String,
    /// What kind of value it is [default: credential; with --token-url oauth-token]
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(SecretKind::ALL.map(SecretKind::as_str)))]
    kind: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// When it ends: a lifetime such as 90d, or never [default: never]
    #[arg(long, value_name = "LIFETIME", value_parser = lifetime, conflicts_with = "expires_at")]
    expires: Option<String>,
    /// When it ends: a date, which counts to its end, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    expires_at: Option<String>,
    /// Only for this app; may be repeated
    #[arg(long = "app", value_name = "APP")]
    apps: Vec<String>,
    /// Only for the apps of this product; may be repeated
    #[arg(long = "product", value_name = "PRODUCT")]
    products: Vec<String>,
    /// Only in environments of this name; may be repeated
    #[arg(long = "environment", value_name = "ENV")]
    environments: Vec<String>,
    /// Get access tokens here with a client-credentials grant; the value is then the client's secret
    #[arg(long, value_name = "URL", requires = "client_id")]
    token_url: Option<String>,
    /// Who asks for access tokens
    #[arg(long, value_name = "ID", requires = "token_url")]
    client_id: Option<String>,
    /// What access tokens are to be good for; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", requires = "token_url")]
    scopes: Vec<String>,
    /// How the client shows who it is
    #[arg(long, requires = "token_url", value_parser = PossibleValuesParser::new(["basic", "post"]))]
    client_auth: Option<String>,
    /// Only if nobody has set or edited it since it had this revision (`secret show --json` tells it)
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Set {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let path = at(&self.name)?;
        let client = reach.client(screen)?;
        let mut value = read(screen)?;
        let (expires_in, expires_at): End = (self.expires.clone(), self.expires_at.clone());
        let grant = self.token_url.clone().zip(self.client_id.clone()).map(|(token_url, client_id)| {
            PutGrant { token_url, client_id, scopes: list(&self.scopes), auth: self.client_auth.clone() }
        });
        // What a grant is asked with reaches no app.
        let is_short = grant.is_none() && value.len() < SHORTEST_GUARDED;
        let body = PutSecret {
            value: std::mem::take(&mut *value),
            kind: self.kind.clone(),
            description: self.description.clone(),
            apps: list(&self.apps),
            products: list(&self.products),
            environments: list(&self.environments),
            expires_in,
            expires_at,
            grant,
        };
        let answer = client.put_at(&path, &body, self.revision)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let secret: Secret = answer.json()?;
        if is_short {
            screen.note(&format!(
                "it is shorter than {SHORTEST_GUARDED} bytes: where an app shows it, `echo_guard` does not look for it"
            ));
        }
        if secret.used_by.is_empty() {
            screen
                .note(&format!("no environment needs it yet: write $Secret{{{}}} in proxy.toml", self.name));
        }
        Ok(screen.say(&format!("Set {}.", described(&secret)))?)
    }
}

fn list(items: &[String]) -> Option<Vec<String>> {
    (!items.is_empty()).then(|| items.to_vec())
}

/// The value, without the newline that ends a line.
fn read(screen: &Screen) -> Result<Zeroizing<String>, Failure> {
    let mut input = io::stdin().lock();
    if io::stdin().is_terminal() {
        screen.note("the value, then Ctrl-D twice or Enter and Ctrl-D; it is shown as it is typed:");
    }
    let failed =
        |error: io::Error| Failure::Failed(format!("cannot read the value ({error}); nothing was set"));
    // Room for all of it at once: what grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    input.by_ref().take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(Failure::Usage("there is no value on standard input; nothing was set".to_owned()));
    }
    match std::str::from_utf8(&bytes) {
        Ok(value) => Ok(Zeroizing::new(value.to_owned())),
        Err(_) => Err(Failure::Usage("the value is not UTF-8; nothing was set".to_owned())),
    }
}
