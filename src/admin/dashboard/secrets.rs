//! Upstream secrets: what there is, what needs it and whether it can be had. Of a value nothing is known here.

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;

use super::audit::{self, Line};
use super::page::{Frame, html};
use super::words::{Moment, in_short};
use super::{Answer, Ask};
use crate::control::{Caller, ListSecrets, Needed, SearchEntries, SecretView};
use crate::model::{AppName, EnvironmentName, Secret, Status};

/// What is lacking and told of on one page, and the environments that are named beside a secret.
const NAMED: usize = 50;
/// Entries shown.
const SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "secrets.html")]
struct List {
    frame: Frame,
    rows: Vec<Row>,
    lacks: Vec<Lack>,
    more_lacks: usize,
    next: Option<String>,
    beyond: bool,
}

struct Row {
    name: String,
    kind: &'static str,
    places: String,
    status: &'static str,
    end: Option<Moment>,
    set: Moment,
    setter: String,
    users: String,
    /// How many of those cannot have it.
    lacking: usize,
}

/// What an environment needs and cannot have.
/// A secret that an environment's requests are refused for want of.
pub(super) struct Lack {
    pub(super) app: String,
    pub(super) environment: String,
    pub(super) secret: String,
    pub(super) told: &'static str,
}

impl Lack {
    pub(super) fn new(needed: &Needed) -> Self {
        Self {
            app: needed.app.to_string(),
            environment: needed.environment.to_string(),
            secret: needed.secret.to_string(),
            told: needed.told,
        }
    }
}

#[derive(Template)]
#[template(path = "secret.html")]
struct Page {
    frame: Frame,
    secret: Facts,
    uses: Vec<Use>,
    more_uses: usize,
    entries: Vec<Line>,
}

/// A secret as its page tells it.
struct Facts {
    name: String,
    kind: &'static str,
    description: String,
    apps: Vec<String>,
    products: Vec<String>,
    environments: Vec<String>,
    status: &'static str,
    revoked: bool,
    end: Option<Moment>,
    ended_by: Option<String>,
    set: Moment,
    setter: String,
    made: Moment,
    maker: String,
    grant: Option<Grant>,
}

/// How access tokens are got with it, and what came of that.
struct Grant {
    url: String,
    client: String,
    scopes: String,
    auth: &'static str,
    token: Option<Moment>,
    trouble: Option<String>,
}

struct Use {
    app: String,
    environment: String,
    /// Why it cannot have the secret.
    lack: Option<&'static str>,
}

impl Row {
    fn new(view: &SecretView, unmet: &[Needed], now: Timestamp) -> Self {
        let secret = &view.secret;
        let users = view.used_by.iter().map(|(app, environment)| format!("{app} {environment}"));
        Self {
            name: secret.name.to_string(),
            kind: secret.kind.as_str(),
            places: places(secret),
            status: secret.status(now).as_str(),
            end: end(secret, now),
            set: Moment::new(secret.set_at, now),
            setter: secret.set_by.clone(),
            users: in_short(&users.collect::<Vec<_>>(), "nothing"),
            lacking: unmet.iter().filter(|needed| needed.secret == secret.name).count(),
        }
    }
}

impl Facts {
    fn new(view: &SecretView, now: Timestamp) -> Self {
        let secret = &view.secret;
        let (until, trouble) = view.token.clone().unwrap_or_default();
        Self {
            name: secret.name.to_string(),
            kind: secret.kind.as_str(),
            description: secret.description.to_string(),
            apps: secret.scope.apps.iter().map(ToString::to_string).collect(),
            products: secret.scope.products.iter().map(ToString::to_string).collect(),
            environments: secret.scope.environments.iter().map(ToString::to_string).collect(),
            status: secret.status(now).as_str(),
            revoked: secret.status(now) == Status::Revoked,
            end: end(secret, now),
            ended_by: secret.revoked.as_ref().map(|ended| ended.by.clone()),
            set: Moment::new(secret.set_at, now),
            setter: secret.set_by.clone(),
            made: Moment::new(secret.created_at, now),
            maker: secret.created_by.clone(),
            grant: secret.grant.as_ref().map(|grant| Grant {
                url: grant.token_url.to_string(),
                client: grant.client_id.clone(),
                scopes: grant.scopes.join(" "),
                auth: grant.auth.as_str(),
                token: until.map(|until| Moment::new(until, now)),
                trouble,
            }),
        }
    }
}

/// When a secret ended, or will.
fn end(secret: &Secret, now: Timestamp) -> Option<Moment> {
    match &secret.revoked {
        Some(ended) => Some(Moment::new(ended.at, now)),
        None => secret
            .expires_at
            .map(|end| if end > now { Moment::ahead(end, now) } else { Moment::new(end, now) }),
    }
}

/// Where a secret may be used, in short.
fn places(secret: &Secret) -> String {
    let products = secret.scope.products.iter().map(|product| format!("product {product}"));
    let apps: Vec<_> = secret.scope.apps.iter().map(ToString::to_string).chain(products).collect();
    let apps = in_short(&apps, "every app");
    match secret.scope.environments.as_slice() {
        [] => apps,
        environments => format!("{apps}, {}", in_short(environments, "")),
    }
}

/// What the environments that this caller sees lack.
fn unmet(ask: &Ask, caller: &Caller) -> Vec<Needed> {
    let unmet = ask.state.control.needs().unmet();
    unmet.into_iter().filter(|needed| caller.app().is_none_or(|bound| *bound == needed.app)).collect()
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move {
        let (control, caller) = (&ask.state.control, ask.caller()?);
        let cursor = ask.query().filled("cursor");
        let asked = ListSecrets { cursor: cursor.clone(), ..ListSecrets::default() };
        let found = control.list_secrets(caller, asked).await?;
        let (unmet, now) = (unmet(&ask, caller), control.now());
        let lacks = unmet.iter().take(NAMED).map(Lack::new);
        let page = List {
            frame: ask.frame("secrets", "Secrets"),
            rows: found.items.iter().map(|view| Row::new(view, &unmet, now)).collect(),
            lacks: lacks.collect(),
            more_lacks: unmet.len().saturating_sub(NAMED),
            next: found.next_cursor.map(|next| format!("cursor={next}")),
            beyond: cursor.is_some(),
        };
        html(StatusCode::OK, &page)
    })
}

pub(in crate::admin) fn show(ask: Ask) -> Answer {
    Box::pin(async move {
        let (control, caller) = (&ask.state.control, ask.caller()?);
        let view = control.show_secret(caller, ask.name(0)).await?;
        let name = view.secret.name.to_string();
        let asked = SearchEntries {
            subject: Some(name.clone()),
            limit: Some(SHOWN.to_string()),
            ..SearchEntries::default()
        };
        let entries = control.search_entries(caller, asked).await?;
        let (unmet, now) = (unmet(&ask, caller), control.now());
        let lack = |app: &AppName, environment: &EnvironmentName| {
            let found = unmet.iter().find(|needed| {
                needed.app == *app && needed.environment == *environment && needed.secret == view.secret.name
            });
            found.map(|needed| needed.told)
        };
        let page = Page {
            frame: ask.frame("secrets", format!("Secret {name}")),
            secret: Facts::new(&view, now),
            more_uses: view.used_by.len().saturating_sub(NAMED),
            uses: view
                .used_by
                .iter()
                .take(NAMED)
                .map(|(app, environment)| Use {
                    app: app.to_string(),
                    environment: environment.to_string(),
                    lack: lack(app, environment),
                })
                .collect(),
            // A member may bear the same name.
            entries: entries
                .items
                .iter()
                .filter(|entry| entry.action.starts_with("secret."))
                .map(|entry| audit::line(entry, now))
                .collect(),
        };
        html(StatusCode::OK, &page)
    })
}

pub(in crate::admin) fn revoke(ask: Ask) -> Answer {
    Box::pin(async move {
        let view = ask.state.control.revoke_secret(ask.caller()?, ask.name(0)).await?;
        let name = view.secret.name;
        Ok(ask.done(&format!("/secrets/{name}"), format!("{name} is revoked.")))
    })
}

pub(in crate::admin) fn delete(ask: Ask) -> Answer {
    Box::pin(async move {
        let view = ask.state.control.delete_secret(ask.caller()?, ask.name(0)).await?;
        Ok(ask.done("/secrets", format!("{} is deleted.", view.secret.name)))
    })
}
