//! `/v1/apps`.

use std::sync::atomic::Ordering;

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::board::Board;
use crate::board::upstream::Whose;
use crate::config::{App, Environment};
use crate::control::{AppView, EnvironmentView};
use crate::model::{INITIAL_DEPLOYMENT, Upstream};

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_query(&call.uri)?.end(&[]).none()?;
        let apps = call.state.control.list_apps(call.caller()?).await?;
        let items = apps.iter().map(|app| shown(app, &call.state.board)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: None })
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let app = call.state.control.show_app(call.caller()?, &call.name).await?;
        json(StatusCode::OK, &shown(&app, &call.state.board))
    })
}

fn shown(view: &AppView, board: &Board) -> wire::App {
    wire::App {
        name: view.app.name.to_string(),
        description: view.app.description.clone(),
        product: view.app.product.clone(),
        environments: view
            .environments
            .iter()
            .map(|environment| shown_environment(&view.app, environment, board))
            .collect(),
    }
}

fn shown_environment(app: &App, view: &EnvironmentView, board: &Board) -> wire::Environment {
    let environment = &view.environment;
    wire::Environment {
        name: environment.name.to_string(),
        hosts: environment.hosts.iter().map(ToString::to_string).collect(),
        upstreams: environment
            .upstreams
            .iter()
            .map(|address| upstream(app, environment, address, board))
            .collect(),
        deployment: INITIAL_DEPLOYMENT.to_owned(),
        on_publish: environment.on_publish.to_string(),
        external_access: wire::ExternalAccess {
            mode: environment.external_access.as_str().to_owned(),
            open: view.open,
        },
    }
}

fn upstream(app: &App, environment: &Environment, address: &Upstream, board: &Board) -> wire::Upstream {
    let whose =
        Whose { app: app.name.clone(), environment: environment.name.clone(), address: address.clone() };
    let standing = board.upstreams.find(&whose);
    wire::Upstream {
        url: address.to_string(),
        healthy: standing.as_ref().is_none_or(|standing| standing.is_healthy()),
        in_flight: standing.as_ref().map_or(0, |standing| standing.in_flight.load(Ordering::Relaxed) as u64),
        retries: standing.as_ref().map_or(0, |standing| standing.retries.get()),
    }
}
