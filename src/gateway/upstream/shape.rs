//! A request in the form that HTTP/2 gives it. Reference: RFC 9113, section 8.3.1.

use http::uri::{Authority, Parts, Scheme};
use http::{HeaderMap, Request, Uri, Version};

use super::Target;
use crate::gateway::crossing::Crossing;

/// Fields that there is room for at once.
const USUAL: usize = 24;

/// With scheme and authority in place of `Host`.
pub(super) fn to_http2<B>(crossing: &Crossing, body: B, target: &Target) -> Request<B> {
    let mut message = Request::new(body);
    *message.method_mut() = crossing.method.clone();
    *message.version_mut() = Version::HTTP_2;
    let mut parts = Parts::default();
    let host = crossing.host(target).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    parts.authority = host.or_else(|| target.address.authority().parse().ok());
    parts.scheme = Some(if target.address.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.path_and_query = Some(crossing.target.clone());
    // All three parts are there.
    *message.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let mut fields = HeaderMap::with_capacity(USUAL);
    crossing.fields(&mut fields);
    *message.headers_mut() = fields;
    message
}
