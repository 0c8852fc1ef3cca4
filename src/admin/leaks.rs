//! `/v1/leaks`, and `/v1/notices`: what is still to be told of them.

use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::{keys, tokens, wire};
use crate::control::{Control, Holding, ListLeaks, ListNotices, Reacted, ReportLeaks};
use crate::model::{Leak, LeakDone, Notice};

/// What stands for the operator where a member's name would be.
const OPERATOR: &str = "operator";

pub(super) fn report(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = ReportLeaks {
            tokens: fields.texts("tokens"),
            source: fields.text("source"),
            url: fields.text("url"),
            places: fields.texts("places"),
            once: call.once.clone(),
            faults: fields.end(&["tokens", "source", "url", "places"]),
        };
        let reacted = call.state.control.report_leaks(call.caller()?, asked).await?;
        let now = call.state.control.now();
        let items = reacted.iter().map(|reacted| shown_reaction(reacted, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: None })
    })
}

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListLeaks {
            subject: fields.text("subject"),
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["subject", "limit", "cursor"]),
        };
        let page = call.state.control.list_leaks(call.caller()?, asked).await?;
        let items = page.items.into_iter().map(shown).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn notices(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListNotices {
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["limit", "cursor"]),
        };
        let control = &call.state.control;
        let page = control.list_notices(call.caller()?, asked).await?;
        let items = page.items.into_iter().map(|notice| shown_notice(control, notice)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn retry(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_body(&call.body, true)?.end(&[]).none()?;
        let control = &call.state.control;
        let found = control.retry_notice(call.caller()?, call.name(0), call.once.clone()).await?;
        let items = found.into_iter().map(|notice| shown_notice(control, notice)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: None })
    })
}

fn shown_reaction(reacted: &Reacted, now: Timestamp) -> wire::Reaction {
    match reacted {
        Reacted::Unknown => wire::Reaction {
            kind: None,
            done: "unknown".to_owned(),
            status: None,
            token: None,
            key: None,
            ended: wire::EndedCounts { requests: 0, streams: 0 },
            last_admin: false,
        },
        Reacted::Known { of, done, status, requests, streams, last_admin } => {
            let (token, key) = match of {
                Holding::Token(token) => (token.as_ref().map(|token| tokens::shown(token, now)), None),
                Holding::Key(key) => (None, key.as_ref().map(|key| keys::shown(key, now))),
            };
            wire::Reaction {
                kind: Some(of.kind().name().to_owned()),
                done: done.as_str().to_owned(),
                status: Some(status.as_str().to_owned()),
                token,
                key,
                ended: wire::EndedCounts { requests: *requests, streams: *streams },
                last_admin: *last_admin,
            }
        }
    }
}

fn shown(leak: Leak) -> wire::Leak {
    wire::Leak {
        id: leak.id.to_string(),
        kind: leak.kind.as_str().to_owned(),
        subject: leak.subject,
        source: leak.source,
        place: leak.place,
        owner: leak.member.unwrap_or_else(|| OPERATOR.to_owned()),
        app: leak.app,
        environment: leak.environment,
        label: leak.label,
        hint: leak.hint,
        done: leak.done.as_str().to_owned(),
        ends_at: leak.ends_at.filter(|_| leak.done == LeakDone::Grace),
        client: leak.client,
        agent: leak.agent,
        count: leak.count,
        first_at: leak.first_at,
        last_at: leak.last_at,
    }
}

fn shown_notice(control: &Control, notice: Notice) -> wire::Notice {
    let status = control.notice_status(&notice).as_str().to_owned();
    wire::Notice {
        id: notice.id.to_string(),
        channel: notice.channel.as_str().to_owned(),
        event: notice.event.as_str().to_owned(),
        subject: notice.subject,
        recipient: Some(notice.recipient).filter(|recipient| !recipient.is_empty()),
        status,
        attempts: notice.attempts,
        last_error: notice.last_error,
        created_at: notice.created_at,
        due_at: Some(notice.due_at).filter(|_| notice.dead_at.is_none()),
        dead_at: notice.dead_at,
    }
}
