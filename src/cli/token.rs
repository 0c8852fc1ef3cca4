//! `portcullis token …`: mint, list, show and revoke external access tokens.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use comfy_table::Cell;
use jiff::Timestamp;

use super::client::Client;
use super::failure::Failure;
use super::listing::Query;
use super::reach::Reach;
use super::screen::{Screen, cell, require_consent};
use super::{mint, moment, text};
use crate::admin::wire::{MintToken, MintedToken, Revoke, RevokedToken, Token};
use crate::model::{Expiry, Lifetime, Status, TokenId};

/// Without `--limit`, a list stops here and says so.
const MOST: usize = 10_000;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Mint a token and print its value, this once
    Create(Create),
    /// List tokens, newest first
    List(List),
    /// Show all that is known about a token
    Show(Show),
    /// End a token for good, with the requests it has in flight
    Revoke(Cancel),
}

#[derive(Args)]
pub(super) struct Create {
    /// The app to open, or "*" for every app
    #[arg(long, value_name = "APP")]
    app: String,
    /// The environment to open
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// A name to know the token by
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What the token is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// [required] When it ends: 7d, never, 2026-12-31 (the end of that day, UTC), or an RFC 3339 time
    // Not required of clap, whose message could not list the choices.
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Print the value and nothing else
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct List {
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
    /// Only tokens in which this text is found
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// At most this many [default: all, up to 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: Option<u32>,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    /// The token's id (tok_…)
    id: String,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Cancel {
    /// The token's id (tok_…)
    id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(reach, screen),
            Self::List(list) => list.run(&reach.client(screen)?, screen),
            Self::Show(show) => show.run(reach, screen),
            Self::Revoke(cancel) => cancel.run(reach, screen),
        }
    }
}

impl Create {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let wish = self.expires.as_deref().ok_or_else(|| {
            Failure::Usage(format!("--expires is required; it takes {}", reach.expiry_choices()))
        })?;
        let (expires_in, expires_at) = expiry(wish).ok_or_else(|| {
            let wish = text::plain(wish);
            Failure::Usage(format!(
                "--expires: `{wish}` is none of what it takes: {}",
                reach.expiry_choices()
            ))
        })?;
        let answer = reach.client(screen)?.post(
            "/v1/tokens",
            &MintToken {
                label: self.label.clone(),
                description: self.description.clone(),
                app: self.app.clone(),
                environment: self.environment.clone(),
                expires_in,
                expires_at,
                ..MintToken::default()
            },
        )?;
        let minted: MintedToken = answer.json()?;
        let secret = minted.secret.as_deref().ok_or_else(|| mint::withheld("token", &minted.token.id))?;
        let written = if self.json {
            screen.json(&answer.body)
        } else if self.quiet {
            screen.say(secret)
        } else {
            screen.say(&announcement(&minted, secret, Timestamp::now()))
        };
        written.map_err(|error| mint::lost("token", &minted.token.id, &error))
    }
}

impl List {
    fn run(&self, client: &Client, screen: &Screen) -> Result<(), Failure> {
        let asked = self.limit.map(|limit| usize::try_from(limit).unwrap_or(MOST));
        let listing = Query::new("/v1/tokens")
            .at_most(asked.unwrap_or(MOST))
            .filter("app", self.app.as_deref())
            .filter("environment", self.environment.as_deref())
            .filter("status", self.status.as_deref())
            .filter("member", self.member.as_deref())
            .filter("q", self.q.as_deref())
            .fetch(client)?;
        if listing.is_cut() && asked.is_none() {
            screen.note(&format!("there are more than {MOST} tokens: narrow the list, or raise --limit"));
        }
        if self.json {
            return Ok(screen.json(&listing.json(client)?)?);
        }
        let tokens: Vec<Token> = listing.parse(client)?;
        if tokens.is_empty() {
            screen.note("no tokens; `portcullis token create` mints one");
            return Ok(());
        }
        let now = Timestamp::now();
        let rows = tokens.iter().map(|token| row(token, screen, now)).collect();
        let header =
            ["ID", "LABEL", "APP", "ENVIRONMENT", "STATUS", "HINT", "CREATED BY", "EXPIRES", "LAST USED"];
        Ok(screen.rows(&header, rows)?)
    }
}

impl Show {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let id = token_id(&self.id)?;
        let answer = reach.client(screen)?.get(&format!("/v1/tokens/{id}"))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let token: Token = answer.json()?;
        Ok(screen.facts(facts(&token, screen, Timestamp::now()))?)
    }
}

impl Cancel {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let id = token_id(&self.id)?;
        require_consent(self.yes)?;
        let client = reach.client(screen)?;
        if !self.yes {
            let token: Token = client.get(&format!("/v1/tokens/{id}"))?.json()?;
            screen.confirm(&format!(
                "Revoke {}? Its requests end at once, and it cannot be undone.",
                described(&token)
            ))?;
        }
        let answer =
            client.post(&format!("/v1/tokens/{id}/revoke"), &Revoke { reason: self.reason.clone() })?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let revoked: RevokedToken = answer.json()?;
        let (requests, streams) = (revoked.ended.requests, revoked.ended.streams);
        Ok(screen.say(&format!(
            "Revoked {}.\nEnded in flight: {requests} not yet answered, {streams} being answered.",
            described(&revoked.token)
        ))?)
    }
}

/// `expires_in` and `expires_at` as the API takes them; `None` where `wish` is neither.
fn expiry(wish: &str) -> Option<(Option<String>, Option<String>)> {
    if wish == "never" || Lifetime::parse(wish).is_ok() {
        return Some((Some(wish.to_owned()), None));
    }
    Expiry::parse_at(wish).map(|_| (None, Some(wish.to_owned())))
}

fn token_id(text: &str) -> Result<TokenId, Failure> {
    TokenId::parse(text).ok_or_else(|| mint::not_an_id(text, "token", "tok_"))
}

fn announcement(minted: &MintedToken, secret: &str, now: Timestamp) -> String {
    let token = &minted.token;
    let authorization =
        minted.authorization.as_ref().map_or_else(|| format!("Bearer {secret}"), |value| text::plain(value));
    let query = minted.query_parameter.as_ref().map_or_else(
        || "(switched off: tokens.query_parameter is empty)".to_owned(),
        |value| text::plain(value),
    );
    format!(
        "Minted {described}.\nIt expires: {expires}\n\n    {secret}\n\n\
         To send it, as a header or at the end of the URL:\n\n    Authorization: {authorization}\n    {query}\n\n\
         This is the only time the value is shown: keep it where secrets are kept.",
        described = described(token),
        expires = ends(token, now),
        secret = text::plain(secret),
    )
}

/// A token in a sentence.
fn described(token: &Token) -> String {
    let label =
        if token.label.is_empty() { String::new() } else { format!(" “{}”", text::plain(&token.label)) };
    let app = if token.app == "*" { "every app".to_owned() } else { text::plain(&token.app) };
    format!("{}{label} for {app}, {}", text::plain(&token.id), text::plain(&token.environment))
}

fn ends(token: &Token, now: Timestamp) -> String {
    token.expires_at.map_or_else(|| "never".to_owned(), |at| moment::both(at, now))
}

fn row(token: &Token, screen: &Screen, now: Timestamp) -> Vec<Cell> {
    vec![
        cell(&token.id),
        cell(&token.label),
        cell(&token.app),
        cell(&token.environment),
        screen.status(&token.status),
        cell(&format!("…{}", token.hint)),
        cell(&token.created_by),
        cell(&ends(token, now)),
        cell(&token.last_used_at.map_or_else(|| "never".to_owned(), |at| moment::both(at, now))),
    ]
}

fn facts<'a>(token: &Token, screen: &Screen, now: Timestamp) -> Vec<(&'a str, Cell)> {
    let listed = |items: &[String], none: &str| {
        cell(&if items.is_empty() { none.to_owned() } else { items.join(", ") })
    };
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
        ("created", cell(&format!("{} by {}", moment::both(token.created_at, now), token.created_by))),
        ("expires", cell(&ends(token, now))),
        ("last used", cell(&token.last_used_at.map_or_else(|| "never".into(), |at| moment::both(at, now)))),
    ];
    if let Some(at) = token.revoked_at {
        let by = token.revoked_by.as_deref().unwrap_or("?");
        facts.push(("revoked", cell(&format!("{} by {by}", moment::both(at, now)))));
    }
    if let Some(reason) = &token.revoke_reason {
        facts.push(("reason", cell(reason)));
    }
    if let Some(successor) = &token.successor {
        facts.push(("successor", cell(successor)));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_an_end_becomes_the_right_field() {
        let lifetime = |text: &str| Some((Some(text.to_owned()), None));
        let time = |text: &str| Some((None, Some(text.to_owned())));
        for text in ["7d", "3mo", "never"] {
            assert_eq!(expiry(text), lifetime(text));
        }
        for text in ["2026-12-31", "2026-12-31T18:00:00Z", "2026-12-31T18:00:00+01:00"] {
            assert_eq!(expiry(text), time(text));
        }
        for text in ["", "1w", "soon", "Never", "2026-13-01", "2026-12-31T18:00"] {
            assert_eq!(expiry(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_value_in_place_of_an_id_is_not_repeated() {
        let value = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
        let message = token_id(value).unwrap_err().message().unwrap();
        assert!(message.contains("token list") && !message.contains("zQWB"), "{message}");
        assert!(token_id("nonsense").unwrap_err().message().unwrap().contains("`nonsense`"));
    }

    #[test]
    fn an_announcement_holds_both_forms_and_the_reminder() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let token: Token = serde_json::from_str(
            r#"{"id":"tok_1","label":"CI\u001b","description":"","app":"shop","environment":"production",
                "deployment":"initial","on_publish":"stop","scopes":[],"allowed_addresses":[],"rate_limit":null,
                "hint":"Lq17","status":"active","created_at":"2026-11-21T12:00:00Z","created_by":"operator",
                "expires_at":"2026-11-28T12:00:00Z","last_used_at":null,"revoked_at":null,"revoked_by":null,
                "revoke_reason":null,"successor":null,"revision":1}"#,
        )
        .unwrap();
        let minted = MintedToken {
            token,
            secret: Some("pct_x".into()),
            authorization: Some("Bearer pct_x".into()),
            query_parameter: Some("?project-protection-bypass=pct_x".into()),
        };
        assert_eq!(
            announcement(&minted, "pct_x", now),
            "Minted tok_1 “CI\\u{1b}” for shop, production.\n\
             It expires: 2026-11-28T12:00:00Z (in 7 days)\n\n    pct_x\n\n\
             To send it, as a header or at the end of the URL:\n\n    Authorization: Bearer pct_x\n    \
             ?project-protection-bypass=pct_x\n\n\
             This is the only time the value is shown: keep it where secrets are kept."
        );
    }
}
