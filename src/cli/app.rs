//! `portcullis app …`: what stands behind the gateway.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use comfy_table::Cell;

use super::failure::Failure;
use super::listing::{Query, path};
use super::reach::Reach;
use super::screen::{Screen, cell};
use super::{deployment, text};
use crate::admin::wire::{self, App, Environment, ExternalAccess, Switched, Upstream};
use crate::model::AppName;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the apps and their environments
    List(List),
    /// Show one app
    Show(Show),
    /// Publish a deployment: another id ends the tokens that are pinned to the one before
    Publish(deployment::Publish),
    /// List an environment's deployments, newest first
    Deployments(deployment::History),
    /// Put a deployment away that is not the current one
    Archive(deployment::Archive),
    /// Let the tokens of an environment in, or none of them
    ExternalAccess(Switch),
}

#[derive(Args)]
pub(super) struct List {
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    /// The app's name
    app: String,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Switch {
    /// The app's name
    app: String,
    /// The environment
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// on lets tokens in; off refuses every one, and ends what they have in flight
    #[arg(value_parser = PossibleValuesParser::new(["on", "off"]))]
    access: String,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(reach, screen),
            Self::Show(show) => show.run(reach, screen),
            Self::Publish(publish) => publish.run(reach, screen),
            Self::Deployments(history) => history.run(reach, screen),
            Self::Archive(archive) => archive.run(reach, screen),
            Self::ExternalAccess(switch) => switch.run(reach, screen),
        }
    }
}

impl List {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let listing = Query::new("/v1/apps").fetch(&client)?;
        if self.json {
            return Ok(screen.json(&listing.json(&client)?)?);
        }
        let apps: Vec<App> = listing.parse(&client)?;
        if apps.is_empty() {
            screen.note("no apps; one is made with [apps.NAME.environments.…] in proxy.toml");
            return Ok(());
        }
        let rows = apps
            .iter()
            .flat_map(|app| app.environments.iter().map(move |environment| row(app, environment)))
            .collect();
        let header = ["APP", "ENVIRONMENT", "HOSTS", "UPSTREAMS", "DEPLOYMENT", "EXTERNAL ACCESS"];
        Ok(screen.rows(&header, rows)?)
    }
}

impl Show {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let name = AppName::parse(&self.app)
            .map_err(|error| Failure::Usage(format!("APP: {error}; `portcullis app list` shows them")))?;
        let answer = reach.client(screen)?.get(&format!("/v1/apps/{name}"))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let app: App = answer.json()?;
        let mut facts = vec![("app", cell(&app.name)), ("description", cell(&app.description))];
        if let Some(product) = &app.product {
            facts.push(("product", cell(product)));
        }
        for environment in &app.environments {
            facts.extend([
                ("", cell("")),
                ("environment", cell(&environment.name)),
                ("hosts", lines(&environment.hosts)),
                (source(environment), lines(&upstreams(environment))),
                ("deployment", cell(&environment.deployment)),
                ("on publish", cell(&environment.on_publish)),
                ("external access", cell(&access(&environment.external_access))),
            ]);
        }
        Ok(screen.facts(facts)?)
    }
}

impl Switch {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let path = path(&["v1", "apps", &self.app, "environments", &self.environment, "external-access"]);
        let body = wire::Switch { enabled: self.access == "on" };
        let answer = reach.client(screen)?.put(&path, &body)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let switched: Switched = answer.json()?;
        let (requests, streams) = (switched.ended.requests, switched.ended.streams);
        let place = format!("{}, {}", text::plain(&self.app), text::plain(&self.environment));
        Ok(screen.say(&if switched.external_access.open {
            format!("External access to {place} is on: its tokens are let in.")
        } else {
            format!(
                "External access to {place} is off: no token is let in.\n\
                 Ended in flight: {requests} not yet answered, {streams} being answered."
            )
        })?)
    }
}

fn row(app: &App, environment: &Environment) -> Vec<Cell> {
    vec![
        cell(&app.name),
        cell(&environment.name),
        cell(&environment.hosts.join(", ")),
        cell(&upstreams(environment).join(", ")),
        cell(&environment.deployment),
        cell(&access(&environment.external_access)),
    ]
}

/// Those that are not well are marked: what is as it should be needs no word.
fn upstreams(environment: &Environment) -> Vec<String> {
    let shown = |upstream: &Upstream| match upstream.healthy {
        true => upstream.url.clone(),
        false => format!("{} (unhealthy)", upstream.url),
    };
    environment.upstreams.iter().map(shown).collect()
}

/// What the list of upstreams is called, by who says so.
fn source(environment: &Environment) -> &'static str {
    if environment.upstreams_from == "deployment" { "upstreams (deployment's)" } else { "upstreams" }
}

fn lines(items: &[String]) -> Cell {
    let items: Vec<_> = items.iter().map(|item| text::plain(item)).collect();
    Cell::new(items.join("\n"))
}

fn access(access: &ExternalAccess) -> String {
    match (access.open, access.mode.as_str()) {
        (true, _) => "open".to_owned(),
        (false, "on-first-token") => "closed until the first token".to_owned(),
        (false, _) => "closed".to_owned(),
    }
}
