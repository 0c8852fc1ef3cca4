//! `/v1/apps/{app}/environments/{environment}/deployments`.

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::tokens;
use super::wire;
use crate::control::{ListDeployments, Publish, Sight};
use crate::model::Deployment;

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListDeployments {
            app: call.name(0).to_owned(),
            environment: call.name(1).to_owned(),
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["limit", "cursor"]),
        };
        let page = call.state.control.list_deployments(call.caller()?, asked).await?;
        let items = page.items.iter().map(shown).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn publish(call: Call) -> Answer {
    Box::pin(async move {
        let mut query = Fields::of_query(&call.uri)?;
        let dry_run = query.text("dry_run");
        if dry_run.as_deref().is_some_and(|dry_run| !matches!(dry_run, "true" | "false")) {
            query.fault("dry_run", "must be true or false");
        }
        query.end(&["dry_run"]).none()?;
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = Publish {
            app: call.name(0).to_owned(),
            environment: call.name(1).to_owned(),
            id: fields.text("id"),
            upstreams: fields.texts("upstreams"),
            once: call.once.clone(),
            faults: fields.end(&["id", "upstreams"]),
        };
        let (control, caller) = (&call.state.control, call.caller()?);
        if dry_run.as_deref() == Some("true") {
            let prospect = control.look_ahead(caller, asked, Sight::FULL).await?;
            let now = control.now();
            let body = wire::Prospect {
                would_end: prospect.would_end.tokens.iter().map(|token| tokens::shown(token, now)).collect(),
                would_keep: prospect
                    .would_keep
                    .tokens
                    .iter()
                    .map(|token| tokens::shown(token, now))
                    .collect(),
                would_end_count: prospect.would_end.count,
                would_keep_count: prospect.would_keep.count,
            };
            return json(StatusCode::OK, &body);
        }
        let release = control.publish(caller, asked).await?;
        let body =
            wire::Published { deployment: shown(&release.deployment), tokens_ended: release.tokens_ended };
        json(if release.fresh { StatusCode::CREATED } else { StatusCode::OK }, &body)
    })
}

pub(super) fn archive(call: Call) -> Answer {
    Box::pin(async move {
        let (app, environment, id) = (call.name(0), call.name(1), call.name(2));
        let archived = call.state.control.archive_deployment(call.caller()?, app, environment, id).await?;
        json(StatusCode::OK, &shown(&archived))
    })
}

fn shown(deployment: &Deployment) -> wire::Deployment {
    let urls = deployment.upstreams.as_ref();
    wire::Deployment {
        id: deployment.id.to_string(),
        number: deployment.number,
        current: deployment.current,
        published_at: deployment.published_at,
        published_by: deployment.published_by.clone(),
        released_at: deployment.released_at,
        upstreams: urls.map(|urls| urls.iter().map(ToString::to_string).collect()),
        archived_at: deployment.archived_at,
    }
}
