//! What a request's fields ask for beside its body: that an edit meets the state that the caller saw (RFC 9110, section
//! 13.1.1), and that a call happens once, however often it comes.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::control::{Faults, Once};

/// Names that callers give their calls.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LONGEST_KEY: usize = 255;

/// The revisions of which one must be there; `None`: whatever is.
pub(super) fn expected(headers: &HeaderMap) -> Option<Vec<u64>> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    values.peek()?;
    let mut revisions = Vec::new();
    for value in values {
        // What is no tag of ours names no state of ours: such an edit is stale.
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return None;
            }
            let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            revisions.extend(revision.and_then(|revision| revision.parse::<u64>().ok()));
        }
    }
    Some(revisions)
}

/// The name that the caller gave the call.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    });
    let mut faults = Faults::default();
    if key.is_none() || values.next().is_some() {
        let message = format!("must be given once, as 1 to {LONGEST_KEY} printable ASCII characters");
        faults.add("Idempotency-Key", message);
    }
    faults.none()?;
    Ok(key.map(str::to_owned))
}

/// Binds the name to what is asked for.
pub(super) fn once(key: &str, method: &Method, uri: &Uri, body: &Bytes) -> Once {
    let mut hash = Sha256::new();
    for part in [method.as_str(), uri.path(), uri.query().unwrap_or_default()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(body);
    Once { key: Sha256::digest(key).into(), request: hash.finalize().into() }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn conditions_name_revisions() {
        let expected = |values: &[&'static str]| expected(&with("if-match", values));
        assert_eq!(expected(&[]), None);
        assert_eq!(expected(&["*"]), None);
        assert_eq!(expected(&["\"7\""]), Some(vec![7]));
        assert_eq!(expected(&["\"7\", \"8\"", "\"9\""]), Some(vec![7, 8, 9]));
        for never in ["", "7", "W/\"7\"", "\"x\"", "\"-1\"", "\""] {
            assert_eq!(expected(&[never]), Some(vec![]), "{never}");
        }
    }

    #[test]
    fn names_of_calls_are_bounded() {
        let key = |values: &[&'static str]| idempotency_key(&with(IDEMPOTENCY_KEY, values));
        assert_eq!(key(&[]).unwrap(), None);
        assert_eq!(key(&["a b-1"]).unwrap().as_deref(), Some("a b-1"));
        for wrong in [&[""][..], &["a", "a"], &["a\tb"]] {
            assert!(key(wrong).is_err(), "{wrong:?}");
        }
        let body = Bytes::from_static(b"{}");
        let once = |path: &str| once("k", &Method::POST, &path.parse().unwrap(), &body).request;
        assert_eq!(once("/a"), once("/a"));
        assert_ne!(once("/a"), once("/b"));
        assert_ne!(once("/a"), once("/a?dry_run=true"));
    }
}
