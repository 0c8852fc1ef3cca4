//! `portcullis app publish`, `deployments` and `archive`: the releases of an environment.

use clap::Args;

use super::client::Client;
use super::failure::Failure;
use super::listing::{Pages, Query, path};
use super::reach::Reach;
use super::screen::{Screen, cell, require_consent};
use super::token;
use super::{moment, text};
use crate::admin::wire::{self, Deployment, Prospect, Published};

#[derive(Args)]
pub(super) struct Place {
    /// The app's name
    app: String,
    /// The environment
    #[arg(long, value_name = "ENV")]
    environment: String,
}

#[derive(Args)]
pub(super) struct Publish {
    #[command(flatten)]
    place: Place,
    /// What the deployment is called. The current id again is a new release of it, and ends no token
    #[arg(long, value_name = "ID")]
    deployment: String,
    /// Where it is served; may be repeated [default: the configuration's upstreams]
    #[arg(long = "upstream", value_name = "URL")]
    upstreams: Vec<String>,
    /// Change nothing, and list the tokens that would end
    #[arg(long)]
    dry_run: bool,
    /// Do not ask, where tokens would end
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct History {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    pages: Pages,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Archive {
    #[command(flatten)]
    place: Place,
    /// Which deployment
    #[arg(long, value_name = "ID")]
    deployment: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Place {
    /// The path of this environment's deployments, or of something below it.
    fn path(&self, rest: &[&str]) -> String {
        path(&[&["v1", "apps", &self.app, "environments", &self.environment, "deployments"], rest].concat())
    }

    fn in_words(&self) -> String {
        format!("{}, {}", text::plain(&self.app), text::plain(&self.environment))
    }
}

impl Publish {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        if self.dry_run {
            let answer = client.post(&self.look_ahead(), &self.body())?;
            return if self.json { Ok(screen.json(&answer.body)?) } else { tell(&answer.json()?, screen) };
        }
        if !self.yes {
            self.ask(&client, screen)?;
        }
        let answer = client.post_once(&self.place.path(&[]), &self.body())?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let published: Published = answer.json()?;
        let id = text::plain(&published.deployment.id);
        let (place, ended) = (self.place.in_words(), published.tokens_ended);
        Ok(screen.say(&format!("Published {id} for {place}.\nTokens ended: {ended}."))?)
    }

    /// Asks where tokens would end. Most releases end none, and ask nothing.
    fn ask(&self, client: &Client, screen: &Screen) -> Result<(), Failure> {
        let prospect: Prospect = client.post(&self.look_ahead(), &self.body())?.json()?;
        let count = prospect.would_end_count;
        if count == 0 {
            return Ok(());
        }
        require_consent(false).map_err(|_| {
            Failure::Usage(format!(
                "this would end {count} of the environment's tokens, for good, and there is no terminal to ask on: \
                 look with --dry-run, then repeat it with --yes; nothing was changed"
            ))
        })?;
        let question = format!(
            "Publish {} for {}? It ends {count} tokens (--dry-run lists them), and cannot be undone.",
            text::plain(&self.deployment),
            self.place.in_words()
        );
        screen.confirm(&question)
    }

    fn look_ahead(&self) -> String {
        self.place.path(&[]) + "?dry_run=true"
    }

    fn body(&self) -> wire::Publish {
        let upstreams = (!self.upstreams.is_empty()).then(|| self.upstreams.clone());
        wire::Publish { id: self.deployment.clone(), upstreams }
    }
}

/// What a publish would do.
fn tell(prospect: &Prospect, screen: &Screen) -> Result<(), Failure> {
    for (tokens, count, fate) in [
        (&prospect.would_end, prospect.would_end_count, "end"),
        (&prospect.would_keep, prospect.would_keep_count, "live on"),
    ] {
        screen.say(&format!("{count} of the environment's tokens would {fate}."))?;
        if !tokens.is_empty() {
            token::table(tokens, screen)?;
        }
        let hidden = count.saturating_sub(tokens.len() as u64);
        if hidden > 0 {
            screen.note(&format!("{hidden} of them are not shown: others' tokens, or past the first 1000"));
        }
    }
    screen.note("nothing was changed");
    Ok(())
}

impl History {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let listing = Query::new(self.place.path(&[])).pages(&self.pages).fetch(&client)?;
        let header = ["ID", "STANDS", "PUBLISHED", "BY", "LAST RELEASE", "UPSTREAMS"];
        listing.print(&client, screen, self.json, "no deployments", header, |deployment: &Deployment, now| {
            let stands = match (deployment.current, deployment.archived_at) {
                (true, _) => "current",
                (false, Some(_)) => "archived",
                (false, None) => "replaced",
            };
            let upstreams = deployment.upstreams.as_ref().map(|urls| urls.join(", "));
            [
                cell(&deployment.id),
                cell(stands),
                cell(&moment::away(deployment.published_at, now)),
                cell(deployment.published_by.as_deref().unwrap_or("")),
                cell(&moment::away(deployment.released_at, now)),
                cell(upstreams.as_deref().unwrap_or("the configuration's")),
            ]
        })
    }
}

impl Archive {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        require_consent(self.yes)?;
        let client = reach.client(screen)?;
        let (id, place) = (text::plain(&self.deployment), self.place.in_words());
        if !self.yes {
            screen.confirm(&format!("Archive {id} of {place}? It cannot be undone."))?;
        }
        let answer = client.delete(&self.place.path(&[&self.deployment]))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        Ok(screen.say(&format!("Archived {id} of {place}."))?)
    }
}
