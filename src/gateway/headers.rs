//! What of a message's fields may cross the gateway. References: RFC 9110, sections 6.5.1, 7.6.1 and 7.6.2.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::authorize::Permit;
use super::credential::Ways;
use super::inject::Injected;
use super::query;
use super::record::Record;
use crate::credential::Kind;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a proxy before us may repeat the URL that it was asked for, token and all.
const REPEATED_URL: [HeaderName; 4] = [
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// The request's own identifier, if it comes from a proxy that is believed and is fit for a log.
pub(super) fn believed_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let fit = (1..=128).contains(&value.len()) && value.as_bytes().iter().all(plain);
    // It goes into the log and on to the app, where no credential may go.
    let holds = |kind: Kind| memchr::memmem::find(value.as_bytes(), kind.prefix().as_bytes()).is_some();
    (fit && !Kind::ALL.into_iter().any(holds)).then(|| value.clone())
}

/// Whether the app may be told what a client says under this name.
pub(super) fn may_cross(name: &HeaderName, token_header: &HeaderName, trusted: bool) -> bool {
    let is_plain = match *name {
        // What most requests bring: each is known by a number.
        header::ACCEPT
        | header::ACCEPT_ENCODING
        | header::ACCEPT_LANGUAGE
        | header::AUTHORIZATION
        | header::CACHE_CONTROL
        | header::CONTENT_TYPE
        | header::COOKIE
        | header::IF_MODIFIED_SINCE
        | header::IF_NONE_MATCH
        | header::ORIGIN
        | header::PRAGMA
        | header::RANGE
        | header::REFERER
        | header::USER_AGENT => true,
        _ => false,
    };
    let name = name.as_str();
    if is_plain {
        return !is_folded(name, token_header.as_str());
    }
    !is_hop_by_hop(name) && !is_disguised(name) && !is_strange(name, token_header, trusted)
}

/// The app's head, without what belongs to its connection, as the client may have it.
pub(super) fn to_client(headers: &mut HeaderMap, permit: &Permit, record: &Record) {
    record.guard(headers);
    headers.insert(REQUEST_ID, record.request_id.clone());
    if permit.carrier().is_some() {
        // The answer belongs to whoever holds the token: no shared cache may hand it to another.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
    }
}

/// Takes out what belongs to the app's connection and not to the message.
pub(super) fn strip_hops(headers: &mut HeaderMap) {
    strip_named(headers);
    strip(headers, is_hop_by_hop);
}

/// Whether an answer says in one way only where it ends (RFC 9112, section 6.3). Of two, a client may prefer either.
pub(super) fn ends_once(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), encodings.next()) {
        (Some(_), Some(_)) => false,
        (Some(length), None) => lengths.next().is_none() && length.as_bytes().iter().all(u8::is_ascii_digit),
        (None, Some(encoding)) => {
            encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (None, None) => true,
    }
}

/// The trailers that may cross: none that says where a message ends, whom it is for, or who sent it, and none that could
/// be taken for what is `injected`.
pub(super) fn trailers(
    mut trailers: HeaderMap,
    token_header: &HeaderName,
    injected: Option<&Injected>,
) -> HeaderMap {
    const KEPT_BACK: [&str; 22] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "www-authenticate",
    ];
    let drop: Vec<HeaderName> = trailers
        .keys()
        .filter(|field| {
            let name = field.as_str();
            is_folded(name, token_header.as_str())
                || KEPT_BACK.iter().any(|kept| is_folded(name, kept))
                || ["content-", "if-", "proxy-", "x-forwarded-", "x-portcullis-", "x-request-id"]
                    .iter()
                    .any(|prefix| starts_with_folded(name, prefix))
                || injected.is_some_and(|injected| injected.replaces(field))
        })
        .cloned()
        .collect();
    for name in drop {
        trailers.remove(name);
    }
    trailers
}

/// Whether a comma-separated field value holds `word`, in any case.
pub(super) fn lists(value: &HeaderValue, word: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// Removes the fields that `Connection` names, whatever they are.
pub(super) fn strip_named(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = headers.get_all(header::CONNECTION).iter().flat_map(named).collect();
    for name in named {
        headers.remove(name);
    }
}

/// The fields that a value of `Connection` names.
pub(super) fn named(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    // What most say is the name of no field, or of one that goes in any case.
    let usual =
        |name: &&[u8]| [&b"keep-alive"[..], b"close"].iter().any(|word| name.eq_ignore_ascii_case(word));
    let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.filter(move |name| !usual(name)).filter_map(|name| HeaderName::from_bytes(name).ok())
}

/// Removes the fields whose names `goes` says must.
fn strip(headers: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| goes(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Fields that belong to one connection and not to the message.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "te"
            | "upgrade"
            | "keep-alive"
            | "http2-settings"
            | "proxy-connection"
            | "transfer-encoding"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// What a CGI-style app would take for a field that was judged or removed here under its own name.
fn is_disguised(name: &str) -> bool {
    memchr::memchr(b'_', name.as_bytes()).is_some() && {
        let name = &*name.replace('_', "-");
        let known = |url: &HeaderName| url == name;
        name == "content-length" || is_hop_by_hop(name) || REPEATED_URL.iter().any(known)
    }
}

/// What only a gateway may say, in every spelling that a CGI-style app would take for it.
fn is_strange(name: &str, token_header: &HeaderName, trusted: bool) -> bool {
    let of_proxies = || {
        starts_with_folded(name, "x-forwarded-")
            || is_folded(name, "forwarded")
            || is_folded(name, "x-request-id")
            || is_folded(name, "x-forwarded")
    };
    let is_believed = || trusted && !name.contains('_');
    starts_with_folded(name, "x-portcullis-")
        || is_folded(name, token_header.as_str())
        || (of_proxies() && !is_believed())
}

/// Takes the token's pair out of the URLs that fields repeat: the page before, and from a proxy the request's own.
pub(super) fn clean_urls(headers: &mut HeaderMap, ways: &Ways, trusted: bool) {
    let Some(parameter) = &ways.query_parameter else { return };
    clean_url(headers, &header::REFERER, parameter);
    if trusted {
        for field in &REPEATED_URL {
            clean_url(headers, field, parameter);
        }
    }
}

fn clean_url(headers: &mut HeaderMap, field: &HeaderName, parameter: &str) {
    if !headers.contains_key(field) {
        return;
    }
    let clean = |value: &HeaderValue| match query::remove_from_url(value.to_str().ok()?, parameter) {
        Some(rest) => HeaderValue::try_from(rest).ok(),
        None => Some(value.clone()),
    };
    let cleaned: Vec<HeaderValue> = headers.get_all(field).iter().filter_map(clean).collect();
    headers.remove(field);
    for value in cleaned {
        headers.append(field, value);
    }
}

fn starts_with_folded(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && is_folded_bytes(&name.as_bytes()[..prefix.len()], prefix.as_bytes())
}

pub(super) fn is_folded(name: &str, other: &str) -> bool {
    is_folded_bytes(name.as_bytes(), other.as_bytes())
}

fn is_folded_bytes(name: &[u8], other: &[u8]) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == other.len() && name.iter().zip(other).all(|(a, b)| fold(*a) == fold(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_only_a_gateway_may_say_goes_in_every_spelling() {
        let mut headers = map(&[
            ("X-Portcullis-App", "a"),
            ("x_portcullis_app", "a"),
            ("X-Forwarded_Uri", "a"),
            ("X-Forwarded-Prefix", "a"),
            ("Forwarded", "a"),
            ("x_request-id", "a"),
            ("my_token", "a"),
            ("X-Forward", "kept"),
            ("X-Portcullis", "kept"),
        ]);
        strip(&mut headers, |name| is_strange(name, &HeaderName::from_static("my-token"), false));
        assert_eq!(names(&headers), ["x-forward", "x-portcullis"]);
    }

    #[test]
    fn a_trusted_proxy_is_believed_in_its_plain_spelling_only() {
        let mut headers =
            map(&[("X-Forwarded-Proto", "https"), ("x_forwarded_proto", "a"), ("x-portcullis-app", "a")]);
        strip(&mut headers, |name| is_strange(name, &HeaderName::from_static("t"), true));
        assert_eq!(names(&headers), ["x-forwarded-proto"]);
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let mut headers = map(&[
            ("Connection", "close, X-Secret"),
            ("connection", "keep-alive"),
            ("X-Secret", "a"),
            ("Keep-Alive", "a"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "a"),
            ("Accept", "kept"),
            ("Trailer", "kept"),
        ]);
        strip_hops(&mut headers);
        assert_eq!(names(&headers), ["accept", "trailer"]);
    }

    #[test]
    fn an_answer_ends_once() {
        for (fields, once) in [
            (&[][..], true),
            (&[("content-length", "5")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "+5")], false),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
        ] {
            assert_eq!(ends_once(&map(fields)), once, "{fields:?}");
        }
    }

    #[test]
    fn trailers_cannot_say_who_or_where() {
        let sent = map(&[
            ("grpc-status", "0"),
            ("authorization", "a"),
            ("content-length", "1"),
            ("x_portcullis_app", "a"),
            ("x-checksum", "1"),
        ]);
        let kept = trailers(sent, &HeaderName::from_static("x-portcullis-token"), None);
        assert_eq!(names(&kept), ["grpc-status", "x-checksum"]);
    }
}
