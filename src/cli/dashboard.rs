//! `portcullis dashboard`: a link that signs a browser in, once; and the end of all who are signed in.

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::moment;
use super::reach::Reach;
use super::screen::Screen;
use crate::admin::wire;

#[derive(Args)]
pub(super) struct Dashboard {
    /// Sign everybody out instead, and let nobody in by a link printed before
    #[arg(long)]
    sign_out_all: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Dashboard {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let answer = if self.sign_out_all {
            client.delete("/v1/dashboard-sessions")?
        } else {
            client.post("/v1/dashboard-links", &json!({}))?
        };
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        if self.sign_out_all {
            let wire::DashboardSessionsEnded { ended } = answer.json()?;
            let sessions = if ended == 1 { "session" } else { "sessions" };
            return Ok(screen.say(&format!(
                "{ended} {sessions} ended. Links that were not followed yet work no more."
            ))?);
        }
        let link: wire::DashboardLink = answer.json()?;
        screen.say(&link.url)?;
        let expires = moment::both(link.expires_at, jiff::Timestamp::now());
        screen.note(&format!("It signs a browser in once, as you are here, and expires {expires}."));
        Ok(())
    }
}
