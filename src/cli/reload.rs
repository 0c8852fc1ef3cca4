//! `portcullis reload`: a running gateway reads its configuration again.

use clap::Args;
use serde_json::json;

use super::client::ClientError;
use super::failure::Failure;
use super::reach::Reach;
use super::screen::Screen;
use super::text::plain;
use crate::admin::wire::{Problem, Reloaded};

#[derive(Args)]
pub(super) struct Reload {
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen).map_err(|failure| match failure {
            Failure::Configuration(lines) => Failure::Configuration(format!(
                "{lines}\nerror: the configuration has mistakes, so the gateway was not asked"
            )),
            failure => failure,
        })?;
        let answer = match client.post("/v1/reload", &json!({})) {
            Err(ClientError::Refused(problem)) if !problem.errors.is_empty() => {
                return Err(mistakes(&problem));
            }
            answer => answer?,
        };
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let Reloaded { changed, restart_needed, warnings } = answer.json()?;
        for warning in &warnings {
            screen.note(&format!("warning: {}", plain(warning)));
        }
        let mut text =
            if changed.is_empty() { "Nothing has changed.".to_owned() } else { "Changed:".to_owned() };
        for key in &changed {
            text = format!("{text}\n  {}", plain(key));
        }
        if !restart_needed.is_empty() {
            text.push_str("\nOnly a restart changes:");
        }
        for key in &restart_needed {
            text = format!("{text}\n  {}", plain(key));
        }
        Ok(screen.say(&text)?)
    }
}

/// The mistakes of the gateway's file, each on its line: this command line was in order.
fn mistakes(problem: &Problem) -> Failure {
    let mut text = format!("error: {}", plain(&problem.detail));
    for error in &problem.errors {
        text = format!("{text}\n  {}: {}", plain(&error.field), plain(&error.message));
    }
    Failure::Configuration(text)
}
