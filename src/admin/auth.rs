//! Who calls.

use http::{HeaderMap, StatusCode, header};

use super::call::{Answer, Call, json};
use super::problem::Problem;
use super::serve::Origin;
use super::wire;
use crate::control::{Caller, Control};
use crate::credential::{Kind, Plaintext};
use crate::model::Scope;

/// The caller of a request: the operator on the socket, elsewhere whoever holds the management key that it carries.
pub(super) async fn caller(
    control: &Control,
    origin: Option<Origin>,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let from = match origin {
        Some(Origin::Socket) if was_forwarded(headers) => {
            return Err(Problem::forbidden("the admin socket takes no requests that a proxy forwarded"));
        }
        Some(Origin::Socket) => return Ok(Caller::Operator { from: None }),
        Some(Origin::Tcp(peer)) => peer.ip().to_canonical(),
        None => return Err(Problem::unauthorized("this needs a management key")),
    };
    let refused = || Problem::unauthorized("the management key is unknown, expired or revoked");
    let key = key(headers)?;
    let key = Plaintext::parse(Kind::Key, key).ok_or_else(refused)?;
    control.caller(&key, from).await?.ok_or_else(refused)
}

/// Whether a proxy, such as the gateway itself, sent the request on for somebody who could not open the socket.
fn was_forwarded(headers: &HeaderMap) -> bool {
    let forwarded = |name: &str| name == "forwarded" || name == "via" || name.starts_with("x-forwarded-");
    headers.keys().any(|name| forwarded(name.as_str()) || name.as_str().starts_with("x-portcullis-"))
}

fn key(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let missing = || Problem::unauthorized("this needs a management key: send `Authorization: Bearer pcm_…`");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?.as_bytes();
    if values.next().is_some() {
        return Err(Problem::invalid_request("there is more than one Authorization header"));
    }
    let (scheme, key) = value.split_at_checked("Bearer ".len()).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case(b"Bearer ") { Ok(key.trim_ascii()) } else { Err(missing()) }
}

pub(super) fn whoami(call: Call) -> Answer {
    Box::pin(async move {
        let caller = call.caller()?;
        let body = wire::Whoami {
            member: caller.member().map(ToString::to_string),
            scopes: caller.scopes().iter().map(|scope| Scope::as_str(scope).to_owned()).collect(),
            app: caller.app().map(ToString::to_string),
        };
        json(StatusCode::OK, &body)
    })
}
