//! `portcullis token edit`.

use clap::Args;

use super::{described, token_id, understood};
use crate::admin::wire::{EditToken, Token};
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::Screen;

/// What is left out stays as it is
#[derive(Args)]
pub(in crate::cli) struct Edit {
    /// The token's id (tok_…)
    id: String,
    /// A name to know the token by; "" for none
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What the token is for; "" for nothing
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only these methods on these paths, in place of those it has; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "no_scope")]
    scopes: Vec<String>,
    /// Every method and path
    #[arg(long)]
    no_scope: bool,
    /// Only from this network or address, in place of those it has; may be repeated
    #[arg(long = "allow", value_name = "NETWORK", conflicts_with = "no_allow")]
    networks: Vec<String>,
    /// From every address
    #[arg(long)]
    no_allow: bool,
    /// At most so many requests in so long, as in 100/1m
    #[arg(long, value_name = "RATE", conflicts_with = "no_rate")]
    rate: Option<String>,
    /// As many requests as it likes
    #[arg(long)]
    no_rate: bool,
    /// When it ends, which can only be earlier than it would: 7d, 2026-12-31, or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Only if nobody has edited it since it had this revision (`token show --json` tells it)
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Edit {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let id = token_id(&self.id)?;
        let end = self.expires.as_deref().map(|wish| understood(wish, reach)).transpose()?;
        let (expires_in, expires_at) = end.unwrap_or_default();
        let edit = EditToken {
            label: self.label.clone(),
            description: self.description.clone(),
            scopes: list(&self.scopes, self.no_scope),
            allowed_addresses: list(&self.networks, self.no_allow),
            rate_limit: if self.no_rate { Some(None) } else { self.rate.clone().map(Some) },
            expires_in,
            expires_at,
        };
        if edit == EditToken::default() {
            return Err(Failure::Usage(
                "nothing is to be changed: `portcullis token edit --help`".to_owned(),
            ));
        }
        let answer = reach.client(screen)?.patch(&format!("/v1/tokens/{id}"), &edit, self.revision)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let token: Token = answer.json()?;
        Ok(screen.say(&format!("Edited {}.", described(&token)))?)
    }
}

/// A list in place of the one that is there, which may be empty.
fn list(items: &[String], none: bool) -> Option<Vec<String>> {
    (none || !items.is_empty()).then(|| items.to_vec())
}
