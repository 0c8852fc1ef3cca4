//! One token: what it opens, what it was used for, and what can be done about it.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;

use super::audit::{self, Line};
use super::chart::{self, Chart};
use super::creation;
use super::leaks;
use super::page::{Frame, Wrong, html};
use super::random;
use super::words::{self, Moment, counted};
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::board::Denial;
use crate::control::{EditToken, Fault, RevokeToken, Revoked, Rotate, SearchEntries};
use crate::model::{Status, Token};

/// Refusals and entries shown.
const SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "token.html")]
struct Page {
    frame: Frame,
    token: Facts,
    charts: Vec<Chart>,
    /// Whether it leaked for certain; else it may have, where there are any signs.
    leaked: bool,
    leaks: Vec<leaks::Row>,
    refusals: Vec<Refusal>,
    entries: Vec<Line>,
    lifetimes: Vec<String>,
    once: String,
}

/// A token as its page tells it.
struct Facts {
    id: String,
    label: String,
    description: String,
    hint: String,
    app: String,
    environment: String,
    address: String,
    deployment: Option<String>,
    on_publish: String,
    scopes: Vec<String>,
    networks: Vec<String>,
    rate: Option<String>,
    status: &'static str,
    active: bool,
    maker: String,
    created: Moment,
    end: Option<Moment>,
    used: Option<Moment>,
    used_from: Option<String>,
    ended_by: Option<String>,
    reason: Option<String>,
    predecessor: Option<String>,
    successor: Option<String>,
}

struct Refusal {
    at: Moment,
    code: &'static str,
    status: u16,
    method: String,
    path: String,
    address: String,
    request: String,
}

#[derive(Template)]
#[template(path = "token_edit.html")]
struct Edit {
    frame: Frame,
    id: String,
    hint: String,
    revision: u64,
    filled: Filled,
    end: Option<Moment>,
    lifetimes: Vec<String>,
    wrong: Wrong,
}

struct Filled {
    label: String,
    description: String,
    scopes: String,
    networks: String,
    rate: String,
    expires: String,
    date: String,
}

impl Facts {
    fn new(ask: &Ask, token: &Token, now: Timestamp) -> Self {
        let revoked = token.revoked.as_ref();
        let replaced = token.replaced_at(now).and(token.replaced.as_ref());
        Self {
            id: token.id.to_string(),
            label: token.label.to_string(),
            description: token.description.to_string(),
            hint: token.hint.clone(),
            app: token.app.to_string(),
            environment: token.environment.to_string(),
            address: creation::address(&ask.state.control.config(), &token.app, token.environment.as_str()),
            deployment: token.deployment.clone(),
            on_publish: words::on_publish(token.on_publish),
            scopes: token.rules.scopes.iter().map(ToString::to_string).collect(),
            networks: token.rules.networks.iter().map(ToString::to_string).collect(),
            rate: token.rules.rate.map(|rate| rate.to_string()),
            status: token.status(now).as_str(),
            active: token.status(now) == Status::Active,
            maker: words::maker(token),
            created: Moment::new(token.created_at, now),
            end: words::end(token, now),
            used: token.last_used_at.map(|at| Moment::new(at, now)),
            used_from: token.last_used_from.map(|address| address.to_string()),
            ended_by: revoked.map(|ended| ended.by.clone()).or_else(|| replaced.map(|by| by.by.clone())),
            reason: revoked.and_then(|ended| ended.reason.clone()),
            predecessor: token.predecessor.map(|id| id.to_string()),
            successor: token.successor.map(|id| id.to_string()),
        }
    }
}

impl Refusal {
    fn new(denial: &Denial, now: Timestamp) -> Self {
        Self {
            at: Moment::new(Timestamp::from_millisecond(denial.at).unwrap_or_default(), now),
            code: denial.code.as_str(),
            status: denial.code.status().as_u16(),
            method: denial.method.to_string(),
            path: denial.path.to_string(),
            address: denial.client.to_string(),
            request: denial.request_id.to_string(),
        }
    }
}

pub(in crate::admin) fn show(ask: Ask) -> Answer {
    Box::pin(async move {
        let (control, board, caller) = (&ask.state.control, &ask.state.board, ask.caller()?);
        let token = control.show_token(caller, ask.name(0)).await?;
        let now = control.now();
        let asked = SearchEntries {
            subject: Some(token.id.to_string()),
            limit: Some(SHOWN.to_string()),
            ..SearchEntries::default()
        };
        let entries = control.search_entries(caller, asked).await?;
        let leaks = leaks::of_token(&ask, caller, token.id.to_string()).await?;
        let denials = board.denials(|denial| denial.token == Some(token.id));
        let lately = board.lately_of_token(token.id, now.as_millisecond());
        let page = Page {
            frame: ask.frame("tokens", format!("Token …{}", token.hint)),
            charts: chart::charts(lately.as_ref()),
            leaked: leaks.iter().any(|leak| leak.certain),
            leaks,
            refusals: denials.iter().take(SHOWN).map(|(_, denial)| Refusal::new(denial, now)).collect(),
            entries: entries.items.iter().map(|entry| audit::line(entry, now)).collect(),
            lifetimes: control.config().tokens.lifetimes.iter().map(ToString::to_string).collect(),
            token: Facts::new(&ask, &token, now),
            once: random::draw().map_err(Fault::from)?,
        };
        html(StatusCode::OK, &page)
    })
}

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move {
        let control = &ask.state.control;
        let token = control.show_token(ask.caller()?, ask.name(0)).await?;
        let lines = |items: Vec<String>| items.join("\n");
        let filled = Filled {
            label: token.label.to_string(),
            description: token.description.to_string(),
            scopes: lines(token.rules.scopes.iter().map(ToString::to_string).collect()),
            networks: lines(token.rules.networks.iter().map(ToString::to_string).collect()),
            rate: token.rules.rate.map(|rate| rate.to_string()).unwrap_or_default(),
            expires: String::new(),
            date: String::new(),
        };
        edit_form(&ask, &token, StatusCode::OK, token.revision, filled, Wrong::default())
    })
}

fn edit_form(
    ask: &Ask,
    token: &Token,
    status: StatusCode,
    revision: u64,
    filled: Filled,
    wrong: Wrong,
) -> Result<Response, Problem> {
    let control = &ask.state.control;
    let page = Edit {
        frame: ask.frame("tokens", format!("Edit token …{}", token.hint)),
        id: token.id.to_string(),
        hint: token.hint.clone(),
        revision,
        filled,
        end: words::end(token, control.now()),
        lifetimes: control.config().tokens.lifetimes.iter().map(ToString::to_string).collect(),
        wrong,
    };
    html(status, &page)
}

pub(in crate::admin) fn edit(ask: Ask) -> Answer {
    Box::pin(async move {
        let (form, control, caller) = (&ask.form, &ask.state.control, ask.caller()?);
        // What names no state of the token's names one that it is not in.
        let revision = form.raw("revision").parse().unwrap_or_default();
        let expires = form.filled("expires");
        let by_date = expires.as_deref() == Some("date");
        let asked = EditToken {
            label: Some(form.filled("label").unwrap_or_default()),
            description: Some(form.filled("description").unwrap_or_default()),
            scopes: Some(form.lines("scopes")),
            allowed_addresses: Some(form.lines("allowed_addresses")),
            rate_limit: Some(form.filled("rate_limit")),
            expires_in: expires.filter(|_| !by_date),
            expires_at: if by_date { Some(form.raw("date").to_owned()) } else { None },
            expected: Some(vec![revision]),
            ..EditToken::default()
        };
        match control.edit_token(caller, ask.name(0), asked).await {
            Ok(token) => Ok(ask.done(&format!("/tokens/{}", token.id), "The token was edited.")),
            Err(Fault::Invalid(faults)) => {
                let token = control.show_token(caller, ask.name(0)).await?;
                let text = |name: &str| form.raw(name).to_owned();
                let filled = Filled {
                    label: text("label"),
                    description: text("description"),
                    scopes: text("scopes"),
                    networks: text("allowed_addresses"),
                    rate: text("rate_limit"),
                    expires: text("expires"),
                    date: text("date"),
                };
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                edit_form(&ask, &token, status, revision, filled, Wrong::new(faults))
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

pub(in crate::admin) fn rotate(ask: Ask) -> Answer {
    Box::pin(async move {
        let asked = Rotate {
            overlap: ask.form.filled("overlap"),
            expires_in: ask.form.filled("expires_in"),
            once: ask.once.clone(),
            ..Rotate::default()
        };
        let minted = ask.state.control.rotate_token(ask.caller()?, ask.name(0), asked).await?;
        creation::reveal(&ask, &minted)
    })
}

pub(in crate::admin) fn revoke(ask: Ask) -> Answer {
    Box::pin(async move {
        let (id, reason) = (ask.name(0), ask.form.filled("reason"));
        let control = &ask.state.control;
        let revoked =
            control.revoke_token(ask.caller()?, id, RevokeToken { reason, ..RevokeToken::default() }).await?;
        Ok(ask.done(&format!("/tokens/{id}"), format!("The token is revoked{}.", stopped(&revoked))))
    })
}

pub(in crate::admin) fn delete(ask: Ask) -> Answer {
    Box::pin(async move {
        let deleted = ask.state.control.delete_token(ask.caller()?, ask.name(0)).await?;
        Ok(ask.done("/tokens", format!("The token is deleted{}.", stopped(&deleted))))
    })
}

/// What was under way and is not any more.
fn stopped(revoked: &Revoked) -> String {
    match revoked.requests + revoked.streams {
        0 => String::new(),
        some => format!(", and {} under way ended with it", counted(some, "request", "requests")),
    }
}
