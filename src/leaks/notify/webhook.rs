//! Webhooks, signed as Standard Webhooks describes (<https://www.standardwebhooks.com>).

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;

use super::{Failed, letter};
use crate::config::{self, Tokens, Webhook};
use crate::model::Notice;
use crate::outgoing::{Bounds, Trust};

const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(15), answer: 64 * 1024 };

/// Sends a notice once.
pub(super) async fn send(
    trust: &Trust,
    webhook: &Webhook,
    rules: &Tokens,
    notice: &Notice,
) -> Result<(), Failed> {
    let body = letter::document(notice, rules).to_string();
    let file = webhook.secret_file.clone();
    // Read anew each time: the secret may have been changed meanwhile.
    let read = tokio::task::spawn_blocking(move || config::signing_secret(&file)).await;
    let key = match read {
        Ok(Ok(key)) => key,
        Ok(Err(wrong)) => return Err(Failed::ForNow(format!("notify.webhook.secret_file {wrong}"), None)),
        Err(e) => return Err(Failed::ForNow(e.to_string(), None)),
    };
    let (id, now) = (notice.id.to_string(), Timestamp::now().as_second());
    let request = Request::builder()
        .method(Method::POST)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("webhook-id", &id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", signature(&key, &id, now, &body))
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| Failed::ForGood("the notice does not fit into a request".to_owned()))?;
    match trust.call(&webhook.url, request, BOUNDS).await {
        Ok(answer) => judge(answer.status, &answer.headers),
        Err(failure) => Err(Failed::ForNow(format!("the webhook's receiver {failure}"), None)),
    }
}

fn signature(key: &[u8], id: &str, now: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("{id}.{now}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref()))
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failed> {
    if status.is_success() {
        return Ok(());
    }
    let error = format!("the webhook's receiver answered {status}");
    // By which receivers say that they want no more.
    if status == StatusCode::GONE {
        return Err(Failed::ForGood(error));
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(Failed::ForNow(error, seconds.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_is_signed_alike() {
        let key = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn answers_are_judged_as_senders_of_webhooks_do() {
        let judged = |status: u16, after: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(after.map(|after| (RETRY_AFTER, HeaderValue::from_static(after))));
            judge(StatusCode::from_u16(status).unwrap(), &headers)
        };
        assert_eq!(judged(204, None), Ok(()));
        for status in [302, 400, 429, 500, 503] {
            assert!(matches!(judged(status, None), Err(Failed::ForNow(_, None))), "{status}");
        }
        assert!(matches!(judged(410, None), Err(Failed::ForGood(_))));
        let seven = Some(Duration::from_secs(7));
        assert!(matches!(judged(503, Some("7")), Err(Failed::ForNow(_, after)) if after == seven));
        assert!(matches!(judged(503, Some("soon")), Err(Failed::ForNow(_, None))));
    }
}
