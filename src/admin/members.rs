//! `/v1/members`.

use http::StatusCode;

use super::call::{Answer, Call, json, tagged};
use super::fields::Fields;
use super::wire;
use crate::control::{AddMember, EditMember, ListMembers};
use crate::model::Member;

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListMembers {
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["limit", "cursor"]),
        };
        let page = call.state.control.list_members(call.caller()?, asked).await?;
        let items = page.items.iter().map(shown).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn add(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = AddMember {
            name: fields.text("name"),
            email: fields.text("email"),
            once: call.once.clone(),
            faults: fields.end(&["name", "email"]),
        };
        let (member, fresh) = call.state.control.add_member(call.caller()?, asked).await?;
        let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
        tagged(status, member.revision, &shown(&member))
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let member = call.state.control.show_member(call.caller()?, call.name(0)).await?;
        tagged(StatusCode::OK, member.revision, &shown(&member))
    })
}

pub(super) fn edit(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, true)?;
        let asked = EditMember {
            name: fields.text("name"),
            email: fields.text_or_none("email"),
            expected: call.expected.clone(),
            faults: fields.end(&["name", "email"]),
        };
        let member = call.state.control.edit_member(call.caller()?, call.name(0), asked).await?;
        tagged(StatusCode::OK, member.revision, &shown(&member))
    })
}

pub(super) fn remove(call: Call) -> Answer {
    Box::pin(async move {
        let removal = call.state.control.remove_member(call.caller()?, call.name(0)).await?;
        let body = wire::RemovedMember { tokens_ended: removal.tokens, keys_ended: removal.keys };
        json(StatusCode::OK, &body)
    })
}

fn shown(member: &Member) -> wire::Member {
    wire::Member {
        name: member.name.to_string(),
        email: member.email.as_ref().map(ToString::to_string),
        created_at: member.created_at,
        revision: member.revision,
    }
}
