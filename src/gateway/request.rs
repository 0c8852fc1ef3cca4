//! The first stage: a request of which every server would say the same thing about where it ends and whom it means.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use hyper::ext::Protocol;

use super::head::{BodyLength, Head, Offence, canonical_decimal};
use super::notable::Notable;
use super::reject::Reject;
use crate::model::Refusal;

/// A request that passed the first stage, ready to be routed.
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: BodyLength,
    /// HTTP/2's way to ask for a WebSocket. It is judged and passed on as the GET that HTTP/1 asks with.
    pub tunnel: bool,
    /// The client's own connection is encrypted, as far as is known. Not so until said.
    pub secure: bool,
    pub(super) notable: Notable,
    pub(super) host: Host,
}

/// Shows nothing that may hold a token, wherever it is shown: in a log or a panic.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Request {
    /// Accepts a request whose head was judged.
    ///
    /// # Errors
    /// When two servers could disagree about the request, or when its method goes no further than a gateway.
    pub fn accept(parts: Parts, head: Head) -> Result<Self, Reject> {
        if let Some(offence) = head.offence {
            return Err(refusal_of(offence));
        }
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(ENDS_HERE);
        }
        let host = host(&parts)?;
        let Parts { method, uri, version, headers, .. } = parts;
        let notable = Notable::of(&headers);
        Ok(Self {
            method,
            uri,
            version,
            headers,
            body: head.body,
            tunnel: false,
            secure: false,
            notable,
            host,
        })
    }

    /// Judges the head of an HTTP/2 stream, which `ended` with it or did not, as strictly as if it had come over
    /// HTTP/1: to the app it goes that way. The library resets streams with fields that HTTP/2 does not know.
    ///
    /// # Errors
    /// When a server behind us could read the request in another way, or it goes no further than a gateway.
    pub fn accept_stream(mut parts: Parts, ended: bool, fields: usize) -> Result<Self, Reject> {
        join_cookies(&mut parts.headers);
        if parts.headers.len() > fields {
            return Err(Reject::new(Refusal::HeadersTooLarge, Offence::TooManyFields.detail()));
        }
        if parts
            .headers
            .values()
            .any(|value| matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']))
        {
            return Err(Reject::malformed("the value of a header field begins or ends with a blank"));
        }
        let tunnel = match parts.method {
            Method::TRACE => return Err(ENDS_HERE),
            Method::CONNECT => match parts.extensions.get::<Protocol>() {
                None => return Err(ENDS_HERE),
                Some(protocol) if protocol.as_str() == "websocket" => true,
                Some(_) => {
                    return Err(Reject::malformed("the only protocol that CONNECT opens is websocket"));
                }
            },
            _ => false,
        };
        let body = match (stream_length(&parts.headers)?, ended) {
            _ if tunnel => BodyLength::None,
            (Some(length), _) => BodyLength::Known(length),
            (None, true) => BodyLength::None,
            (None, false) => BodyLength::Chunked,
        };
        let host = stream_host(&mut parts)?;
        let Parts { method, uri, version, headers, .. } = parts;
        let method = if tunnel { Method::GET } else { method };
        let notable = Notable::of(&headers);
        Ok(Self { method, uri, version, headers, body, tunnel, secure: false, notable, host })
    }

    /// The host asked for, in lower case and without its port; empty if none was named.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.as_str()
    }

    /// The same, for whoever compares it.
    pub(super) fn host_bytes(&self) -> &[u8] {
        self.host.as_bytes()
    }

    /// The same, for whoever keeps it.
    pub(super) fn named_host(&self) -> Host {
        self.host.clone()
    }

    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }
}

/// What the sender of a malformed head is told.
pub(super) const fn refusal_of(offence: Offence) -> Reject {
    let refusal = match offence {
        Offence::HeadTooLarge | Offence::TooManyFields => Refusal::HeadersTooLarge,
        Offence::TargetTooLong => Refusal::UriTooLong,
        _ => return Reject::malformed(offence.detail()),
    };
    Reject { close: true, ..Reject::new(refusal, offence.detail()) }
}

const ENDS_HERE: Reject =
    Reject { close: true, ..Reject::new(Refusal::MethodNotAllowed, "CONNECT and TRACE end here") };

/// HTTP/2 may send cookies apart, of which an HTTP/1 app could see the first alone (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
    for crumb in crumbs {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    // What is put together of valid values is one.
    if let Ok(whole) = HeaderValue::from_maybe_shared(Bytes::from(whole)) {
        headers.insert(header::COOKIE, whole);
    }
}

/// The length that an HTTP/2 request gives for its body.
fn stream_length(headers: &HeaderMap) -> Result<Option<u64>, Reject> {
    const LENGTH: Reject = Reject::malformed("Content-Length is one plain decimal number, given once");
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => canonical_decimal(length.as_bytes()).map(Some).ok_or(LENGTH),
        (Some(_), Some(_)) => Err(LENGTH),
    }
}

/// A host in lower case. Nearly every client sends it so, and then it is not copied.
#[derive(Clone, Debug)]
pub(super) enum Host {
    Nowhere,
    AsSent { field: HeaderValue, length: usize },
    Folded(Arc<str>),
}

impl Host {
    /// Of a `Host` field whose first `length` bytes are the host.
    fn of_field(field: &HeaderValue, host: &str) -> Self {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self::Folded(host.to_ascii_lowercase().into());
        }
        Self::AsSent { field: field.clone(), length: host.len() }
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Nowhere => b"",
            Self::AsSent { field, length } => field.as_bytes().get(..*length).unwrap_or(b""),
            Self::Folded(host) => host.as_bytes(),
        }
    }
}

/// The one host that the request line and the `Host` field agree on.
fn host(parts: &Parts) -> Result<Host, Reject> {
    const TARGET: Reject = Reject::malformed("the request target is neither a path nor the URL of this host");
    const HOST: Reject = Reject::malformed("Host is not a host name with an optional port");
    // Nearly always the first of all fields.
    let field = parts.headers.iter().find(|(name, _)| *name == header::HOST).map(|(_, value)| value);
    if let (Some(target), Some(field)) = (parts.uri.path_and_query(), field)
        && target.as_str().starts_with('/')
        && parts.uri.scheme().is_none()
        && parts.uri.authority().is_none()
        && let Some(length) = usual_host(field.as_bytes())
    {
        return Ok(Host::AsSent { field: field.clone(), length });
    }
    let field = match field {
        Some(value) => Some((value, value.to_str().map_err(|_| HOST)?)),
        None => None,
    };
    let path = parts.uri.path_and_query().ok_or(TARGET)?.as_str();
    if parts.uri.scheme().is_some() {
        let web = matches!(parts.uri.scheme_str(), Some("http" | "https"));
        let authority = parts.uri.authority().filter(|_| web).ok_or(TARGET)?.as_str();
        if field.is_some_and(|(_, field)| !field.eq_ignore_ascii_case(authority)) {
            return Err(Reject::malformed("the request target names another host than Host does"));
        }
        let host = split_port(authority).ok_or(TARGET)?;
        return Ok(Host::Folded(host.to_ascii_lowercase().into()));
    }
    if !is_origin_form(path, &parts.method) || parts.uri.authority().is_some() {
        return Err(TARGET);
    }
    let Some((field, text)) = field else { return Ok(Host::Nowhere) };
    Ok(Host::of_field(field, split_port(text).ok_or(HOST)?))
}

/// The host of an HTTP/2 stream, which `Host` then names too, whatever the client wrote there.
fn stream_host(parts: &mut Parts) -> Result<Host, Reject> {
    const PATH: Reject = Reject::malformed(":path is not a path");
    const SCHEME: Reject = Reject::malformed(":scheme is neither http nor https");
    const AUTHORITY: Reject = Reject::malformed(":authority is not a host name with an optional port");
    if !is_origin_form(parts.uri.path_and_query().ok_or(PATH)?.as_str(), &parts.method) {
        return Err(PATH);
    }
    let Some(authority) = parts.uri.authority() else {
        // The library leaves the scheme out where there is nothing that it could stand before.
        if parts.headers.get_all(header::HOST).iter().count() > 1 {
            return Err(Reject::malformed(Offence::Host.detail()));
        }
        return host(parts);
    };
    if !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
        return Err(SCHEME);
    }
    let text = authority.as_str();
    let length = split_port(text).ok_or(AUTHORITY)?.len();
    let field = HeaderValue::from_str(text).map_err(|_| AUTHORITY)?;
    let host = Host::of_field(&field, &text[..length]);
    parts.headers.insert(header::HOST, field);
    Ok(host)
}

/// A path, or the asterisk that stands for the whole server.
fn is_origin_form(path: &str, method: &Method) -> bool {
    path.starts_with('/') || (path == "*" && *method == Method::OPTIONS)
}

/// The length of the host in a `Host` as nearly every client sends it: a name in lower case, and perhaps a port.
fn usual_host(field: &[u8]) -> Option<usize> {
    let usual = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let length = field.iter().position(|byte| !usual(byte)).unwrap_or(field.len());
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    match &field[length..] {
        [] => Some(length),
        [b':', port @ ..] if is_port(port) => Some(length),
        _ => None,
    }
}

/// Takes the port off a `Host`; `None` if what is there could be read in two ways.
fn split_port(value: &str) -> Option<&str> {
    let (host, port) = match value.strip_prefix('[') {
        Some(rest) => {
            let end = value.len() - rest.len() + rest.find(']')? + 1;
            value.split_at(end)
        }
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let port_plain = match port.strip_prefix(':') {
        Some(port) => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let host_plain = host.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':' | b'~' | b'%')
    });
    (port_plain && host_plain).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(method: &str, target: &str, host: Option<&str>) -> Result<String, Reject> {
        let mut request = http::Request::builder().method(method).uri(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let raw = Head { offence: None, body: BodyLength::None, fields: parts.headers.len() };
        Request::accept(parts, raw).map(|request| request.host().to_owned())
    }

    #[test]
    fn a_panic_that_shows_a_request_shows_no_token() {
        use crate::credential::{Kind, Plaintext};
        use crate::gateway::credential::{Ways, present};

        let token = Plaintext::generate(Kind::Token).unwrap();
        let bearer = format!("Bearer {}", token.reveal());
        let target = format!("/?t={}", token.reveal());
        let request =
            http::Request::builder().uri(target).header("host", "a").header("authorization", bearer);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let ways = Ways { header: http::HeaderName::from_static("x"), query_parameter: None };
        let presented = present(&ways, &parts.headers, &parts.uri).unwrap();
        let raw = Head { offence: None, body: BodyLength::None, fields: 2 };
        let request = Request::accept(parts, raw).unwrap();
        let digest = token.digest();
        let shown = (request, presented, token.clone(), digest);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panic!("{shown:?}")));
        let payload = panicked.unwrap_err();
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(message.contains("Plaintext(…)") && message.contains("Digest(…)"), "{message}");
        assert!(!message.contains(&token.reveal()[4..]), "the token is in the message");
    }

    #[test]
    fn hosts_lose_port_and_case() {
        for (field, host) in [
            ("Shop.LocalHost:8080", "shop.localhost"),
            ("[::1]:80", "[::1]"),
            ("a", "a"),
            ("a:", "a"),
            ("", ""),
        ] {
            assert_eq!(judge("GET", "/", Some(field)).unwrap(), host);
        }
        assert_eq!(judge("GET", "/", None).unwrap(), "");
        for bad in ["a b", "u@a", "a:b", "a:80:80", "[::1", "a/b", "a,b", "a:123456"] {
            assert_eq!(judge("GET", "/", Some(bad)).unwrap_err().refusal, Refusal::InvalidRequest, "{bad}");
        }
    }

    #[test]
    fn targets_are_paths_or_this_host() {
        assert_eq!(judge("GET", "http://A:80/x", Some("a:80")).unwrap(), "a");
        assert_eq!(judge("OPTIONS", "*", Some("a")).unwrap(), "a");
        for (method, target) in
            [("GET", "http://b/"), ("GET", "http://u@a/"), ("GET", "ftp://a/"), ("GET", "*"), ("GET", "a:80")]
        {
            assert!(judge(method, target, Some("a")).unwrap_err().close, "{target}");
        }
    }

    #[test]
    fn a_stream_is_for_its_authority_and_brings_its_cookies_together() {
        let judge = |authority: &str, fields: &[(&str, &str)], ended| {
            let mut request = http::Request::builder().uri(format!("http://{authority}/x"));
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            Request::accept_stream(request.body(()).unwrap().into_parts().0, ended, 3)
        };
        let crumbs =
            [("host", "b"), ("cookie", "a=b"), ("cookie", "c"), ("cookie", ""), ("cookie", "d=\"e\"")];
        let request = judge("Shop.A:80", &crumbs, false).unwrap();
        assert_eq!((request.host(), request.body), ("shop.a", BodyLength::Chunked));
        assert_eq!(request.headers[header::HOST], "Shop.A:80");
        assert_eq!(request.headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=b; c; ; d=\"e\""]);
        assert_eq!(judge("a", &[("content-length", "0")], true).unwrap().body, BodyLength::Known(0));
        assert_eq!(judge("a", &[], true).unwrap().body, BodyLength::None);
        for fields in [
            &[("content-length", "01")][..],
            &[("content-length", "1"), ("content-length", "1")],
            &[("x", " a")],
        ] {
            assert_eq!(judge("a", fields, false).unwrap_err().refusal, Refusal::InvalidRequest, "{fields:?}");
        }
        assert_eq!(judge("u@a", &[], true).unwrap_err().refusal, Refusal::InvalidRequest);
        let many = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
        assert_eq!(judge("a", &many, true).unwrap_err().refusal, Refusal::HeadersTooLarge);
    }

    #[test]
    fn some_methods_end_here() {
        for method in ["CONNECT", "TRACE"] {
            assert_eq!(judge(method, "/", Some("a")).unwrap_err().refusal, Refusal::MethodNotAllowed);
        }
    }
}
