//! What was published to an environment, the form that publishes, and what it asks first.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;

use super::page::{Frame, Wrong, html};
use super::random;
use super::tokens::Row;
use super::words::{self, Moment, counted, in_short};
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::control::{Fault, ListDeployments, Publish, Sight};
use crate::model::Deployment;

/// Of the tokens that a publish would end, those that are named.
const NAMED: Sight = Sight { ending: 20, living: 0 };

#[derive(Template)]
#[template(path = "deployments.html")]
struct Page {
    frame: Frame,
    app: String,
    environment: String,
    on_publish: String,
    rows: Vec<Release>,
    next: Option<String>,
    beyond: bool,
    id: String,
    upstreams: String,
    wrong: Wrong,
    once: String,
}

/// A deployment in a list.
pub(super) struct Release {
    pub(super) id: String,
    pub(super) current: bool,
    pub(super) archived: bool,
    pub(super) at: Option<Moment>,
    pub(super) by: Option<String>,
    pub(super) upstreams: String,
}

/// What asks before tokens are ended for good.
#[derive(Template)]
#[template(path = "publish.html")]
struct Question {
    frame: Frame,
    app: String,
    environment: String,
    id: String,
    upstreams: String,
    ending: u64,
    living: u64,
    rows: Vec<Row>,
    once: String,
}

impl Release {
    pub(super) fn new(deployment: &Deployment, now: Timestamp) -> Self {
        let upstreams = deployment.upstreams.as_deref().unwrap_or_default();
        Self {
            id: deployment.id.to_string(),
            current: deployment.current,
            archived: deployment.archived_at.is_some(),
            at: deployment.published_at.map(|at| Moment::new(at, now)),
            by: deployment.published_by.clone(),
            upstreams: in_short(upstreams, "of the configuration"),
        }
    }
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move { page(&ask, StatusCode::OK, Wrong::default()).await })
}

async fn page(ask: &Ask, status: StatusCode, wrong: Wrong) -> Result<Response, Problem> {
    let control = &ask.state.control;
    let (app, environment) = (ask.name(0), ask.name(1));
    let cursor = ask.query().filled("cursor");
    let asked = ListDeployments {
        app: app.to_owned(),
        environment: environment.to_owned(),
        cursor: cursor.clone(),
        ..ListDeployments::default()
    };
    let found = control.list_deployments(ask.caller()?, asked).await?;
    let now = control.now();
    let config = control.config();
    let environments = config.apps.iter().filter(|known| known.name.as_str() == app);
    let mut environments = environments.flat_map(|known| &known.environments);
    let rule = environments.find(|known| known.name.as_str() == environment).map(|known| known.on_publish);
    let page = Page {
        frame: ask.frame("apps", format!("Deployments of {app} {environment}")),
        app: app.to_owned(),
        environment: environment.to_owned(),
        on_publish: rule.map(words::on_publish).unwrap_or_default(),
        rows: found.items.iter().map(|deployment| Release::new(deployment, now)).collect(),
        next: found.next_cursor.map(|next| format!("cursor={next}")),
        beyond: cursor.is_some(),
        id: ask.form.raw("id").to_owned(),
        upstreams: ask.form.raw("upstreams").to_owned(),
        wrong,
        once: random::draw().map_err(Fault::from)?,
    };
    html(status, &page)
}

/// Publishes; asks first where that ends tokens, as nothing brings them back.
pub(in crate::admin) fn publish(ask: Ask) -> Answer {
    Box::pin(async move {
        let (control, caller) = (&ask.state.control, ask.caller()?);
        let upstreams = ask.form.lines("upstreams");
        let asked = || Publish {
            app: ask.name(0).to_owned(),
            environment: ask.name(1).to_owned(),
            id: ask.form.filled("id"),
            upstreams: Some(upstreams.clone()).filter(|upstreams| !upstreams.is_empty()),
            ..Publish::default()
        };
        let attempt = async {
            if ask.form.raw("intent") != "end" {
                let prospect = control.look_ahead(caller, asked(), NAMED).await?;
                if prospect.would_end.count > 0 {
                    return Ok(Err(prospect));
                }
            }
            control.publish(caller, Publish { once: ask.once.clone(), ..asked() }).await.map(Ok)
        };
        match attempt.await {
            Ok(Ok(release)) => {
                let id = &release.deployment.id;
                let ended = counted(release.tokens_ended, "token", "tokens");
                // A form that is sent again says what its first time did.
                let said = if release.fresh || release.tokens_ended > 0 {
                    format!("{id} is published; {ended} ended.")
                } else {
                    format!("{id} is released anew; no token ended.")
                };
                Ok(ask.done(&home(&ask), said))
            }
            Ok(Err(prospect)) => {
                let now = control.now();
                let page = Question {
                    frame: ask.frame("apps", "Publish?"),
                    app: ask.name(0).to_owned(),
                    environment: ask.name(1).to_owned(),
                    id: ask.form.filled("id").unwrap_or_default(),
                    upstreams: upstreams.join("\n"),
                    ending: prospect.would_end.count,
                    living: prospect.would_keep.count,
                    rows: prospect.would_end.tokens.iter().map(|token| Row::new(token, now)).collect(),
                    once: random::draw().map_err(Fault::from)?,
                };
                html(StatusCode::OK, &page)
            }
            Err(Fault::Invalid(faults)) => {
                page(&ask, StatusCode::UNPROCESSABLE_ENTITY, Wrong::new(faults)).await
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

pub(in crate::admin) fn archive(ask: Ask) -> Answer {
    Box::pin(async move {
        let (app, environment, id) = (ask.name(0), ask.name(1), ask.name(2));
        let archived = ask.state.control.archive_deployment(ask.caller()?, app, environment, id).await?;
        Ok(ask.done(&home(&ask), format!("{} is archived.", archived.id)))
    })
}

fn home(ask: &Ask) -> String {
    format!("/apps/{}/environments/{}/deployments", ask.name(0), ask.name(1))
}
