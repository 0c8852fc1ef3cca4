//! `portcullis secret revoke` and `portcullis secret delete`.

use clap::Args;

use super::{at, described};
use crate::admin::wire::Secret;
use crate::cli::client::{Answer, Client};
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::{Screen, require_consent};

#[derive(Args)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    ending: Ending,
}

#[derive(Args)]
pub(in crate::cli) struct Delete {
    #[command(flatten)]
    ending: Ending,
}

#[derive(Args)]
struct Ending {
    /// The secret's name
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Revoke {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        self.ending.run(reach, screen, ["Revoke", "Revoked"], |client, path| {
            Ok(client.post(&format!("{path}/revoke"), &serde_json::json!({}))?)
        })
    }
}

impl Delete {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        self.ending.run(reach, screen, ["Delete", "Deleted"], |client, path| Ok(client.delete(path)?))
    }
}

impl Ending {
    /// Asks, ends the secret, and tells who goes without. The words: what to do, and what was done.
    fn run(
        &self,
        reach: &Reach,
        screen: &Screen,
        [order, done]: [&str; 2],
        end: impl FnOnce(&Client, &str) -> Result<Answer, Failure>,
    ) -> Result<(), Failure> {
        let path = at(&self.name)?;
        require_consent(self.yes)?;
        let client = reach.client(screen)?;
        if !self.yes {
            let secret: Secret = client.get(&path)?.json()?;
            let meaning = match needed_by(&secret) {
                Some(needed) => format!("Requests to {needed} need it and will be refused. "),
                None => String::new(),
            };
            screen.confirm(&format!("{order} {}? {meaning}It cannot be undone.", described(&secret)))?;
        }
        let answer = end(&client, &path)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let secret: Secret = answer.json()?;
        if let Some(needed) = needed_by(&secret) {
            screen.note(&format!("requests to {needed} are refused until another value is set"));
        }
        Ok(screen.say(&format!("{done} {}.", described(&secret)))?)
    }
}

fn needed_by(secret: &Secret) -> Option<String> {
    let used = secret.used_by.iter().map(|used| format!("{} in {}", used.app, used.environment));
    let used = used.collect::<Vec<_>>().join(", ");
    (!used.is_empty()).then_some(used)
}
