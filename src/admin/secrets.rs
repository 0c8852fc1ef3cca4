//! `/v1/secrets`. Values come in; none goes out.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use zeroize::{Zeroize as _, Zeroizing};

use super::call::{Answer, Call, json, tagged};
use super::fields::Fields;
use super::wire;
use crate::control::{AskedGrant, EditSecret, ListSecrets, PutSecret, SecretView};

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let asked = ListSecrets {
            limit: fields.text("limit"),
            cursor: fields.text("cursor"),
            faults: fields.end(&["limit", "cursor"]),
        };
        let page = call.state.control.list_secrets(call.caller()?, asked).await?;
        let now = call.state.control.now();
        let items = page.items.into_iter().map(|view| shown(view, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: page.next_cursor })
    })
}

pub(super) fn put(mut call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        wipe(std::mem::take(&mut call.body));
        let asked = PutSecret {
            value: fields.text("value").map(Zeroizing::new),
            kind: fields.text("type"),
            description: fields.text("description"),
            apps: fields.texts("apps"),
            products: fields.texts("products"),
            environments: fields.texts("environments"),
            expires_in: fields.text("expires_in"),
            expires_at: fields.text("expires_at"),
            grant: grant(&mut fields),
            expected: call.expected.clone(),
            fresh: false,
            faults: fields.end(&[
                "value",
                "type",
                "description",
                "apps",
                "products",
                "environments",
                "expires_in",
                "expires_at",
                "grant",
            ]),
        };
        let (view, fresh) = call.state.control.put_secret(call.caller()?, call.name(0), asked).await?;
        let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
        tagged(status, view.secret.revision, &shown(view, call.state.control.now()))
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let view = call.state.control.show_secret(call.caller()?, call.name(0)).await?;
        tagged(StatusCode::OK, view.secret.revision, &shown(view, call.state.control.now()))
    })
}

pub(super) fn edit(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, true)?;
        let asked = EditSecret {
            description: fields.text("description"),
            apps: fields.texts_or_none("apps"),
            products: fields.texts_or_none("products"),
            environments: fields.texts_or_none("environments"),
            expires_in: fields.text("expires_in"),
            expires_at: fields.text_or_none("expires_at"),
            expected: call.expected.clone(),
            faults: fields.end(&[
                "description",
                "apps",
                "products",
                "environments",
                "expires_in",
                "expires_at",
            ]),
        };
        let view = call.state.control.edit_secret(call.caller()?, call.name(0), asked).await?;
        tagged(StatusCode::OK, view.secret.revision, &shown(view, call.state.control.now()))
    })
}

pub(super) fn revoke(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_body(&call.body, true)?.end(&[]).none()?;
        let view = call.state.control.revoke_secret(call.caller()?, call.name(0)).await?;
        tagged(StatusCode::OK, view.secret.revision, &shown(view, call.state.control.now()))
    })
}

pub(super) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        let view = call.state.control.delete_secret(call.caller()?, call.name(0)).await?;
        json(StatusCode::OK, &shown(view, call.state.control.now()))
    })
}

pub(super) fn rekey(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_body(&call.body, true)?.end(&[]).none()?;
        let done = call.state.control.rekey_secrets(call.caller()?, call.once.clone()).await?;
        json(StatusCode::OK, &wire::Rekeyed { secrets: done.secrets, key: done.key })
    })
}

/// `Some(None)`: none any more.
fn grant(fields: &mut Fields) -> Option<Option<AskedGrant>> {
    fields.object_or_none("grant", &["token_url", "client_id", "scopes", "auth"], |inner| AskedGrant {
        token_url: inner.text("token_url"),
        client_id: inner.text("client_id"),
        scopes: inner.texts("scopes"),
        auth: inner.text("auth"),
    })
}

/// A body that came in one piece is ours alone, and can be wiped.
pub(super) fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}

fn shown(view: SecretView, now: Timestamp) -> wire::Secret {
    let SecretView { secret, used_by, token } = view;
    let status = secret.status(now).as_str().to_owned();
    let (token_expires_at, last_error) = token.unwrap_or_default();
    wire::Secret {
        name: secret.name.to_string(),
        kind: secret.kind.as_str().to_owned(),
        description: secret.description.to_string(),
        apps: secret.scope.apps.iter().map(ToString::to_string).collect(),
        products: secret.scope.products.iter().map(ToString::to_string).collect(),
        environments: secret.scope.environments.iter().map(ToString::to_string).collect(),
        status,
        grant: secret.grant.map(|grant| wire::Grant {
            token_url: grant.token_url.to_string(),
            client_id: grant.client_id,
            scopes: grant.scopes,
            auth: grant.auth.as_str().to_owned(),
            token_expires_at,
            last_error,
        }),
        used_by: used_by
            .into_iter()
            .map(|(app, environment)| wire::SecretUse {
                app: app.to_string(),
                environment: environment.to_string(),
            })
            .collect(),
        created_at: secret.created_at,
        created_by: secret.created_by,
        set_at: secret.set_at,
        set_by: secret.set_by,
        expires_at: secret.expires_at,
        revoked_at: secret.revoked.as_ref().map(|ended| ended.at),
        revoked_by: secret.revoked.map(|ended| ended.by),
        revision: secret.revision,
    }
}
