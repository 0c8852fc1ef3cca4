//! `portcullis whoami`: as whom the admin side takes this command line.

use clap::Args;

use super::failure::Failure;
use super::reach::Reach;
use super::screen::{Screen, cell};
use crate::admin::wire;

#[derive(Args)]
pub(super) struct Whoami {
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Whoami {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let answer = reach.client(screen)?.get("/v1/whoami")?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let who: wire::Whoami = answer.json()?;
        Ok(screen.facts([
            ("member", cell(who.member.as_deref().unwrap_or("none: the operator, on the admin socket"))),
            ("scopes", cell(&who.scopes.join(", "))),
            ("app", cell(who.app.as_deref().unwrap_or("every app"))),
        ])?)
    }
}
