//! `portcullis token list`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use comfy_table::Cell;
use jiff::Timestamp;

use crate::admin::wire::Token;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::listing::{MOST, Pages, Query};
use crate::cli::moment;
use crate::cli::screen::{Screen, cell};
use crate::model::Status;

#[derive(Args)]
pub(in crate::cli) struct List {
    /// Only tokens for this app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Only tokens for this environment
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// Only tokens that stand like this
    #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
    status: Option<String>,
    /// Only tokens of this member
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Only tokens with this text in their label or description
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Only tokens that were used and end within this time, as in 7d
    #[arg(long, value_name = "TIME")]
    expiring: Option<String>,
    #[command(flatten)]
    pages: Pages,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

const HEADER: [&str; 9] =
    ["ID", "LABEL", "APP", "ENVIRONMENT", "STATUS", "HINT", "CREATED BY", "EXPIRES", "LAST USED"];

impl List {
    pub(super) fn run(&self, client: &Client, screen: &Screen) -> Result<(), Failure> {
        let listing = Query::new("/v1/tokens")
            .pages(&self.pages)
            .filter("app", self.app.as_deref())
            .filter("environment", self.environment.as_deref())
            .filter("status", self.status.as_deref())
            .filter("member", self.member.as_deref())
            .filter("q", self.q.as_deref())
            .filter("expiring", self.expiring.as_deref())
            .fetch(client)?;
        if listing.is_cut() && !self.pages.are_limited() {
            screen.note(&format!("there are more than {MOST} tokens: narrow the list, or raise --limit"));
        }
        let none = if self.is_narrowed() {
            "no token is like this"
        } else {
            "no tokens; `portcullis token create` mints one"
        };
        listing.print(client, screen, self.json, none, HEADER, |token, now| row(token, screen, now))
    }

    fn is_narrowed(&self) -> bool {
        let wishes = [&self.app, &self.environment, &self.status, &self.member, &self.q, &self.expiring];
        wishes.into_iter().any(Option::is_some) || self.pages.are_begun()
    }
}

/// Tokens as a table.
pub(in crate::cli) fn table(tokens: &[Token], screen: &Screen) -> Result<(), Failure> {
    let now = Timestamp::now();
    let rows = tokens.iter().map(|token| row(token, screen, now).into()).collect();
    Ok(screen.rows(&HEADER, rows)?)
}

fn row(token: &Token, screen: &Screen, now: Timestamp) -> [Cell; 9] {
    [
        cell(&token.id),
        cell(&token.label),
        cell(&token.app),
        cell(&token.environment),
        screen.status(&token.status),
        cell(&format!("…{}", token.hint)),
        cell(&token.created_by),
        cell(&moment::away(token.ends_at, now)),
        cell(&moment::away(token.last_used_at, now)),
    ]
}
