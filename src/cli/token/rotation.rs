//! `portcullis token rotate`.

use clap::Args;
use jiff::Timestamp;

use super::{Form, creation, described, find, token_id};
use crate::admin::wire;
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::{Screen, require_consent};
use crate::cli::text;
use crate::model::Lifetime;

#[derive(Args)]
pub(in crate::cli) struct Rotate {
    /// The token's id (tok_…)
    id: String,
    /// How long the old value works beside the new one; 0s ends it at once [default: 1h]
    #[arg(long, value_name = "TIME")]
    overlap: Option<String>,
    /// When the new value ends: a lifetime such as 7d, or never [default: the old one's lifetime, counted anew]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    form: Form,
}

impl Rotate {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let id = token_id(&self.id)?;
        let overlap = self.overlap.as_deref().map(|wish| lifetime("overlap", wish)).transpose()?;
        if let Some(wish) = self.expires.as_deref().filter(|wish| *wish != "never") {
            lifetime("expires", wish)?;
        }
        let at_once = overlap.is_some_and(|overlap| overlap.fixed().is_some_and(|time| time.is_zero()));
        if at_once {
            require_consent(self.yes)?;
        }
        let client = reach.client(screen)?;
        if at_once && !self.yes {
            screen.confirm(&format!(
                "End the value of {} at once, with its requests? It cannot be undone.",
                described(&find(&client, id)?)
            ))?;
        }
        let answer = client.post_once(
            &format!("/v1/tokens/{id}/rotate"),
            &wire::Rotate { overlap: self.overlap.clone(), expires_in: self.expires.clone() },
        )?;
        self.form.print(&answer, screen, |token| {
            let heading = creation::heading(token, Timestamp::now());
            let overlap = text::plain(self.overlap.as_deref().unwrap_or("1h"));
            let old = if at_once {
                format!("The value of {id} has ended.")
            } else {
                format!(
                    "The value of {id} works for {overlap} more, or until its own end where that is sooner."
                )
            };
            format!("{heading}\n{old}")
        })
    }
}

fn lifetime(flag: &str, wish: &str) -> Result<Lifetime, Failure> {
    Lifetime::parse(wish).map_err(|error| Failure::Usage(format!("--{flag}: {error}")))
}
