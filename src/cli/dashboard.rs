//! `portcullis dashboard`: a link that signs a browser in, once.

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::moment;
use super::reach::Reach;
use super::screen::Screen;
use crate::admin::wire;

#[derive(Args)]
pub(super) struct Dashboard {
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Dashboard {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let answer = reach.client(screen)?.post("/v1/dashboard-links", &json!({}))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let link: wire::DashboardLink = answer.json()?;
        screen.say(&link.url)?;
        let expires = moment::both(link.expires_at, jiff::Timestamp::now());
        screen.note(&format!("It signs a browser in once, as you are here, and expires {expires}."));
        Ok(())
    }
}
