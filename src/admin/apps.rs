//! `/v1/apps`, and the switch of an environment.

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::config::ExternalAccess;
use crate::control::{AppView, EnvironmentView};

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_query(&call.uri)?.end(&[]).none()?;
        let apps = call.state.control.list_apps(call.caller()?).await?;
        let items = apps.iter().map(shown).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: None })
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let app = call.state.control.show_app(call.caller()?, call.name(0)).await?;
        json(StatusCode::OK, &shown(&app))
    })
}

fn shown(view: &AppView) -> wire::App {
    wire::App {
        name: view.app.name.to_string(),
        description: view.app.description.clone(),
        product: view.app.product.clone(),
        environments: view.environments.iter().map(environment).collect(),
    }
}

fn environment(view: &EnvironmentView) -> wire::Environment {
    let environment = &view.environment;
    wire::Environment {
        name: environment.name.to_string(),
        hosts: environment.hosts.iter().map(ToString::to_string).collect(),
        upstreams: view
            .released
            .as_ref()
            .unwrap_or(&environment.upstreams)
            .iter()
            .map(ToString::to_string)
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
