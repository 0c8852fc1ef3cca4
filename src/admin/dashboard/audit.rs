//! The audit log, newest first.

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::page::{Frame, html};
use super::words::{ACTIONS, Moment, cut};
use super::{Answer, Ask};
use crate::control::SearchEntries;
use crate::model::Entry;

/// Entries on a page.
const ENTRIES: &str = "30";
/// Characters of one entry's details.
const DETAILS: usize = 300;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    actor: String,
    action: String,
    subject: String,
    actions: &'static [(&'static str, &'static str)],
    lines: Vec<Line>,
    next: Option<String>,
    beyond: bool,
}

/// An entry as a page tells it.
pub(super) struct Line {
    pub(super) at: Moment,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) subject: String,
    /// The page of what it is about.
    pub(super) link: Option<String>,
    pub(super) detail: Vec<(String, String)>,
}

pub(super) fn line(entry: &Entry, now: Timestamp) -> Line {
    let known = ACTIONS.iter().find(|(action, _)| *action == entry.action);
    let link =
        entry.subject.starts_with("tok_") && !matches!(&*entry.action, "token.delete" | "token.forget");
    let mut room = DETAILS;
    let detail = entry.detail.as_object().into_iter().flatten();
    Line {
        at: Moment::new(entry.at, now),
        actor: entry.actor.clone(),
        action: known.map_or(&*entry.action, |(_, words)| words).to_owned(),
        subject: entry.subject.clone(),
        link: link.then(|| format!("/tokens/{}", entry.subject)),
        detail: detail
            .filter_map(|(name, value)| {
                let value = cut(&told(value)?, room);
                room = room.saturating_sub(value.chars().count());
                Some((name.replace('_', " "), value))
            })
            .collect(),
    }
}

/// A value in plain words; nothing of what is nothing.
fn told(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(told).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move {
        let (query, control) = (ask.query(), &ask.state.control);
        let cursor = query.filled("cursor");
        let asked = SearchEntries {
            actor: query.filled("actor"),
            action: query.filled("action"),
            subject: query.filled("subject"),
            limit: Some(ENTRIES.to_owned()),
            cursor: cursor.clone(),
            ..SearchEntries::default()
        };
        let [actor, action, subject] =
            ["actor", "action", "subject"].map(|name| query.filled(name).unwrap_or_default());
        let found = control.search_entries(ask.caller()?, asked).await?;
        let now = control.now();
        let next = found.next_cursor.map(|next| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            for (name, value) in
                [("actor", &actor), ("action", &action), ("subject", &subject), ("cursor", &next)]
            {
                if !value.is_empty() {
                    query.append_pair(name, value);
                }
            }
            query.finish()
        });
        let page = Page {
            frame: ask.frame("audit", "Audit"),
            lines: found.items.iter().map(|entry| line(entry, now)).collect(),
            actions: &ACTIONS,
            beyond: cursor.is_some(),
            actor,
            action,
            subject,
            next,
        };
        html(StatusCode::OK, &page)
    })
}
