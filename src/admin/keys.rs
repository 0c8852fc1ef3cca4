//! `/v1/keys`.

use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::control::{ListKeys, MintKey};
use crate::model::{Key, Scope};

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListKeys {
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["limit", "cursor"]),
        };
        let page = call.state.control.list_keys(call.caller()?, asked).await?;
        let now = call.state.control.now();
        let items = page.items.iter().map(|key| shown(key, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn mint(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = MintKey {
            member: fields.text("member"),
            scopes: fields.texts("scopes"),
            app: fields.text("app"),
            label: fields.text("label"),
            expires_in: fields.text("expires_in"),
            once: call.once.clone(),
            faults: fields.end(&["member", "scopes", "app", "label", "expires_in"]),
        };
        let minted = call.state.control.mint_key(call.caller()?, asked).await?;
        let status = if minted.value.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        let body = wire::MintedKey {
            key: shown(&minted.key, call.state.control.now()),
            secret: minted.value.map(|value| value.reveal().to_owned()),
        };
        json(status, &body)
    })
}

pub(super) fn revoke(call: Call) -> Answer {
    Box::pin(async move {
        let key = call.state.control.revoke_key(call.caller()?, call.name(0)).await?;
        json(StatusCode::OK, &wire::RevokedKey { key: shown(&key, call.state.control.now()) })
    })
}

/// A key as everybody is shown it.
pub(super) fn shown(key: &Key, now: Timestamp) -> wire::Key {
    wire::Key {
        id: key.id.to_string(),
        member: key.member.to_string(),
        scopes: key.scopes.iter().map(|scope| Scope::as_str(scope).to_owned()).collect(),
        app: key.app.as_ref().map(ToString::to_string),
        label: key.label.clone(),
        hint: key.hint.clone(),
        status: key.status(now).as_str().to_owned(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
        revoked_by: key.revoked_by.clone(),
        last_used_at: key.last_used_at,
        last_used_from: key.last_used_from.map(|address| address.to_string()),
    }
}
