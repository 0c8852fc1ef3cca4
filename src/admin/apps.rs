//! `/v1/apps`, and the switch of an environment.

use std::sync::atomic::Ordering;

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::board::Board;
use crate::board::upstream::Whose;
use crate::config::{App, Environment, ExternalAccess};
use crate::control::{AppView, EnvironmentView, ListApps};
use crate::model::Upstream;

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListApps {
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["limit", "cursor"]),
        };
        let page = call.state.control.list_apps_by_page(call.caller()?, asked).await?;
        let items = page.items.iter().map(|app| shown(app, &call.state.board)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let app = call.state.control.show_app(call.caller()?, call.name(0)).await?;
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
        upstreams: view
            .released
            .as_ref()
            .unwrap_or(&environment.upstreams)
            .iter()
            .map(|address| upstream(app, environment, address, board))
            .collect(),
        upstreams_from: if view.released.is_some() { "deployment" } else { "configuration" }.to_owned(),
        deployment: view.deployment.to_string(),
        on_publish: environment.on_publish.to_string(),
        external_access: wire::ExternalAccess {
            mode: environment.external_access.as_str().to_owned(),
            open: view.open,
        },
    }
}

pub(super) fn switch(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let enabled = fields.flag("enabled");
        let faults = fields.end(&["enabled"]);
        let (control, caller) = (&call.state.control, call.caller()?);
        let (app, name) = (call.name(0), call.name(1));
        let switched = control.switch_external_access(caller, app, name, enabled, faults).await?;
        let open = enabled.unwrap_or_default();
        let body = wire::Switched {
            external_access: wire::ExternalAccess {
                mode: ExternalAccess::OnFirstToken.as_str().to_owned(),
                open,
            },
            ended: wire::EndedCounts { requests: switched.requests, streams: switched.streams },
        };
        json(StatusCode::OK, &body)
    })
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
