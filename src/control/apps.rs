//! Apps and environments as the configuration has them, with what the store knows of each.

use super::{Caller, Control, Fault, Faults, Page, cursor, page, page_length};
use crate::config::{App, Config, Environment, ExternalAccess};
use crate::model::{AppName, DeploymentId, TokenApp, Upstream};
use crate::store::EnvironmentRow;

/// An app that the caller may see.
#[derive(Debug)]
pub struct AppView {
    pub app: App,
    /// In the order of the configuration.
    pub environments: Vec<EnvironmentView>,
}

/// Which page of apps to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListApps {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

/// What is not in the configuration.
#[derive(Debug)]
pub struct EnvironmentView {
    pub environment: Environment,
    /// Whether tokens are let in now.
    pub open: bool,
    /// What it serves.
    pub deployment: DeploymentId,
    /// Those of the current release, where it has its own in the place of the configuration's.
    pub released: Option<Vec<Upstream>>,
}

impl Control {
    /// # Errors
    /// When the store cannot be read.
    pub async fn list_apps(&self, caller: &Caller) -> Result<Vec<AppView>, Fault> {
        let rows = self.store.environments().await?;
        let config = self.config.load_full();
        let seen = config.apps.iter().filter(|app| caller.may_see_app(&app.name));
        Ok(seen.map(|app| view(app, &rows)).collect())
    }

    /// A page of them, in the order of the configuration.
    ///
    /// # Errors
    /// When a parameter is wrong, or the store cannot be read.
    pub async fn list_apps_by_page(&self, caller: &Caller, asked: ListApps) -> Result<Page<AppView>, Fault> {
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let apps = self.list_apps(caller).await?;
        let place = |name: &str| apps.iter().position(|view| view.app.name.as_str() == name);
        let last = cursor(asked.cursor.as_deref(), place, &mut faults);
        faults.none()?;
        let rest = apps.into_iter().skip(last.map_or(0, |last| last + 1)).take(length + 1).collect();
        Ok(page(rest, length, |view: &AppView| view.app.name.to_string()))
    }

    /// # Errors
    /// When there is no such app that the caller may see, or the store cannot be read.
    pub async fn show_app(&self, caller: &Caller, name: &str) -> Result<AppView, Fault> {
        let apps = self.list_apps(caller).await?;
        let found = apps.into_iter().find(|view| view.app.name.as_str() == name);
        found.ok_or(Fault::NotFound("app"))
    }
}

fn view(app: &App, rows: &[EnvironmentRow]) -> AppView {
    let environments = app.environments.iter().map(|environment| {
        let of_name = || rows.iter().filter(|row| row.name == environment.name);
        let own = of_name().find(|row| row.app == TokenApp::One(app.name.clone()));
        let opened = own.is_some_and(|row| row.opened)
            || of_name().any(|row| row.app == TokenApp::Every && row.opened);
        EnvironmentView {
            open: match environment.external_access {
                ExternalAccess::On => true,
                ExternalAccess::Off => false,
                ExternalAccess::OnFirstToken => own.and_then(|row| row.switched).unwrap_or(opened),
            },
            deployment: own.map_or_else(DeploymentId::initial, |row| row.deployment.clone()),
            released: own.and_then(|row| row.upstreams.clone()),
            environment: environment.clone(),
        }
    });
    AppView { environments: environments.collect(), app: app.clone() }
}

/// The app of this name.
pub(super) fn find<'a>(config: &'a Config, name: &AppName) -> Option<&'a App> {
    config.apps.iter().find(|app| app.name == *name)
}

/// The names of the apps that the caller may see, as a sentence lists them.
pub(super) fn names(config: &Config, caller: &Caller) -> String {
    let seen = config.apps.iter().filter(|app| caller.may_see_app(&app.name));
    listed(seen.map(|app| app.name.as_str()))
}

/// Things as a sentence lists them.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names = names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
