//! Members.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page::{Frame, Wrong, html};
use super::secret;
use super::words::{Moment, counted};
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::control::{AddMember, Fault, ListMembers};

#[derive(Template)]
#[template(path = "members.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    beyond: bool,
    name: String,
    email: String,
    wrong: Wrong,
    once: String,
}

struct Row {
    name: String,
    email: Option<String>,
    created: Moment,
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move { page(&ask, StatusCode::OK, Wrong::default()).await })
}

async fn page(ask: &Ask, status: StatusCode, wrong: Wrong) -> Result<Response, Problem> {
    let control = &ask.state.control;
    let cursor = ask.query().filled("cursor");
    let asked = ListMembers { cursor: cursor.clone(), ..ListMembers::default() };
    let found = control.list_members(ask.caller()?, asked).await?;
    let now = control.now();
    let rows = found.items.iter().map(|member| Row {
        name: member.name.to_string(),
        email: member.email.as_ref().map(ToString::to_string),
        created: Moment::new(member.created_at, now),
    });
    let page = Page {
        frame: ask.frame("members", "Members"),
        rows: rows.collect(),
        next: found.next_cursor.map(|next| format!("cursor={next}")),
        beyond: cursor.is_some(),
        name: ask.form.raw("name").to_owned(),
        email: ask.form.raw("email").to_owned(),
        wrong,
        once: secret::draw().map_err(Fault::from)?,
    };
    html(status, &page)
}

pub(in crate::admin) fn add(ask: Ask) -> Answer {
    Box::pin(async move {
        let asked = AddMember {
            name: ask.form.filled("name"),
            email: ask.form.filled("email"),
            once: ask.once.clone(),
            ..AddMember::default()
        };
        match ask.state.control.add_member(ask.caller()?, asked).await {
            Ok((member, _)) => Ok(ask.done("/members", format!("{} is a member now.", member.name))),
            Err(Fault::Invalid(faults)) => {
                page(&ask, StatusCode::UNPROCESSABLE_ENTITY, Wrong::new(faults)).await
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

pub(in crate::admin) fn remove(ask: Ask) -> Answer {
    Box::pin(async move {
        let name = ask.name(0);
        let removal = ask.state.control.remove_member(ask.caller()?, name).await?;
        let tokens = counted(removal.tokens, "token", "tokens");
        let keys = counted(removal.keys, "key", "keys");
        Ok(ask.done("/members", format!("{name} is removed; {tokens} and {keys} ended.")))
    })
}
