//! `portcullis token explain`.

use clap::Args;
use comfy_table::Cell;
use jiff::Timestamp;

use super::token_id;
use crate::admin::wire::Denial;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::listing::{Pages, Query, path};
use crate::cli::moment;
use crate::cli::reach::Reach;
use crate::cli::screen::{Screen, cell};

#[derive(Args)]
pub(in crate::cli) struct Explain {
    /// The request's id, as the refusal's `X-Request-Id` and body tell it [default: list recent refusals]
    #[arg(conflicts_with_all = ["token", "app", "limit", "cursor"])]
    request_id: Option<String>,
    /// Only refusals of this token (tok_…)
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// Only refusals at this app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    #[command(flatten)]
    pages: Pages,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let token = self.token.as_deref().map(token_id).transpose()?;
        let client = reach.client(screen)?;
        let Some(id) = &self.request_id else {
            return self.list(&client, token.map(|id| id.to_string()).as_deref(), screen);
        };
        let answer = client.get(&path(&["v1", "denials", id]))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let denial: Denial = answer.json()?;
        Ok(screen.facts(facts(&denial, Timestamp::now()))?)
    }

    fn list(&self, client: &Client, token: Option<&str>, screen: &Screen) -> Result<(), Failure> {
        let listing = Query::new("/v1/denials")
            .pages(&self.pages)
            .filter("token", token)
            .filter("app", self.app.as_deref())
            .fetch(client)?;
        let header = ["REQUEST", "WHEN", "CODE", "APP", "ENVIRONMENT", "TOKEN", "ASKED FOR", "ADDRESS"];
        listing.print(client, screen, self.json, "no recent refusals that you may see", header, row)
    }
}

fn row(denial: &Denial, now: Timestamp) -> [Cell; 8] {
    [
        cell(&denial.request_id),
        cell(&moment::away(Some(denial.at), now)),
        cell(&denial.code),
        cell(denial.app.as_deref().unwrap_or("")),
        cell(denial.environment.as_deref().unwrap_or("")),
        cell(denial.token.as_deref().unwrap_or("")),
        cell(&format!("{} {}", denial.method, denial.path)),
        cell(&denial.address),
    ]
}

fn facts(denial: &Denial, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let mut facts = vec![
        ("request", cell(&denial.request_id)),
        ("when", cell(&moment::both(denial.at, now))),
        ("answer", cell(&format!("{} {}", denial.status, denial.code))),
    ];
    facts.extend(reason(&denial.code).map(|reason| ("why", cell(reason))));
    facts.extend([
        ("app", cell(denial.app.as_deref().unwrap_or("none of ours"))),
        ("environment", cell(denial.environment.as_deref().unwrap_or("none of ours"))),
        ("token", cell(denial.token.as_deref().unwrap_or("none that we know"))),
        ("asked for", cell(&format!("{} {}", denial.method, denial.path))),
        ("from", cell(&denial.address)),
    ]);
    facts
}

/// What a code means, and what would be right. A code of a later version says it by itself.
fn reason(code: &str) -> Option<&'static str> {
    Some(match code {
        "token_missing" => {
            "It carried no token: send X-Portcullis-Token, Authorization: Bearer, or the query parameter."
        }
        "token_unknown" => {
            "What it carried is misspelt, cut short, was never minted, or ended so long ago that it is forgotten."
        }
        "token_revoked" => "The token was revoked: mint another, or use its successor.",
        "deployment_replaced" => {
            "The token ended with its deployment: mint one for the current, with --on-publish keep if it is to stay."
        }
        "token_expired" => "The token has reached its end: mint another.",
        "wrong_app" => "The token is for another app: the Host decides which app is meant.",
        "wrong_environment" => "The token is for another environment: the Host decides which is meant.",
        "external_access_off" => {
            "The environment lets no token in: `portcullis app external-access APP --environment ENV on`."
        }
        "address_not_allowed" => {
            "The address is in none of the token's networks; behind a proxy, name it in gateway.trusted_proxies."
        }
        "insufficient_scope" => "None of the token's scopes has this method on this path.",
        "rate_limited" => {
            "More requests than the token's rate, or too many unknown tokens from this address."
        }
        _ => return None,
    })
}
