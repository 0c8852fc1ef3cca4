//! `portcullis token show`.

use clap::Args;
use comfy_table::Cell;
use jiff::Timestamp;

use super::{ends, token_id};
use crate::admin::wire::Token;
use crate::cli::failure::Failure;
use crate::cli::moment;
use crate::cli::reach::Reach;
use crate::cli::screen::{Screen, cell};

#[derive(Args)]
pub(in crate::cli) struct Show {
    /// The token's id (tok_…)
    id: String,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let id = token_id(&self.id)?;
        let answer = reach.client(screen)?.get(&format!("/v1/tokens/{id}"))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let token: Token = answer.json()?;
        Ok(screen.facts(facts(&token, screen, Timestamp::now()))?)
    }
}

fn facts<'a>(token: &Token, screen: &Screen, now: Timestamp) -> Vec<(&'a str, Cell)> {
    let listed = |items: &[String], none: &str| {
        cell(&if items.is_empty() { none.to_owned() } else { items.join(", ") })
    };
    let done = |at, by: Option<&str>| cell(&format!("{} by {}", moment::both(at, now), by.unwrap_or("?")));
    let used = token.last_used_at.map_or_else(
        || "never".to_owned(),
        |at| {
            let from = token.last_used_from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            moment::both(at, now) + &from
        },
    );
    let mut facts = vec![
        ("id", cell(&token.id)),
        ("label", cell(&token.label)),
        ("description", cell(&token.description)),
        ("app", cell(&token.app)),
        ("environment", cell(&token.environment)),
        ("deployment", cell(token.deployment.as_deref().unwrap_or("any"))),
        ("on publish", cell(&token.on_publish)),
        ("scopes", listed(&token.scopes, "every path")),
        ("addresses", listed(&token.allowed_addresses, "any")),
        ("rate", cell(token.rate_limit.as_deref().unwrap_or("no limit"))),
        ("value ends in", cell(&format!("…{}", token.hint))),
        ("status", screen.status(&token.status)),
        ("created", done(token.created_at, Some(&token.created_by))),
        ("expires", cell(&ends(token, now))),
        ("last used", cell(&used)),
    ];
    facts.extend(token.revoked_at.map(|at| ("revoked", done(at, token.revoked_by.as_deref()))));
    facts.extend(token.revoke_reason.as_ref().map(|reason| ("reason", cell(reason))));
    facts.extend(token.replaced_at.map(|at| ("replaced", done(at, token.replaced_by.as_deref()))));
    facts.extend(token.predecessor.as_ref().map(|id| ("predecessor", cell(id))));
    facts.extend(token.successor.as_ref().map(|id| ("successor", cell(id))));
    facts
}
