//! `portcullis secret edit`.

use clap::Args;

use super::{at, described, lifetime, moment};
use crate::admin::wire::{EditSecret, Secret};
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::Screen;

/// What is left out stays as it is, the value in any case
#[derive(Args)]
pub(in crate::cli) struct Edit {
    /// The secret's name
    name: String,
    /// What it is for; "" for nothing
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only for this app, in place of those it has; may be repeated
    #[arg(long = "app", value_name = "APP", conflicts_with = "no_app")]
    apps: Vec<String>,
    /// For no app in particular
    #[arg(long)]
    no_app: bool,
    /// Only for the apps of this product, in place of those it has; may be repeated
    #[arg(long = "product", value_name = "PRODUCT", conflicts_with = "no_product")]
    products: Vec<String>,
    /// For no product in particular
    #[arg(long)]
    no_product: bool,
    /// Only in environments of this name, in place of those it has; may be repeated
    #[arg(long = "environment", value_name = "ENV", conflicts_with = "no_environment")]
    environments: Vec<String>,
    /// In every environment
    #[arg(long)]
    no_environment: bool,
    /// When it ends: a lifetime such as 90d, or never
    #[arg(long, value_name = "LIFETIME", value_parser = lifetime, conflicts_with = "expires_at")]
    expires: Option<String>,
    /// When it ends: a date, which counts to its end, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    expires_at: Option<String>,
    /// Only if nobody has set or edited it since it had this revision (`secret show --json` tells it)
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Edit {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let path = at(&self.name)?;
        let edit = EditSecret {
            description: self.description.clone(),
            apps: list(&self.apps, self.no_app),
            products: list(&self.products, self.no_product),
            environments: list(&self.environments, self.no_environment),
            expires_in: self.expires.clone(),
            expires_at: self.expires_at.clone().map(Some),
        };
        if edit == EditSecret::default() {
            return Err(Failure::Usage(
                "nothing is to be changed: `portcullis secret edit --help`".to_owned(),
            ));
        }
        let answer = reach.client(screen)?.patch(&path, &edit, self.revision)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let secret: Secret = answer.json()?;
        Ok(screen.say(&format!("Edited {}.", described(&secret)))?)
    }
}

/// A list in place of the one that is there, which may be empty.
fn list(items: &[String], none: bool) -> Option<Vec<String>> {
    (none || !items.is_empty()).then(|| items.to_vec())
}
