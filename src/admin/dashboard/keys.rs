//! Management keys.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::form::Form;
use super::page::{Frame, Wrong, html};
use super::random;
use super::words::Moment;
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::control::{Fault, ListKeys, MintKey};
use crate::model::Scope;

/// What each scope allows, in few words.
const SCOPES: [(Scope, &str); 6] = [
    (Scope::Read, "see apps and own tokens"),
    (Scope::Mint, "make, edit and revoke own tokens"),
    (Scope::Deploy, "publish, switch external access"),
    (Scope::Delete, "delete own tokens, archive deployments"),
    (Scope::Secrets, "write upstream secrets"),
    (Scope::Admin, "everything, of everybody"),
];

/// Those on a page: each has a form of its own.
const ROWS: &str = "40";

#[derive(Template)]
#[template(path = "keys.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    beyond: bool,
    scopes: Vec<(&'static str, &'static str, bool)>,
    apps: Vec<String>,
    filled: Filled,
    wrong: Wrong,
    once: String,
}

#[derive(Default)]
struct Filled {
    member: String,
    label: String,
    app: String,
    expires: String,
}

struct Row {
    id: String,
    label: String,
    hint: String,
    member: String,
    scopes: String,
    app: Option<String>,
    status: &'static str,
    active: bool,
    created: Moment,
    end: Option<Moment>,
    used: Option<Moment>,
    used_from: Option<String>,
}

#[derive(Template)]
#[template(path = "key_reveal.html")]
struct Reveal {
    frame: Frame,
    member: String,
    /// `None`: an earlier answer to the same form showed it.
    value: Option<String>,
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move { page(&ask, StatusCode::OK, &ask.query(), Wrong::default()).await })
}

async fn page(ask: &Ask, status: StatusCode, filled: &Form, wrong: Wrong) -> Result<Response, Problem> {
    let (control, caller) = (&ask.state.control, ask.caller()?);
    let cursor = ask.query().filled("cursor");
    let found = control
        .list_keys(
            caller,
            ListKeys { cursor: cursor.clone(), limit: Some(ROWS.to_owned()), ..ListKeys::default() },
        )
        .await?;
    let now = control.now();
    let rows = found.items.iter().map(|key| {
        let ended = key.expires_at.is_some_and(|end| end <= now);
        let end = key.revoked_at.or(key.expires_at);
        Row {
            id: key.id.to_string(),
            label: key.label.clone(),
            hint: key.hint.clone(),
            member: key.member.to_string(),
            scopes: key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", "),
            app: key.app.as_ref().map(ToString::to_string),
            status: if key.revoked_at.is_some() {
                "revoked"
            } else if ended {
                "expired"
            } else {
                "active"
            },
            active: key.revoked_at.is_none() && !ended,
            created: Moment::new(key.created_at, now),
            end: end.map(|end| if end > now { Moment::ahead(end, now) } else { Moment::new(end, now) }),
            used: key.last_used_at.map(|at| Moment::new(at, now)),
            used_from: key.last_used_from.map(|address| address.to_string()),
        }
    });
    let ticked = filled.ticked("scopes");
    let seen = control.list_apps(caller).await?;
    let page = Page {
        frame: ask.frame("keys", "Management keys"),
        rows: rows.collect(),
        next: found.next_cursor.map(|next| format!("cursor={next}")),
        beyond: cursor.is_some(),
        scopes: SCOPES
            .map(|(scope, says)| (scope.as_str(), says, ticked.iter().any(|name| name == scope.as_str())))
            .to_vec(),
        apps: seen.iter().map(|view| view.app.name.to_string()).collect(),
        filled: Filled {
            member: filled.raw("member").to_owned(),
            label: filled.raw("label").to_owned(),
            app: filled.raw("app").to_owned(),
            expires: filled.raw("expires_in").to_owned(),
        },
        wrong,
        once: random::draw().map_err(Fault::from)?,
    };
    html(status, &page)
}

pub(in crate::admin) fn mint(ask: Ask) -> Answer {
    Box::pin(async move {
        let form = &ask.form;
        let asked = MintKey {
            member: form.filled("member"),
            scopes: Some(form.ticked("scopes")),
            app: form.filled("app"),
            label: form.filled("label"),
            expires_in: form.filled("expires_in"),
            once: ask.once.clone(),
            ..MintKey::default()
        };
        match ask.state.control.mint_key(ask.caller()?, asked).await {
            Ok(minted) => {
                let value = minted.value.map(|value| value.reveal().to_owned());
                let shown = value.is_some();
                let title = if shown { "Copy the key now" } else { "This key was shown before" };
                let frame = ask.frame("keys", title);
                let status = if shown { StatusCode::CREATED } else { StatusCode::OK };
                html(status, &Reveal { frame, member: minted.key.member.to_string(), value })
            }
            Err(Fault::Invalid(faults)) => {
                page(&ask, StatusCode::UNPROCESSABLE_ENTITY, form, Wrong::new(faults)).await
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

pub(in crate::admin) fn revoke(ask: Ask) -> Answer {
    Box::pin(async move {
        let key = ask.state.control.revoke_key(ask.caller()?, ask.name(0)).await?;
        Ok(ask.done("/keys", format!("The key …{} of {} is revoked.", key.hint, key.member)))
    })
}
