//! Apps, their environments, and the switch for external access.

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;
use std::sync::atomic::Ordering;

use super::chart::{self, Chart};
use super::deployments::Release;
use super::page::{Frame, html};
use super::secrets::Lack;
use super::words::{self, counted};
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::board::Board;
use crate::board::upstream::Whose;
use crate::config::{App, ExternalAccess};
use crate::control::{AppView, EnvironmentView, Faults, ListDeployments, Needed};
use crate::model::Upstream;

/// Apps on a page.
const APPS: usize = 50;
/// Upstreams of one environment that are listed.
const UPSTREAMS: usize = 16;
/// Secrets named that environments lack.
const LACKS: usize = 16;
/// Deployments that are listed.
const DEPLOYMENTS: &str = "8";

#[derive(Template)]
#[template(path = "apps.html")]
struct List {
    frame: Frame,
    apps: Vec<Entry>,
    /// The number of the next page.
    next: Option<usize>,
    beyond: bool,
}

struct Entry {
    name: String,
    description: String,
    environments: Vec<Brief>,
}

struct Brief {
    name: String,
    host: String,
    more_hosts: usize,
    open: bool,
    deployment: String,
    /// Of the upstreams that are checked; `None`: none is.
    healthy: Option<usize>,
    upstreams: usize,
    lacks: bool,
}

#[derive(Template)]
#[template(path = "app.html")]
struct Page {
    frame: Frame,
    name: String,
    description: String,
    product: Option<String>,
    lacks: Vec<Lack>,
    more_lacks: usize,
    environments: Vec<Environment>,
}

struct Environment {
    name: String,
    hosts: Vec<String>,
    upstreams: Vec<Health>,
    more_upstreams: usize,
    released: bool,
    deployment: String,
    on_publish: String,
    open: bool,
    /// Who decides: `on-first-token`, `on` or `off`.
    mode: &'static str,
    switchable: bool,
    history: Vec<Release>,
    charts: Vec<Chart>,
}

struct Health {
    url: String,
    /// `None`: nobody checks it.
    healthy: Option<bool>,
    in_flight: usize,
    retries: u64,
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move {
        let all = ask.state.control.list_apps(ask.caller()?).await?;
        let number =
            ask.query().filled("page").and_then(|number| number.parse::<usize>().ok()).unwrap_or(1).max(1);
        let before = (number - 1).saturating_mul(APPS);
        let unmet = ask.state.control.needs().unmet();
        let apps = all.iter().skip(before).take(APPS).map(|view| Entry {
            name: view.app.name.to_string(),
            description: view.app.description.clone(),
            environments: view
                .environments
                .iter()
                .map(|e| brief(&view.app, e, &unmet, &ask.state.board))
                .collect(),
        });
        let page = List {
            frame: ask.frame("apps", "Apps"),
            apps: apps.collect(),
            next: (all.len() > before.saturating_add(APPS)).then(|| number + 1),
            beyond: number > 1,
        };
        html(StatusCode::OK, &page)
    })
}

fn brief(app: &App, view: &EnvironmentView, unmet: &[Needed], board: &Board) -> Brief {
    let addresses = upstreams(view);
    let hosts = &view.environment.hosts;
    let checked = view.environment.health_check.is_some();
    let is_healthy = |address: &&Upstream| health(app, view, address, board).healthy == Some(true);
    Brief {
        name: view.environment.name.to_string(),
        host: hosts.first().map(ToString::to_string).unwrap_or_default(),
        more_hosts: hosts.len().saturating_sub(1),
        open: view.open,
        deployment: view.deployment.to_string(),
        healthy: checked.then(|| addresses.iter().filter(is_healthy).count()),
        upstreams: addresses.len(),
        lacks: unmet.iter().any(|lack| lack.app == app.name && lack.environment == view.environment.name),
    }
}

pub(in crate::admin) fn show(ask: Ask) -> Answer {
    Box::pin(async move {
        let control = &ask.state.control;
        let view = control.show_app(ask.caller()?, ask.name(0)).await?;
        let now = control.now();
        let mut environments = Vec::new();
        for environment in &view.environments {
            environments.push(told(&ask, &view, environment, now).await?);
        }
        let unmet = control.needs().unmet();
        let lacks = || unmet.iter().filter(|lack| lack.app == view.app.name);
        let page = Page {
            frame: ask.frame("apps", format!("App {}", view.app.name)),
            lacks: lacks().take(LACKS).map(Lack::new).collect(),
            more_lacks: lacks().count().saturating_sub(LACKS),
            name: view.app.name.to_string(),
            description: view.app.description.clone(),
            product: view.app.product.clone(),
            environments,
        };
        html(StatusCode::OK, &page)
    })
}

async fn told(
    ask: &Ask,
    view: &AppView,
    environment: &EnvironmentView,
    now: Timestamp,
) -> Result<Environment, Problem> {
    let (control, board) = (&ask.state.control, &ask.state.board);
    let asked = ListDeployments {
        app: view.app.name.to_string(),
        environment: environment.environment.name.to_string(),
        limit: Some(DEPLOYMENTS.to_owned()),
        ..ListDeployments::default()
    };
    let history = control.list_deployments(ask.caller()?, asked).await?;
    let lately = board.lately(&view.app.name, &environment.environment.name, now.as_millisecond());
    let addresses = upstreams(environment);
    let shown = addresses.iter().take(UPSTREAMS);
    Ok(Environment {
        name: environment.environment.name.to_string(),
        hosts: environment.environment.hosts.iter().map(ToString::to_string).collect(),
        upstreams: shown.map(|address| health(&view.app, environment, address, board)).collect(),
        more_upstreams: addresses.len().saturating_sub(UPSTREAMS),
        released: environment.released.is_some(),
        deployment: environment.deployment.to_string(),
        on_publish: words::on_publish(environment.environment.on_publish),
        open: environment.open,
        mode: environment.environment.external_access.as_str(),
        switchable: environment.environment.external_access == ExternalAccess::OnFirstToken,
        history: history.items.iter().map(|deployment| Release::new(deployment, now)).collect(),
        charts: chart::charts(lately.as_ref()),
    })
}

fn upstreams(view: &EnvironmentView) -> &[Upstream] {
    view.released.as_deref().unwrap_or(&view.environment.upstreams)
}

fn health(app: &App, view: &EnvironmentView, address: &Upstream, board: &Board) -> Health {
    let checked = view.environment.health_check.is_some();
    let (app, environment) = (app.name.clone(), view.environment.name.clone());
    let standing = board.upstreams.find(&Whose { app, environment, address: address.clone() });
    Health {
        url: address.to_string(),
        healthy: checked.then(|| standing.as_ref().is_none_or(|standing| standing.is_healthy())),
        in_flight: standing.as_ref().map_or(0, |standing| standing.in_flight.load(Ordering::Relaxed)),
        retries: standing.as_ref().map_or(0, |standing| standing.retries.get()),
    }
}

pub(in crate::admin) fn switch(ask: Ask) -> Answer {
    Box::pin(async move {
        let on = match ask.form.raw("enabled") {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        let (app, environment) = (ask.name(0), ask.name(1));
        let control = &ask.state.control;
        let switched =
            control.switch_external_access(ask.caller()?, app, environment, on, Faults::default()).await?;
        let ended = switched.requests + switched.streams;
        let notice = if on == Some(true) {
            format!("External access to {app} {environment} is on.")
        } else {
            let ended = counted(ended, "request", "requests");
            format!("External access to {app} {environment} is off; {ended} under way ended.")
        };
        Ok(ask.done(&format!("/apps/{app}"), notice))
    })
}
