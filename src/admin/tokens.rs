//! `/v1/tokens`.

use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::wire;
use crate::control::{ListTokens, MintToken};
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
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["app", "environment", "status", "member", "q", "limit", "cursor"]),
        };
        let page = call.state.control.list_tokens(call.caller()?, asked).await?;
        let now = Timestamp::now();
        let items = page.items.iter().map(|token| shown(token, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn mint(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = MintToken {
            label: fields.text("label"),
            description: fields.text("description"),
            app: fields.text("app"),
            environment: fields.text("environment"),
            expires_in: fields.text("expires_in"),
            expires_at: fields.text("expires_at"),
            faults: fields.end(&["label", "description", "app", "environment", "expires_in", "expires_at"]),
        };
        let minted = call.state.control.mint_token(call.caller()?, asked).await?;
        let value = minted.value.reveal();
        let body = wire::MintedToken {
            token: shown(&minted.token, Timestamp::now()),
            secret: Some(value.to_owned()),
            authorization: Some(format!("Bearer {value}")),
            query_parameter: call.state.control.query_parameter().map(|name| format!("?{name}={value}")),
        };
        json(StatusCode::CREATED, &body)
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let token = call.state.control.show_token(call.caller()?, &call.name).await?;
        json(StatusCode::OK, &shown(&token, Timestamp::now()))
    })
}

pub(super) fn revoke(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, true)?;
        let reason = fields.text("reason");
        let faults = fields.end(&["reason"]);
        let control = &call.state.control;
        let revoked = control.revoke_token(call.caller()?, &call.name, reason.as_deref(), faults).await?;
        let body = wire::RevokedToken {
            token: shown(&revoked.token, Timestamp::now()),
            ended: wire::EndedCounts { requests: revoked.requests, streams: revoked.streams },
        };
        json(StatusCode::OK, &body)
    })
}

fn shown(token: &Token, now: Timestamp) -> wire::Token {
    wire::Token {
        id: token.id.to_string(),
        label: token.label.to_string(),
        description: token.description.to_string(),
        app: token.app.to_string(),
        environment: token.environment.to_string(),
        deployment: token.deployment.clone(),
        on_publish: token.on_publish.to_string(),
        // What tokens do not have yet is what they do not restrict.
        scopes: Vec::new(),
        allowed_addresses: Vec::new(),
        rate_limit: None,
        hint: token.hint.clone(),
        status: token.status(now).as_str().to_owned(),
        created_at: token.created_at,
        created_by: token.created_by.as_ref().map_or_else(|| OPERATOR.to_owned(), ToString::to_string),
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
        revoked_at: token.revoked.as_ref().map(|ended| ended.at),
        revoked_by: token.revoked.as_ref().map(|ended| ended.by.clone()),
        revoke_reason: token.revoked.as_ref().and_then(|ended| ended.reason.clone()),
        successor: None,
    }
}
