//! `portcullis key …`: mint, list and revoke management keys.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::client::{Answer, Client};
use super::failure::Failure;
use super::listing::{Pages, Query};
use super::reach::Reach;
use super::screen::{Screen, cell, require_consent};
use super::{mint, moment, text};
use crate::admin::wire::{Key, MintKey, MintedKey, RevokedKey};
use crate::model::{KeyId, Lifetime, Scope};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Mint a management key for a member, who is made where new, and print its value, this once
    Create(Create),
    /// List management keys, newest first
    List(List),
    /// End a management key for good
    Revoke(Cancel),
}

#[derive(Args)]
pub(super) struct Create {
    /// Whose key it is
    #[arg(long, value_name = "NAME")]
    member: String,
    /// What it may do
    #[arg(
        long,
        required = true,
        visible_alias = "scope",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str))
    )]
    scopes: Vec<String>,
    /// Bind it to one app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// A name to know the key by
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// When it ends: a lifetime such as 30d, or never [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// How the one answer that holds a value is printed.
#[derive(Args)]
pub(super) struct Form {
    /// Print the value and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(super) quiet: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    pages: Pages,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Cancel {
    /// The key's id (key_…)
    id: String,
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
            Self::List(list) => list.run(reach, screen),
            Self::Revoke(cancel) => cancel.run(reach, screen),
        }
    }
}

/// Mints a key of the member `name` that reaches every app and does not expire.
pub(super) fn mint(
    client: &Client,
    name: &str,
    scopes: Vec<String>,
    form: &Form,
    screen: &Screen,
) -> Result<(), Failure> {
    form.print(
        &client.post_once("/v1/keys", &MintKey { member: name.to_owned(), scopes, ..MintKey::default() })?,
        screen,
    )
}

impl Create {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let body = MintKey {
            member: self.member.clone(),
            scopes: self.scopes.clone(),
            app: self.app.clone(),
            label: self.label.clone(),
            expires_in: lifetime(self.expires.as_deref())?,
        };
        self.form.print(&reach.client(screen)?.post_once("/v1/keys", &body)?, screen)
    }
}

impl Form {
    fn print(&self, answer: &Answer, screen: &Screen) -> Result<(), Failure> {
        let minted: MintedKey = answer.json()?;
        let secret = minted.secret.as_deref().ok_or_else(|| mint::withheld("key", &minted.key.id))?;
        let written = if self.json {
            screen.json(&answer.body)
        } else if self.quiet {
            screen.say(secret)
        } else {
            screen.say(&format!(
                "Minted {}, which may {}.\nIt expires: {}\n\n    {}\n\n\
                 To use it: `portcullis --admin URL …` with the value in PORTCULLIS_KEY, or in requests to the admin \
                 API as\n\n    Authorization: Bearer {}\n\n\
                 This is the only time the value is shown: keep it where secrets are kept.",
                described(&minted.key),
                text::plain(&minted.key.scopes.join(", ")),
                ends(&minted.key, Timestamp::now()),
                text::plain(secret),
                text::plain(secret),
            ))
        };
        written.map_err(|error| mint::lost("key", &minted.key.id, &error))
    }
}

impl List {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let listing = Query::new("/v1/keys").pages(&self.pages).fetch(&client)?;
        let header = ["ID", "MEMBER", "LABEL", "SCOPES", "APP", "STATUS", "HINT", "EXPIRES", "LAST USED"];
        let none = "no management keys; `portcullis key create` mints one";
        listing.print(&client, screen, self.json, none, header, |key: &Key, now| {
            [
                cell(&key.id),
                cell(&key.member),
                cell(&key.label),
                cell(&key.scopes.join(", ")),
                cell(key.app.as_deref().unwrap_or("every app")),
                screen.status(&key.status),
                cell(&format!("…{}", key.hint)),
                cell(&moment::away(key.expires_at, now)),
                cell(&moment::away(key.last_used_at, now)),
            ]
        })
    }
}

impl Cancel {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let id = KeyId::parse(&self.id).ok_or_else(|| mint::not_an_id(&self.id, "key", "key_"))?;
        require_consent(self.yes)?;
        let client = reach.client(screen)?;
        if !self.yes {
            screen.confirm(&format!("Revoke the management key {id}? It cannot be undone."))?;
        }
        let answer = client.delete(&format!("/v1/keys/{id}"))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let revoked: RevokedKey = answer.json()?;
        let (key, now) = (&revoked.key, Timestamp::now());
        let since = moment::since(key.revoked_at, key.revoked_by.as_deref(), now);
        Ok(screen.say(&format!("Revoked {}{since}.", described(key)))?)
    }
}

/// `expires_in` as the API takes it.
fn lifetime(wish: Option<&str>) -> Result<Option<String>, Failure> {
    match wish {
        None | Some("never") => Ok(None),
        Some(wish) => match Lifetime::parse(wish) {
            Ok(lifetime) => Ok(Some(lifetime.to_string())),
            Err(error) => Err(Failure::Usage(format!("--expires: {error}, or `never`"))),
        },
    }
}

/// A key in a sentence.
fn described(key: &Key) -> String {
    let label =
        if key.label.is_empty() { String::new() } else { format!(" “{}”", text::plain(&key.label)) };
    format!("{}{label} of {}", text::plain(&key.id), text::plain(&key.member))
}

fn ends(key: &Key, now: Timestamp) -> String {
    key.expires_at.map_or_else(|| "never".to_owned(), |at| moment::both(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_after_a_lifetime_or_never() {
        assert_eq!(lifetime(Some("30d")).unwrap().as_deref(), Some("30d"));
        assert_eq!(lifetime(Some("never")).unwrap(), None);
        assert_eq!(lifetime(None).unwrap(), None);
        assert_eq!(lifetime(Some("2026-12-31")).unwrap_err().code(), 2);
    }
}
