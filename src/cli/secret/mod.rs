//! `portcullis secret …`: values that the gateway puts into upstream requests.

mod edit;
mod ending;
mod list;
mod rekey;
mod set;

use clap::Subcommand;
use jiff::Timestamp;

use super::failure::Failure;
use super::listing::path;
use super::reach::Reach;
use super::screen::Screen;
use super::text;
use crate::admin::wire::Secret;
use crate::model::{Expiry, Lifetime, SecretName};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Give a name a value, which is read from standard input
    Set(Box<set::Set>),
    /// List secrets, newest first, without their values
    List(list::List),
    /// Show one secret, without its value
    Show(list::Show),
    /// Change what a secret is for, and until when
    Edit(Box<edit::Edit>),
    /// End a secret's value for good; another may be set
    Revoke(ending::Revoke),
    /// Delete a secret, with its value
    Delete(ending::Delete),
    /// Seal every secret under a new key
    Rekey(rekey::Rekey),
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Set(set) => set.run(reach, screen),
            Self::List(list) => list.run(reach, screen),
            Self::Show(show) => show.run(reach, screen),
            Self::Edit(edit) => edit.run(reach, screen),
            Self::Revoke(revoke) => revoke.run(reach, screen),
            Self::Delete(delete) => delete.run(reach, screen),
            Self::Rekey(rekey) => rekey.run(reach, screen),
        }
    }
}

/// The path of a secret; what cannot be a name is not sent, for it may be a value.
fn at(name: &str) -> Result<String, Failure> {
    let name = SecretName::parse(name).map_err(|wrong| Failure::Usage(wrong.to_string()))?;
    Ok(path(&["v1", "secrets", name.as_str()]))
}

/// When it ends, as the API has it: `expires_in` and `expires_at`, of which one at the most is given.
type End = (Option<String>, Option<String>);

/// A lifetime such as `90d`, or `never`.
fn lifetime(text: &str) -> Result<String, String> {
    if text == "never" {
        return Ok(text.to_owned());
    }
    Lifetime::parse(text).map(|lifetime| lifetime.to_string()).map_err(|wrong| wrong.to_string())
}

/// A date or a time.
fn moment(text: &str) -> Result<String, String> {
    let wanted = "a date (2027-01-31) or an RFC 3339 time (2027-01-31T18:00:00Z)";
    Expiry::parse_at(text).map(|_| text.to_owned()).ok_or_else(|| wanted.to_owned())
}

/// What a line says of a secret.
fn described(secret: &Secret) -> String {
    let until = match secret.expires_at {
        Some(end) => format!("ends {}", super::moment::both(end, Timestamp::now())),
        None => "never ends".to_owned(),
    };
    format!("{} ({}, for {}; {until})", text::plain(&secret.name), text::plain(&secret.kind), places(secret))
}

/// Where it may be used, in words.
fn places(secret: &Secret) -> String {
    let mut places: Vec<String> = secret.apps.iter().map(|app| text::plain(app)).collect();
    places.extend(secret.products.iter().map(|product| format!("product {}", text::plain(product))));
    let apps = if places.is_empty() { "every app".to_owned() } else { places.join(", ") };
    if secret.environments.is_empty() {
        return apps;
    }
    let environments = secret.environments.iter().map(|name| text::plain(name)).collect::<Vec<_>>();
    format!("{apps} in {}", environments.join(", "))
}
