//! `portcullis secret list` and `portcullis secret show`.

use clap::Args;
use jiff::Timestamp;

use super::{at, places};
use crate::admin::wire::Secret;
use crate::cli::failure::Failure;
use crate::cli::listing::{Pages, Query};
use crate::cli::moment;
use crate::cli::reach::Reach;
use crate::cli::screen::{Screen, cell};

#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    pages: Pages,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(in crate::cli) struct Show {
    /// The secret's name
    name: String,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let listing = Query::new("/v1/secrets").pages(&self.pages).fetch(&client)?;
        let header = ["NAME", "TYPE", "STATUS", "FOR", "EXPIRES", "SET", "DESCRIPTION"];
        let none = "no secrets; `portcullis secret set` sets one";
        listing.print(&client, screen, self.json, none, header, |secret: &Secret, now| {
            [
                cell(&secret.name),
                cell(&secret.kind),
                screen.status(&secret.status),
                cell(&places(secret)),
                cell(&moment::away(secret.expires_at, now)),
                cell(&moment::away(Some(secret.set_at), now)),
                cell(&secret.description),
            ]
        })
    }
}

impl Show {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let answer = reach.client(screen)?.get(&at(&self.name)?)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let secret: Secret = answer.json()?;
        let now = Timestamp::now();
        let by = |at: Timestamp, by: &str| cell(&format!("{}, by {by}", moment::both(at, now)));
        let used = secret.used_by.iter().map(|used| format!("{} in {}", used.app, used.environment));
        let used = used.collect::<Vec<_>>().join(", ");
        let mut facts = vec![
            ("name", cell(&secret.name)),
            ("type", cell(&secret.kind)),
            ("description", cell(&secret.description)),
            ("status", screen.status(&secret.status)),
            ("for", cell(&places(&secret))),
            ("needed by", cell(if used.is_empty() { "nothing" } else { &used })),
            ("created", by(secret.created_at, &secret.created_by)),
            ("value set", by(secret.set_at, &secret.set_by)),
            ("expires", cell(&secret.expires_at.map_or("never".to_owned(), |end| moment::both(end, now)))),
        ];
        if let (Some(at), Some(who)) = (secret.revoked_at, &secret.revoked_by) {
            facts.push(("revoked", by(at, who)));
        }
        if let Some(grant) = &secret.grant {
            facts.push(("token URL", cell(&grant.token_url)));
            facts.push(("client", cell(&format!("{} ({})", grant.client_id, grant.auth))));
            facts.push(("scopes", cell(&grant.scopes.join(" "))));
            let token = grant.token_expires_at.map_or("none".to_owned(), |end| moment::both(end, now));
            facts.push(("access token until", cell(&token)));
            facts.extend(grant.last_error.as_deref().map(|error| ("last error", cell(error))));
        }
        Ok(screen.facts(facts)?)
    }
}
