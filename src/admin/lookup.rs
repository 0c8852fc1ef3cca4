//! `/v1/lookup`: what a credential is that was found somewhere, by its digest.

use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::{keys, tokens, wire};
use crate::control::{Found, Holding, LookUp};
use crate::credential::Kind;

pub(super) fn look_up(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = LookUp { digests: fields.texts("digests"), faults: fields.end(&["digests"]) };
        let found = call.state.control.look_up(call.caller()?, asked).await?;
        let now = call.state.control.now();
        let items = found.iter().map(|found| shown(found, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: None })
    })
}

fn shown(found: &Found, now: Timestamp) -> wire::Holding {
    let (kind, token, key) = match &found.holding {
        Holding::Token(token) => (Kind::Token, token.as_ref().map(|token| tokens::shown(token, now)), None),
        Holding::Key(key) => (Kind::Key, None, key.as_ref().map(|key| keys::shown(key, now))),
    };
    wire::Holding {
        digest: found.digest.to_text(),
        kind: kind.name().to_owned(),
        status: found.status.as_str().to_owned(),
        token,
        key,
    }
}
