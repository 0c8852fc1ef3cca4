//! The list of tokens.

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;

use super::page::{Frame, html};
use super::words::{self, Moment};
use super::{Answer, Ask};
use crate::control::{AppView, Caller, ListMembers, ListTokens};
use crate::model::{Scope, Status, Token};

/// Offered as names to filter by; any other can be typed.
const MEMBERS: &str = "30";

/// Characters of a token's scopes that a list shows.
const SCOPES: usize = 60;

#[derive(Template)]
#[template(path = "tokens.html")]
struct Tokens {
    frame: Frame,
    filter: Filter,
    choices: Choices,
    rows: Vec<Row>,
    /// The query of the next page.
    next: Option<String>,
    /// Whether this is not the first page.
    beyond: bool,
}

/// What the list is narrowed down to, as it was asked for.
#[derive(Default)]
struct Filter {
    q: String,
    app: String,
    environment: String,
    status: String,
    member: String,
    /// Within which time they end: only those in use.
    expiring: String,
}

/// What it can be narrowed down to.
struct Choices {
    apps: Vec<String>,
    environments: Vec<String>,
    statuses: Vec<&'static str>,
    ends: [(&'static str, &'static str); 2],
    /// `None` where the caller sees only their own.
    members: Option<Vec<String>>,
}

/// A token in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) app: String,
    pub(super) environment: String,
    pub(super) scopes: String,
    pub(super) maker: String,
    pub(super) created: Moment,
    pub(super) end: Option<Moment>,
    pub(super) used: Option<Moment>,
    pub(super) status: &'static str,
}

impl Row {
    pub(super) fn new(token: &Token, now: Timestamp) -> Self {
        Self {
            id: token.id.to_string(),
            label: token.label.to_string(),
            hint: token.hint.clone(),
            app: token.app.to_string(),
            environment: token.environment.to_string(),
            scopes: words::cut(&words::in_short(&token.rules.scopes, "any path"), SCOPES),
            maker: words::maker(token),
            created: Moment::new(token.created_at, now),
            end: words::end(token, now),
            used: token.last_used_at.map(|at| Moment::new(at, now)),
            status: token.status(now).as_str(),
        }
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.pairs().all(|(_, value)| value.is_empty())
    }

    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("q", self.q.as_str()),
            ("app", &self.app),
            ("environment", &self.environment),
            ("status", &self.status),
            ("member", &self.member),
            ("expiring", &self.expiring),
        ]
        .into_iter()
    }

    /// The query of the page that begins at `cursor`.
    fn query(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.pairs().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        query.append_pair("cursor", cursor).finish()
    }
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move {
        let (query, control, caller) = (ask.query(), &ask.state.control, ask.caller()?);
        let text = |name: &str| query.filled(name).unwrap_or_default();
        let filter = Filter {
            q: text("q"),
            app: text("app"),
            environment: text("environment"),
            status: text("status"),
            member: text("member"),
            expiring: text("expiring"),
        };
        let cursor = query.filled("cursor");
        let asked = ListTokens {
            app: query.filled("app"),
            environment: query.filled("environment"),
            status: query.filled("status"),
            member: query.filled("member"),
            q: query.filled("q"),
            expiring: query.filled("expiring"),
            cursor: cursor.clone(),
            ..ListTokens::default()
        };
        let page = control.list_tokens(caller, asked).await?;
        let now = control.now();
        let choices = Choices::new(&control.list_apps(caller).await?, members(&ask, caller).await?);
        let page = Tokens {
            frame: ask.frame("tokens", "Tokens"),
            rows: page.items.iter().map(|token| Row::new(token, now)).collect(),
            next: page.next_cursor.map(|next| filter.query(&next)),
            beyond: cursor.is_some(),
            choices,
            filter,
        };
        html(StatusCode::OK, &page)
    })
}

/// Whose tokens the caller can tell apart: only who sees all is asked for owners.
async fn members(ask: &Ask, caller: &Caller) -> Result<Option<Vec<String>>, crate::control::Fault> {
    if !caller.scopes().allow(Scope::Admin) {
        return Ok(None);
    }
    // A key that is bound to an app does not see who there is, but may name them.
    if caller.require_workspace().is_err() {
        return Ok(Some(Vec::new()));
    }
    let asked = ListMembers { limit: Some(MEMBERS.to_owned()), ..ListMembers::default() };
    let page = ask.state.control.list_members(caller, asked).await?;
    let names = page.items.iter().map(|member| member.name.to_string());
    Ok(Some(["operator".to_owned()].into_iter().chain(names).collect()))
}

impl Choices {
    fn new(apps: &[AppView], members: Option<Vec<String>>) -> Self {
        let mut environments: Vec<_> = apps
            .iter()
            .flat_map(|view| &view.app.environments)
            .map(|environment| environment.name.to_string())
            .collect();
        environments.sort_unstable();
        environments.dedup();
        Self {
            apps: apps.iter().map(|view| view.app.name.to_string()).collect(),
            environments,
            statuses: Status::ALL.map(Status::as_str).to_vec(),
            ends: [("24h", "in use, within a day"), ("7d", "in use, within 7 days")],
            members,
        }
    }
}
