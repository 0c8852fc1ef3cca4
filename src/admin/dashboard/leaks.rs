//! Leaks and warnings: what was found where, and what was done. Places are text, never links: whoever holds a token may
//! name any.

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;

use super::page::{Frame, html};
use super::words::{Moment, cut};
use super::{Answer, Ask};
use crate::control::{Caller, Fault, ListLeaks, ListNotices};
use crate::model::{Leak, LeakDone, LeakKind};

/// Those on a page, and those of one token that its page tells.
const ROWS: &str = "25";
const OF_TOKEN: &str = "5";
/// Characters of a place that are shown: whoever reports may write a thousand.
const PLACE: usize = 200;
/// And of an address: none is longer.
const CLIENT: usize = 64;
const AGENT: usize = 120;

#[derive(Template)]
#[template(path = "leaks.html")]
struct Page {
    frame: Frame,
    /// The token or key that the list is narrowed down to.
    subject: String,
    rows: Vec<Row>,
    next: Option<String>,
    beyond: bool,
    /// For who may see them: whether notices wait, and whether some were given up.
    notices: Option<(usize, usize)>,
}

/// A leak as pages tell it.
pub(super) struct Row {
    pub(super) label: String,
    pub(super) hint: String,
    /// The page of the token, or the list of keys.
    pub(super) link: Option<String>,
    pub(super) is_key: bool,
    pub(super) owner: String,
    pub(super) of: String,
    /// What came to light, and whether that is more than a suspicion.
    pub(super) what: &'static str,
    pub(super) certain: bool,
    pub(super) source: String,
    pub(super) place: String,
    /// From where the last sign of it came.
    pub(super) client: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) done: &'static str,
    pub(super) end: Option<Moment>,
    pub(super) count: u64,
    pub(super) first: Moment,
    pub(super) last: Moment,
}

impl Row {
    fn new(leak: &Leak, now: Timestamp) -> Self {
        let is_key = leak.subject.starts_with("key_");
        let link = if is_key { "/keys".to_owned() } else { format!("/tokens/{}", leak.subject) };
        let app = leak.app.as_deref().map(|app| if app == "*" { "every app" } else { app });
        let of = [app, leak.environment.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        Self {
            label: leak.label.clone(),
            hint: leak.hint.clone(),
            link: (is_key || leak.subject.starts_with("tok_")).then_some(link),
            is_key,
            owner: leak.member.clone().unwrap_or_else(|| "operator".to_owned()),
            of,
            what: match leak.kind {
                LeakKind::Report => "reported as leaked",
                LeakKind::Referer => "seen in a Referer",
                LeakKind::Crawler => "opened by a crawler or link preview",
                LeakKind::RevokedInUse => "revoked, and still tried",
                LeakKind::NewNetwork => "used from a new network",
            },
            certain: leak.kind == LeakKind::Report,
            source: leak.source.clone(),
            place: cut(&leak.place, PLACE),
            client: leak.client.as_deref().map(|client| cut(client, CLIENT)),
            agent: leak.agent.as_deref().map(|agent| cut(agent, AGENT)),
            done: match leak.done {
                LeakDone::Revoked => "revoked",
                LeakDone::Grace => "ends early",
                LeakDone::AlreadyEnded => "had ended before",
                LeakDone::Warned => "owner warned",
            },
            end: leak
                .ends_at
                .filter(|_| leak.done == LeakDone::Grace)
                .map(|end| if end > now { Moment::ahead(end, now) } else { Moment::new(end, now) }),
            count: leak.count,
            first: Moment::new(leak.first_at, now),
            last: Moment::new(leak.last_at, now),
        }
    }
}

/// The newest of one token.
pub(super) async fn of_token(ask: &Ask, caller: &Caller, id: String) -> Result<Vec<Row>, Fault> {
    let asked = ListLeaks { subject: Some(id), limit: Some(OF_TOKEN.to_owned()), ..ListLeaks::default() };
    let found = ask.state.control.list_leaks(caller, asked).await?;
    let now = ask.state.control.now();
    Ok(found.items.iter().map(|leak| Row::new(leak, now)).collect())
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move {
        let (query, control, caller) = (ask.query(), &ask.state.control, ask.caller()?);
        let (subject, cursor) = (query.filled("subject"), query.filled("cursor"));
        let asked = ListLeaks {
            subject: subject.clone(),
            cursor: cursor.clone(),
            limit: Some(ROWS.to_owned()),
            ..ListLeaks::default()
        };
        let found = control.list_leaks(caller, asked).await?;
        let now = control.now();
        let notices = match caller.require_workspace() {
            Ok(()) => {
                let notices = control.list_notices(caller, ListNotices::default()).await?.items;
                let given_up = notices.iter().filter(|notice| notice.dead_at.is_some()).count();
                Some((notices.len(), given_up))
            }
            Err(_) => None,
        };
        let next = found.next_cursor.map(|next| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(subject) = &subject {
                query.append_pair("subject", subject);
            }
            query.append_pair("cursor", &next).finish()
        });
        let page = Page {
            frame: ask.frame("leaks", "Leaks"),
            subject: subject.unwrap_or_default(),
            rows: found.items.iter().map(|leak| Row::new(leak, now)).collect(),
            next,
            beyond: cursor.is_some(),
            notices,
        };
        html(StatusCode::OK, &page)
    })
}
