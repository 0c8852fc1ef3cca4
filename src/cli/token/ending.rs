//! `portcullis token revoke` and `portcullis token delete`.

use clap::Args;
use jiff::Timestamp;

use super::{described, find, token_id};
use crate::admin::wire::{self, RevokedToken};
use crate::cli::client::{Answer, Client};
use crate::cli::failure::Failure;
use crate::cli::moment;
use crate::cli::reach::Reach;
use crate::cli::screen::{Screen, require_consent};
use crate::model::TokenId;

#[derive(Args)]
pub(in crate::cli) struct Revoke {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
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
    /// The token's id (tok_…)
    id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

const REVOKED: &str = "Revoked";

impl Revoke {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let words = ["Revoke", REVOKED, "Its requests end at once, and it cannot be undone."];
        self.ending.run(reach, screen, words, |client, id| {
            let reason = wire::Revoke { reason: self.reason.clone() };
            Ok(client.post(&format!("/v1/tokens/{id}/revoke"), &reason)?)
        })
    }
}

impl Delete {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let words = [
            "Delete",
            "Deleted",
            "Its requests end at once, nobody will be told any more that it was there, and it cannot be undone.",
        ];
        self.ending.run(reach, screen, words, |client, id| Ok(client.delete(&format!("/v1/tokens/{id}"))?))
    }
}

impl Ending {
    /// Asks, ends the token, and tells what that stopped. The words: what to do, what was done, what it means.
    fn run(
        &self,
        reach: &Reach,
        screen: &Screen,
        [order, done, meaning]: [&str; 3],
        end: impl FnOnce(&Client, TokenId) -> Result<Answer, Failure>,
    ) -> Result<(), Failure> {
        let id = token_id(&self.id)?;
        require_consent(self.yes)?;
        let client = reach.client(screen)?;
        if !self.yes {
            screen.confirm(&format!("{order} {}? {meaning}", described(&find(&client, id)?)))?;
        }
        let answer = end(&client, id)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let ended: RevokedToken = answer.json()?;
        let (requests, streams) = (ended.ended.requests, ended.ended.streams);
        let (token, now) = (&ended.token, Timestamp::now());
        let since = moment::since(token.revoked_at, token.revoked_by.as_deref(), now);
        Ok(screen.say(&format!(
            "{done} {}{}.\nEnded in flight: {requests} not yet answered, {streams} being answered.",
            described(token),
            if done == REVOKED { &since } else { "" },
        ))?)
    }
}
