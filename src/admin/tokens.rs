//! `/v1/tokens`.

use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json, tagged};
use super::fields::Fields;
use super::problem::Problem;
use super::wire;
use crate::control::{EditToken, ListTokens, MintToken, Minted, RevokeToken, Revoked, Rotate};
use crate::model::Token;

/// Who made a token that no member made.
const OPERATOR: &str = "operator";

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListTokens {
            app: fields.text("app"),
            environment: fields.text("environment"),
            status: fields.text("status"),
            member: fields.text("member"),
            q: fields.text("q"),
            expiring: fields.text("expiring"),
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&[
                "app",
                "environment",
                "status",
                "member",
                "q",
                "expiring",
                "limit",
                "cursor",
            ]),
        };
        let page = call.state.control.list_tokens(call.caller()?, asked).await?;
        let now = call.state.control.now();
        let items = page.items.iter().map(|token| shown(token, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn mint(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = order(&call, &mut fields);
        let asked = MintToken { faults: fields.end(&ORDER), ..asked };
        let minted = call.state.control.mint_token(call.caller()?, asked).await?;
        handed_over(&call, &minted)
    })
}

/// The fields that say what token is wanted.
pub(super) const ORDER: [&str; 10] = [
    "label",
    "description",
    "app",
    "environment",
    "expires_in",
    "expires_at",
    "scopes",
    "allowed_addresses",
    "rate_limit",
    "on_publish",
];

/// What they say.
pub(super) fn order(call: &Call, fields: &mut Fields) -> MintToken {
    MintToken {
        label: fields.text("label"),
        description: fields.text("description"),
        app: fields.text("app"),
        environment: fields.text("environment"),
        expires_in: fields.text("expires_in"),
        expires_at: fields.text("expires_at"),
        scopes: fields.texts("scopes"),
        allowed_addresses: fields.texts("allowed_addresses"),
        rate_limit: fields.text("rate_limit"),
        on_publish: fields.text("on_publish"),
        once: call.once.clone(),
        ..MintToken::default()
    }
}

pub(super) fn rotate(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, true)?;
        let asked = Rotate {
            overlap: fields.text("overlap"),
            expires_in: fields.text("expires_in"),
            once: call.once.clone(),
            faults: fields.end(&["overlap", "expires_in"]),
        };
        let minted = call.state.control.rotate_token(call.caller()?, call.name(0), asked).await?;
        handed_over(&call, &minted)
    })
}

/// The answer that holds a value, or says that an earlier one did.
fn handed_over(call: &Call, minted: &Minted) -> Result<Response, Problem> {
    let control = &call.state.control;
    let value = minted.value.as_ref().map(|value| value.reveal());
    let parameter = value.zip(control.query_parameter());
    let body = wire::MintedToken {
        token: shown(&minted.token, control.now()),
        secret: value.map(str::to_owned),
        authorization: value.map(|value| format!("Bearer {value}")),
        query_parameter: parameter.map(|(value, name)| format!("?{name}={value}")),
    };
    let status = if value.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    tagged(status, minted.token.revision, &body)
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let token = call.state.control.show_token(call.caller()?, call.name(0)).await?;
        tagged(StatusCode::OK, token.revision, &shown(&token, call.state.control.now()))
    })
}

pub(super) fn edit(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, true)?;
        let mut asked = EditToken {
            label: fields.text_or_none("label").map(Option::unwrap_or_default),
            description: fields.text_or_none("description").map(Option::unwrap_or_default),
            scopes: fields.texts_or_none("scopes"),
            allowed_addresses: fields.texts_or_none("allowed_addresses"),
            rate_limit: fields.text_or_none("rate_limit"),
            expires_in: fields.text("expires_in"),
            expected: call.expected.clone(),
            ..EditToken::default()
        };
        match fields.text_or_none("expires_at") {
            Some(None) => fields.fault("expires_at", "can only be brought forward"),
            Some(Some(end)) => asked.expires_at = Some(end),
            None => {}
        }
        asked.faults = fields.end(&[
            "label",
            "description",
            "scopes",
            "allowed_addresses",
            "rate_limit",
            "expires_in",
            "expires_at",
        ]);
        let token = call.state.control.edit_token(call.caller()?, call.name(0), asked).await?;
        tagged(StatusCode::OK, token.revision, &shown(&token, call.state.control.now()))
    })
}

pub(super) fn revoke(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, true)?;
        let asked = RevokeToken {
            reason: fields.text("reason"),
            once: call.once.clone(),
            faults: fields.end(&["reason"]),
        };
        let revoked = call.state.control.revoke_token(call.caller()?, call.name(0), asked).await?;
        ended(&call, &revoked)
    })
}

pub(super) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        let deleted = call.state.control.delete_token(call.caller()?, call.name(0)).await?;
        ended(&call, &deleted)
    })
}

fn ended(call: &Call, revoked: &Revoked) -> Result<Response, Problem> {
    let body = wire::RevokedToken {
        token: shown(&revoked.token, call.state.control.now()),
        ended: wire::EndedCounts { requests: revoked.requests, streams: revoked.streams },
    };
    json(StatusCode::OK, &body)
}

/// A token as everybody is shown it.
pub(super) fn shown(token: &Token, now: Timestamp) -> wire::Token {
    let replaced = token.replaced_at(now).zip(token.replaced.as_ref());
    wire::Token {
        id: token.id.to_string(),
        label: token.label.to_string(),
        description: token.description.to_string(),
        app: token.app.to_string(),
        environment: token.environment.to_string(),
        deployment: token.deployment.clone(),
        on_publish: token.on_publish.to_string(),
        scopes: token.rules.scopes.iter().map(ToString::to_string).collect(),
        allowed_addresses: token.rules.networks.iter().map(ToString::to_string).collect(),
        rate_limit: token.rules.rate.map(|rate| rate.to_string()),
        hint: token.hint.clone(),
        status: token.status(now).as_str().to_owned(),
        created_at: token.created_at,
        created_by: token.created_by.as_ref().map_or_else(|| OPERATOR.to_owned(), ToString::to_string),
        expires_at: token.expires_at,
        ends_at: token.ends_at(),
        last_used_at: token.last_used_at,
        last_used_from: token.last_used_from.map(|address| address.to_string()),
        revoked_at: token.revoked.as_ref().map(|ended| ended.at),
        revoked_by: token.revoked.as_ref().map(|ended| ended.by.clone()),
        revoke_reason: token.revoked.as_ref().and_then(|ended| ended.reason.clone()),
        replaced_at: replaced.as_ref().map(|(at, _)| *at),
        replaced_by: replaced.map(|(_, replaced)| replaced.by.clone()),
        predecessor: token.predecessor.map(|id| id.to_string()),
        successor: token.successor.map(|id| id.to_string()),
        revision: token.revision,
    }
}
