//! `/v1/apps`.

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::control::{AppView, EnvironmentView};
use crate::model::INITIAL_DEPLOYMENT;

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
        let app = call.state.control.show_app(call.caller()?, &call.name).await?;
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
        upstreams: environment.upstreams.iter().map(ToString::to_string).collect(),
        deployment: INITIAL_DEPLOYMENT.to_owned(),
        on_publish: environment.on_publish.to_string(),
        external_access: wire::ExternalAccess {
            mode: environment.external_access.as_str().to_owned(),
            open: view.open,
        },
    }
}
