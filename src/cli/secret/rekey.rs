//! `portcullis secret rekey`.

use clap::Args;
use serde_json::json;

use crate::admin::wire::Rekeyed;
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::Screen;

/// Makes another key, seals every secret with it, all of them or none, and puts it in the place of the one before. Copies
/// of the old key open nothing of what is stored from here on
#[derive(Args)]
pub(in crate::cli) struct Rekey {
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Rekey {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let answer = reach.client(screen)?.post_once("/v1/secrets/rekey", &json!({}))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let done: Rekeyed = answer.json()?;
        screen.note("keep a copy of the new key file, apart from the store's copies");
        Ok(screen.say(&format!("Sealed {} secrets with the new key {}.", done.secrets, done.key))?)
    }
}
