//! `/v1/audit`.

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::control::ListEntries;

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        // What this list gives to go on with is what it takes to go on from, under either name.
        let (after, cursor) = (fields.text("after"), fields.text("cursor"));
        if after.is_some() && cursor.is_some() {
            fields.fault("cursor", "is another name of `after`: give one of the two");
        }
        let asked = ListEntries {
            after: after.or(cursor),
            limit: fields.text("limit"),
            faults: fields.end(&["after", "limit", "cursor"]),
        };
        let entries = call.state.control.list_entries(call.caller()?, asked).await?;
        let items = entries.items.into_iter().map(|entry| wire::Entry {
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
        });
        let next_cursor = entries.next.map(|seq| seq.to_string());
        json(StatusCode::OK, &wire::Page { items: items.collect::<Vec<_>>(), next_cursor })
    })
}
