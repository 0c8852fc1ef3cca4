//! Members.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page::{Frame, Wrong, html};
use super::random;
use super::words::{Moment, counted};
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::control::{AddMember, EditMember, Fault, ListMembers};

/// Those on a page: each has a form of its own.
const ROWS: &str = "40";

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

#[derive(Template)]
#[template(path = "member_edit.html")]
struct Edit {
    frame: Frame,
    /// As whom the member is known until this is saved.
    of: String,
    revision: u64,
    name: String,
    email: String,
    wrong: Wrong,
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
    let asked =
        ListMembers { cursor: cursor.clone(), limit: Some(ROWS.to_owned()), ..ListMembers::default() };
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
        once: random::draw().map_err(Fault::from)?,
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

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move {
        let member = ask.state.control.show_member(ask.caller()?, ask.name(0)).await?;
        let name = member.name.to_string();
        let email = member.email.map(|email| email.to_string()).unwrap_or_default();
        edit_form(&ask, StatusCode::OK, member.revision, name, email, Wrong::default())
    })
}

fn edit_form(
    ask: &Ask,
    status: StatusCode,
    revision: u64,
    name: String,
    email: String,
    wrong: Wrong,
) -> Result<Response, Problem> {
    let of = ask.name(0).to_owned();
    html(
        status,
        &Edit { frame: ask.frame("members", format!("Edit {of}")), of, revision, name, email, wrong },
    )
}

pub(in crate::admin) fn edit(ask: Ask) -> Answer {
    Box::pin(async move {
        let form = &ask.form;
        // What names no state of the member's names one that they are not in.
        let revision = form.raw("revision").parse().unwrap_or_default();
        let asked = EditMember {
            name: Some(form.filled("name").unwrap_or_default()),
            email: Some(form.filled("email")),
            expected: Some(vec![revision]),
            ..EditMember::default()
        };
        match ask.state.control.edit_member(ask.caller()?, ask.name(0), asked).await {
            Ok(member) => Ok(ask.done("/members", format!("{} was edited.", member.name))),
            Err(Fault::Invalid(faults)) => {
                let (name, email) = (form.raw("name").to_owned(), form.raw("email").to_owned());
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                edit_form(&ask, status, revision, name, email, Wrong::new(faults))
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
