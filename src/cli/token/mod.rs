//! `portcullis token …`: mint, list, show, edit, rotate, revoke and delete external access tokens, and ask why one was
//! refused.

mod creation;
mod edit;
mod ending;
mod facts;
mod list;
mod refusal;
mod rotation;

use clap::Subcommand;
use jiff::Timestamp;

use super::client::Client;
use super::failure::Failure;
use super::reach::Reach;
use super::screen::Screen;
use super::{mint, moment, text};
use crate::admin::wire::{MintedToken, Token};
use crate::model::{Expiry, Lifetime, TokenId};

pub(super) use list::table;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Mint a token and print its value, this once
    Create(creation::Create),
    /// List tokens, newest first
    List(list::List),
    /// Show all that is known about a token
    Show(facts::Show),
    /// Change what a token is called and may do, or let it end earlier
    Edit(edit::Edit),
    /// Mint a successor with the same bindings; the old value lives on for an overlap
    Rotate(rotation::Rotate),
    /// End a token for good, with the requests it has in flight
    Revoke(ending::Revoke),
    /// Revoke a token and forget it
    Delete(ending::Delete),
    /// Tell why the gateway refused a request, or list its recent refusals
    Explain(refusal::Explain),
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(reach, screen),
            Self::List(list) => list.run(&reach.client(screen)?, screen),
            Self::Show(show) => show.run(reach, screen),
            Self::Edit(edit) => edit.run(reach, screen),
            Self::Rotate(rotate) => rotate.run(reach, screen),
            Self::Revoke(revoke) => revoke.run(reach, screen),
            Self::Delete(delete) => delete.run(reach, screen),
            Self::Explain(explain) => explain.run(reach, screen),
        }
    }
}

/// How the one answer that holds a value is printed.
#[derive(clap::Args)]
struct Form {
    /// Print the value and nothing else
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Form {
    /// Prints a minted token in this form, for people under what `heading` says of it.
    fn print(
        &self,
        answer: &super::client::Answer,
        screen: &Screen,
        heading: impl FnOnce(&Token) -> String,
    ) -> Result<(), Failure> {
        let minted: MintedToken = answer.json()?;
        let secret = minted.secret.as_deref().ok_or_else(|| mint::withheld("token", &minted.token.id))?;
        let written = if self.json {
            screen.json(&answer.body)
        } else if self.quiet {
            screen.say(secret)
        } else {
            screen.say(&announcement(&minted, secret, &heading(&minted.token)))
        };
        written.map_err(|error| mint::lost("token", &minted.token.id, &error))
    }
}

/// `expires_in` and `expires_at` as the API takes them.
pub(super) type End = (Option<String>, Option<String>);

fn expiry(wish: &str) -> Option<End> {
    if wish == "never" || Lifetime::parse(wish).is_ok() {
        return Some((Some(wish.to_owned()), None));
    }
    Expiry::parse_at(wish).map(|_| (None, Some(wish.to_owned())))
}

/// What `--expires` says, or what would be right.
fn understood(wish: &str, reach: &Reach) -> Result<End, Failure> {
    expiry(wish).ok_or_else(|| {
        let (wish, choices) = (text::plain(wish), reach.expiry_choices());
        Failure::Usage(format!("--expires: `{wish}` is none of what it takes: {choices}"))
    })
}

/// The same where it has to be there. Clap, where it is not required, could not list the choices.
pub(super) fn required_expiry(wish: Option<&str>, reach: &Reach) -> Result<End, Failure> {
    match wish {
        Some(wish) => understood(wish, reach),
        None => Err(Failure::Usage(format!("--expires is required; it takes {}", reach.expiry_choices()))),
    }
}

fn token_id(text: &str) -> Result<TokenId, Failure> {
    TokenId::parse(text).ok_or_else(|| mint::not_an_id(text, "token", "tok_"))
}

fn find(client: &Client, id: TokenId) -> Result<Token, Failure> {
    Ok(client.get(&format!("/v1/tokens/{id}"))?.json()?)
}

fn announcement(minted: &MintedToken, secret: &str, heading: &str) -> String {
    let authorization =
        minted.authorization.as_ref().map_or_else(|| format!("Bearer {secret}"), |value| text::plain(value));
    let query = minted.query_parameter.as_ref().map_or_else(
        || "(switched off: tokens.query_parameter is empty)".to_owned(),
        |value| text::plain(value),
    );
    format!(
        "{heading}\n\n    {secret}\n\n\
         To send it, as a header or at the end of the URL:\n\n    Authorization: {authorization}\n    {query}\n\n\
         This is the only time the value is shown: keep it where secrets are kept.",
        secret = text::plain(secret),
    )
}

/// A token in a sentence.
pub(super) fn described(token: &Token) -> String {
    let label =
        if token.label.is_empty() { String::new() } else { format!(" “{}”", text::plain(&token.label)) };
    let app = if token.app == "*" { "every app".to_owned() } else { text::plain(&token.app) };
    format!("{}{label} for {app}, {}", text::plain(&token.id), text::plain(&token.environment))
}

pub(super) fn ends(token: &Token, now: Timestamp) -> String {
    token.ends_at.map_or_else(|| "never".to_owned(), |at| moment::both(at, now))
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
                "expires_at":"2026-11-28T12:00:00Z","ends_at":"2026-11-28T12:00:00Z","last_used_at":null,"revoked_at":null,"revoked_by":null,
                "revoke_reason":null,"successor":null,"revision":1}"#,
        )
        .unwrap();
        let heading = creation::announced(&token, now);
        let minted = MintedToken {
            token,
            secret: Some("pct_x".into()),
            authorization: Some("Bearer pct_x".into()),
            query_parameter: Some("?project-protection-bypass=pct_x".into()),
        };
        assert_eq!(
            announcement(&minted, "pct_x", &heading),
            "Minted tok_1 “CI\\u{1b}” for shop, production.\n\
             It expires: 2026-11-28T12:00:00Z (in 7 days)\n\
             It ends sooner, when another deployment than initial is published, unless it is minted with \
             --on-publish keep.\n\n    pct_x\n\n\
             To send it, as a header or at the end of the URL:\n\n    Authorization: Bearer pct_x\n    \
             ?project-protection-bypass=pct_x\n\n\
             This is the only time the value is shown: keep it where secrets are kept."
        );
    }
}
