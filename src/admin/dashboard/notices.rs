//! Notices that did not reach their receiver yet, and those that were given up.

use askama::Template;
use http::StatusCode;

use super::page::{Frame, html};
use super::words::Moment;
use super::{Answer, Ask};
use crate::control::ListNotices;
use crate::model::{Channel, Event, NoticeStatus};

#[derive(Template)]
#[template(path = "notices.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    beyond: bool,
}

struct Row {
    id: String,
    /// Whether it is its turn.
    due: bool,
    event: &'static str,
    subject: String,
    is_token: bool,
    channel: &'static str,
    recipient: String,
    status: NoticeStatus,
    attempts: u32,
    error: Option<String>,
    made: Moment,
    /// When it is tried again, or was given up.
    then: Moment,
}

pub(in crate::admin) fn list(ask: Ask) -> Answer {
    Box::pin(async move {
        let control = &ask.state.control;
        let cursor = ask.query().filled("cursor");
        let asked = ListNotices { cursor: cursor.clone(), ..ListNotices::default() };
        let found = control.list_notices(ask.caller()?, asked).await?;
        let now = control.now();
        let rows = found.items.into_iter().map(|notice| Row {
            id: notice.id.to_string(),
            due: notice.due_at <= now,
            status: control.notice_status(&notice),
            event: match notice.event {
                Event::TokenLeaked => "a token leaked",
                Event::KeyLeaked => "a key leaked",
                Event::TokenSuspected => "a token may have leaked",
                Event::TokenRevoked => "a token was revoked",
                Event::TokenExpiring => "a token is about to end",
                Event::MemberRemoved => "a member was removed",
            },
            is_token: notice.subject.starts_with("tok_"),
            subject: notice.subject,
            channel: match notice.channel {
                Channel::Email => "e-mail",
                Channel::Webhook => "webhook",
            },
            recipient: notice.recipient,
            attempts: notice.attempts,
            error: notice.last_error,
            made: Moment::new(notice.created_at, now),
            then: Moment::new(notice.dead_at.unwrap_or(notice.due_at), now),
        });
        let page = Page {
            frame: ask.frame("leaks", "Undelivered notices"),
            rows: rows.collect(),
            next: found.next_cursor.map(|next| format!("cursor={next}")),
            beyond: cursor.is_some(),
        };
        html(StatusCode::OK, &page)
    })
}

pub(in crate::admin) fn retry(ask: Ask) -> Answer {
    Box::pin(async move {
        ask.state.control.retry_notice(ask.caller()?, ask.name(0), None).await?;
        Ok(ask.done("/leaks/notices", "The notice will be tried again now."))
    })
}
