//! `/v1/lookup`: what a credential is that was found somewhere, by its digest.

use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::{keys, tokens, wire};
use crate::control::{Found, Holding, LookUp};
use crate::credential::Digest;

pub(super) fn look_up(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let asked = LookUp { digests: fields.texts("digests"), faults: fields.end(&["digests"]) };
        let found = call.state.control.look_up(call.caller()?, asked).await?;
        let now = call.state.control.now();
        let items = found.iter().map(|(digest, found)| shown(digest, found, now)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor: None })
    })
}

fn shown(digest: &Digest, found: &Found, now: Timestamp) -> wire::Holding {
    let (token, key) = match &found.holding {
        Holding::Token(token) => (token.as_ref().map(|token| tokens::shown(token, now)), None),
        Holding::Key(key) => (None, key.as_ref().map(|key| keys::shown(key, now))),
    };
    wire::Holding {
        digest: digest.to_text(),
        kind: found.holding.kind().name().to_owned(),
        status: found.status.as_str().to_owned(),
        token,
        key,
    }
}
