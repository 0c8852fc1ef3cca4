//! Asking a token endpoint for an access token with a client-credentials grant (RFC 6749, section 4.4). Every wait and
//! every answer is bounded, no redirection is followed, and nothing of an answer is repeated in an error but the codes
//! that the RFC knows.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::value::Value;
use super::vault::Client;
use crate::model::ClientAuth;
use crate::outgoing::{Answer, Bounds, Failure, Trust};

const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(10), answer: 64 * 1024 };
/// The longest token.
const LONGEST: usize = 8 * 1024;
/// How long a token lives of which the endpoint does not say it.
const USUAL: Duration = Duration::from_secs(60 * 60);
/// The longest that one is believed to.
const LONGEST_LIFE: u64 = 366 * 86_400;
/// What stays as it is in a form (URL standard, section 5.2).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');
/// The error codes of RFC 6749, section 5.2.
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A token, and for how long it is good.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) value: Value,
    pub(super) lifetime: Duration,
}

/// Why there is no token, in words that hold nothing of the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the token endpoint {0}")]
    Unanswered(#[from] Failure),
    #[error("the token endpoint refused: {status}{code}", code = .code.map(|code| format!(", {code}")).unwrap_or_default())]
    No { status: StatusCode, code: Option<&'static str> },
    #[error("the answer of the token endpoint is no access token: {0}")]
    Nonsense(&'static str),
    #[error("the client's id, its secret or its scopes do not fit into a request")]
    Unfit,
}

/// The part of an answer that matters (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Error {
    error: String,
}

/// Asks once.
pub(super) async fn ask(client: &Client, trust: &Trust) -> Result<Issued, Refused> {
    let request = request(client).ok_or(Refused::Unfit)?;
    let Answer { status, body, .. } = trust.call(client.grant.token_url.as_uri(), request, BOUNDS).await?;
    let judged = judge(status, &body);
    // What was read in one piece is ours alone, and can be wiped.
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
    judged
}

/// `None` where what it is made of is no HTTP.
fn request(client: &Client) -> Option<Request<Full<Bytes>>> {
    let grant = &client.grant;
    let secret = Zeroizing::new(String::from_utf8(client.secret.reveal().to_vec()).ok()?);
    let (id, secret) = (encoded(&grant.client_id), encoded(&secret));
    let mut form = Zeroizing::new(String::with_capacity(LONGEST * 4));
    form.push_str("grant_type=client_credentials");
    if !grant.scopes.is_empty() {
        form.push_str("&scope=");
        form.push_str(&encoded(&grant.scopes.join(" ")));
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    match grant.auth {
        ClientAuth::Basic => {
            let pair = Zeroizing::new([id.as_bytes(), b":", secret.as_bytes()].concat());
            let pair = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
            let value = Zeroizing::new([b"Basic ", pair.as_bytes()].concat());
            let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).ok()?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        ClientAuth::Post => {
            for part in ["&client_id=", &id, "&client_secret=", &secret] {
                form.push_str(part);
            }
        }
    }
    let form = Zeroizing::new(form.as_bytes().to_vec());
    request.body(Full::new(Bytes::from_owner(form))).ok()
}

fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(utf8_percent_encode(text, FORM).to_string())
}

fn judge(status: StatusCode, body: &[u8]) -> Result<Issued, Refused> {
    if status != StatusCode::OK {
        let named = serde_json::from_slice::<Error>(body).ok();
        let code = named.and_then(|named| CODES.into_iter().find(|code| *code == named.error));
        return Err(Refused::No { status, code });
    }
    let answer: Granted = serde_json::from_slice(body)
        .map_err(|_| Refused::Nonsense("it is not a JSON object of that kind"))?;
    let token = Zeroizing::new(answer.access_token.unwrap_or_default().into_bytes());
    if token.is_empty() || token.len() > LONGEST || !token.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Refused::Nonsense("`access_token` is missing, too long or not printable ASCII"));
    }
    // What it does not understand a client must not use (section 7.1).
    if !answer.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(Refused::Nonsense("`token_type` is not `Bearer`"));
    }
    let lifetime = match answer.expires_in {
        None | Some(serde_json::Value::Null) => USUAL,
        Some(given) => {
            let seconds = match &given {
                // Not a few endpoints write the number as text.
                serde_json::Value::String(text) => text.parse().ok(),
                given => given.as_f64(),
            };
            let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 1.0);
            let seconds =
                seconds.ok_or(Refused::Nonsense("`expires_in` is not a number of seconds to come"))?;
            Duration::from_secs((seconds as u64).min(LONGEST_LIFE))
        }
    };
    Ok(Issued { value: Value::new(token), lifetime })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Result<(String, u64), String> {
        let judged = judge(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let shown = |issued: Issued| {
            (String::from_utf8(issued.value.reveal().to_vec()).unwrap(), issued.lifetime.as_secs())
        };
        judged.map(shown).map_err(|e| e.to_string())
    }

    #[test]
    fn answers_are_believed_as_far_as_they_make_sense() {
        for (body, lifetime) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":60,"x":[1]}"#, 60),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":"60"}"#, 60),
            (r#"{"access_token":"t","token_type":"BEARER","expires_in":59.9}"#, 59),
            (r#"{"access_token":"t","token_type":"Bearer"}"#, 3600),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":null}"#, 3600),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":1e300}"#, LONGEST_LIFE),
        ] {
            assert_eq!(judged(200, body), Ok(("t".to_owned(), lifetime)), "{body}");
        }
        for body in [
            "",
            "[]",
            "<html>hunter2</html>",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"hunter2\r\n","token_type":"Bearer"}"#,
            r#"{"access_token":"hunter2"}"#,
            r#"{"access_token":"hunter2","token_type":"mac"}"#,
            r#"{"access_token":7,"token_type":"Bearer"}"#,
            r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":0}"#,
            r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":[60]}"#,
        ] {
            let wrong = judged(200, body).unwrap_err();
            assert!(wrong.contains("no access token") && !wrong.contains("hunter2"), "{body}: {wrong}");
        }
    }

    #[test]
    fn refusals_name_what_the_standard_knows_and_nothing_else() {
        let invalid = r#"{"error":"invalid_client","error_description":"hunter2"}"#;
        assert_eq!(
            judged(401, invalid).unwrap_err(),
            "the token endpoint refused: 401 Unauthorized, invalid_client"
        );
        for (status, body) in [(500, "hunter2"), (302, "{}"), (400, r#"{"error":"hunter2"}"#), (201, invalid)]
        {
            let wrong = judged(status, body).unwrap_err();
            assert!(wrong.contains(&status.to_string()) && !wrong.contains("hunter2"), "{wrong}");
        }
    }
}
