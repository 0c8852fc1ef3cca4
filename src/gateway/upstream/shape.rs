//! A request in the form that a connection's protocol gives it. References: RFC 9112, section 3; RFC 9113, section 8.2.2
//! and 8.3.1.

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri, Version, header};
use http_body::Body;

use super::Target;

/// Origin-form with `Host`, which is how requests are made. Undoes [`to_http2`] where an attempt came to nothing.
pub(super) fn to_http1<B: Body>(message: &mut Request<B>) {
    if message.version() != Version::HTTP_2 {
        return;
    }
    *message.version_mut() = Version::HTTP_11;
    let mut parts = std::mem::take(message.uri_mut()).into_parts();
    let host = parts.authority.take().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    parts.scheme = None;
    // A path alone is a URI.
    *message.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let unknown = !message.body().is_end_stream() && message.body().size_hint().exact().is_none();
    let headers = message.headers_mut();
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    if headers.contains_key(header::TE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if unknown && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// With scheme and authority in place of `Host`, and without what belongs to an HTTP/1 connection.
pub(super) fn to_http2<B>(message: &mut Request<B>, target: &Target) {
    let headers = message.headers_mut();
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    let host = headers.remove(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = std::mem::take(message.uri_mut()).into_parts();
    parts.authority = host.or(parts.authority).or_else(|| target.address.authority().parse().ok());
    parts.scheme = Some(if target.address.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
    // All three parts are there.
    *message.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *message.version_mut() = Version::HTTP_2;
}
