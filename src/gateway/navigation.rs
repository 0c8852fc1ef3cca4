//! Whether a browser asks, for a page that somebody is going to look at, and from whose page it does.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::request::Request;

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// From whose page a browser sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// From one of this very origin.
    Ours,
    Another,
    /// From one that does not say which, as it gives no referrer, by a browser that says no more.
    Hidden,
    /// Nothing tells, and a browser would have: where it matters it always names the origin.
    Unsaid,
}

/// Whether what is asked for is a page, so that the answer is for a person. Judged by what browsers cannot be made to
/// send otherwise, or by what is accepted; never by who it says it is.
#[must_use]
pub fn is_for_a_person(headers: &HeaderMap) -> bool {
    // Once through all of them: a look-up by name has to hash it first.
    let (mut mode, mut dest, mut accept) = (None, None, None);
    for (name, value) in headers {
        let place = match *name {
            header::ACCEPT => &mut accept,
            _ if *name == FETCH_MODE => &mut mode,
            _ if *name == FETCH_DEST => &mut dest,
            _ => continue,
        };
        place.get_or_insert(value);
    }
    match mode {
        Some(mode) => {
            let whole = |dest: &HeaderValue| matches!(dest.as_bytes(), b"document" | b"iframe" | b"frame");
            mode == "navigate" && dest.is_some_and(whole)
        }
        // Without encryption browsers leave those out.
        None => accept.is_some_and(prefers_html),
    }
}

/// Whether a request is a navigation: a page that may as well be fetched from another address.
#[must_use]
pub fn is_navigation(request: &Request) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && !request.tunnel
        && !request.headers.contains_key(header::UPGRADE)
        && is_for_a_person(&request.headers)
}

/// From whose page a request was sent. What the browser itself makes of that is believed: no page can set it, and what
/// stands in front of us may have changed the host that an `Origin` would have to name.
#[must_use]
pub fn sender(headers: &HeaderMap, uri: &Uri, secure: bool) -> Sender {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next();
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let site = sites.next();
    if origins.next().is_some() || sites.next().is_some() {
        return Sender::Another;
    }
    match (site, origin) {
        (Some(site), _) if site == "same-origin" => Sender::Ours,
        (Some(_), _) => Sender::Another,
        (None, None) => Sender::Unsaid,
        // Forms of pages that give no referrer send it so.
        (None, Some(origin)) if origin == "null" => Sender::Hidden,
        (None, Some(origin)) if is_origin(origin, headers, uri, secure) => Sender::Ours,
        (None, Some(_)) => Sender::Another,
    }
}

/// Whether `origin` is that of the host that is asked. Ports count: other ports are other origins.
fn is_origin(origin: &HeaderValue, headers: &HeaderMap, uri: &Uri, secure: bool) -> bool {
    let here = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    let there = origin.to_str().unwrap_or_default();
    let there = match there.strip_prefix("https://") {
        Some(rest) => Some(rest),
        // What ends TLS before us may not be known to us.
        None => there.strip_prefix("http://").filter(|_| !secure),
    };
    there.is_some_and(|there| !here.is_empty() && there.eq_ignore_ascii_case(here))
}

/// Whether an `Accept` names HTML, and nothing that we could send instead before it (RFC 9110, section 12.5.1).
fn prefers_html(accept: &HeaderValue) -> bool {
    let mut html = 0;
    let mut json = 0;
    for range in accept.as_bytes().split(|byte| *byte == b',') {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let is = |known: &str| kind.eq_ignore_ascii_case(known.as_bytes());
        let weight = || parts.clone().find_map(weight).unwrap_or(1000);
        if is("text/html") || is("application/xhtml+xml") {
            html = html.max(weight());
        } else if is("application/json") || is("application/problem+json") {
            json = json.max(weight());
        }
    }
    html > json
}

/// A `q` in thousandths.
fn weight(parameter: &[u8]) -> Option<u32> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let value: f32 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some((value.clamp(0.0, 1.0) * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn pages_are_for_people_and_the_rest_for_programs() {
        const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (fields, person) in [
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..], true),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), ("accept", "*/*")], true),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "embed"), ("accept", CHROME)], false),
            (&[("sec-fetch-mode", "navigate"), ("accept", CHROME)], false),
            (&[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("accept", CHROME)], false),
            (&[("accept", CHROME)], true),
            (&[("accept", "Text/HTML")], true),
            (&[("accept", "text/html;level=1;q=0.5, application/json;q=0.4")], true),
            (&[("accept", "text/html;q=0.4, application/json;q=0.5")], false),
            (&[("accept", "application/json, text/html")], false),
            (&[("accept", "text/html;q=0")], false),
            (&[("accept", "text/html;q=nonsense")], true),
            (&[("accept", "*/*")], false),
            (&[("accept", "text/*")], false),
            (&[("user-agent", "Mozilla/5.0")], false),
            (&[], false),
        ] {
            assert_eq!(is_for_a_person(&headers(fields)), person, "{fields:?}");
        }
    }

    #[test]
    fn a_sender_is_ours_if_the_browser_says_so_or_its_origin_does() {
        let host = ("host", "Shop.localhost:8080");
        let judge = |fields: &[(&'static str, &str)], secure| {
            sender(&headers(&[&[host], fields].concat()), &Uri::from_static("/"), secure)
        };
        for (fields, secure, expected) in [
            (&[][..], true, Sender::Unsaid),
            (&[("origin", "https://shop.localhost:8080")], true, Sender::Ours),
            (&[("origin", "https://shop.localhost:8080")], false, Sender::Ours),
            (&[("origin", "http://shop.localhost:8080")], false, Sender::Ours),
            (&[("origin", "http://shop.localhost:8080")], true, Sender::Another),
            (&[("origin", "https://shop.localhost")], true, Sender::Another),
            (&[("origin", "https://blog.localhost:8080")], true, Sender::Another),
            (&[("origin", "https://shop.localhost:8080.evil.example")], true, Sender::Another),
            (&[("origin", "null")], true, Sender::Hidden),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], true, Sender::Ours),
            (&[("origin", "null"), ("sec-fetch-site", "same-site")], true, Sender::Another),
            (&[("origin", "")], true, Sender::Another),
            (&[("sec-fetch-site", "same-origin")], true, Sender::Ours),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "https://shop.localhost:9999")],
                true,
                Sender::Ours,
            ),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://shop.localhost:8080"),
                    ("origin", "https://evil.example"),
                ],
                true,
                Sender::Another,
            ),
            (&[("sec-fetch-site", "same-site")], true, Sender::Another),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "https://shop.localhost:8080")],
                true,
                Sender::Another,
            ),
            (&[("sec-fetch-site", "none")], true, Sender::Another),
        ] {
            assert_eq!(judge(fields, secure), expected, "{fields:?} {secure}");
        }
        let nowhere = headers(&[("origin", "https://")]);
        assert_eq!(sender(&nowhere, &Uri::from_static("/"), true), Sender::Another);
    }
}
