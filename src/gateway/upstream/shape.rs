//! A request in the form that HTTP/2 gives it. References: RFC 9113, sections 8.2.2 and 8.3.1.

use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Request, Uri, Version, header};

use super::Target;

/// With scheme and authority in place of `Host`, and without what belongs to an HTTP/1 connection.
pub(super) fn to_http2<B>(head: &Parts, body: B, target: &Target) -> Request<B> {
    let mut message = Request::new(body);
    *message.method_mut() = head.method.clone();
    *message.version_mut() = Version::HTTP_2;
    let headers = message.headers_mut();
    headers.clone_from(&head.headers);
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    let host = headers.remove(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = head.uri.clone().into_parts();
    parts.authority = host.or_else(|| target.address.authority().parse().ok());
    parts.scheme = Some(if target.address.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
    // All three parts are there.
    *message.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    message
}
