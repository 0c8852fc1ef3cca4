//! A request for a page on its way to its handler: who asks, whether they may, and whether it was their own wish.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use super::form::Form;
use super::page;
use super::session::{Holder, Session, Sessions};
use super::{Handler, page::Frame};
use crate::admin::call::State;
use crate::admin::condition;
use crate::admin::problem::{Problem, RequestId};
use crate::admin::routes::{Need, ROUTES, Route, Serves};
use crate::admin::seats;
use crate::admin::secrets::wipe;
use crate::admin::serve::{self, Encrypted, Origin};
use crate::control::{Caller, Once};
use crate::model::Scope;

/// The cookie where only TLS can have set it, and where that cannot be known.
const SEALED: &str = "__Host-portcullis-admin";
const PLAIN: &str = "portcullis-admin";
/// The field of each form that shows that the form is ours.
const PROOF: &str = "proof";
/// The field that makes a form that is sent twice count once.
const ONCE: &str = "once";
/// What whoever has a cookie that opens nothing is told, as it may keep them out for ever.
const STRAY: &str = "This browser sent a cookie that opens no session: it has ended, or another program on this host set it. \
    If you are back here right after signing in, delete the browser's cookies for this host.";

/// A request for a page by somebody who may have it.
pub(in crate::admin) struct Ask {
    pub(super) state: State,
    /// `None` only on pages that are open to all.
    caller: Option<Caller>,
    pub(super) visit: Visit,
    pub(super) uri: Uri,
    names: Vec<String>,
    pub(super) form: Form,
    /// Makes what the form asks for happen once.
    pub(super) once: Option<Once>,
}

/// From where, and in which session.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) from: IpAddr,
    /// Whether the browser speaks TLS, to us or to what stands in front of us.
    encrypted: bool,
    pub(super) session: Option<Session>,
    /// The session that another one is to take the place of, where somebody signs in.
    pub(super) earlier: Option<Session>,
    /// Whether there is a cookie but no session.
    stray: bool,
}

impl Ask {
    /// The caller, who is known on every page that is not open to all.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(|| Problem::unauthorized("sign in first"))
    }

    /// What stands for a `{…}` in the route's path, by its place.
    pub(super) fn name(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }

    /// What stands after the `?`.
    pub(super) fn query(&self) -> Form {
        Form::of(self.uri.query().unwrap_or_default().as_bytes())
    }

    /// What surrounds a page.
    pub(super) fn frame(&self, here: &'static str, title: impl Into<String>) -> Frame {
        let notice = match &self.visit.session {
            Some(session) => self.state.dashboard.sessions.take_notice(&session.id),
            None => self.visit.stray.then(|| STRAY.to_owned()),
        };
        Frame::new(here, title.into(), self.caller.as_ref(), self.visit.session.as_ref(), notice)
    }

    /// Shows another page next, with word of what was done.
    pub(super) fn done(&self, to: &str, notice: impl Into<String>) -> Response {
        if let Some(session) = &self.visit.session {
            self.state.dashboard.sessions.leave_notice(&session.id, notice.into());
        }
        // Who may only write has no page that shows what was done.
        let reads = self.caller.as_ref().is_some_and(|caller| caller.scopes().allow(Scope::Read));
        page::go(if reads { to } else { "/" })
    }
}

impl Visit {
    /// The cookie that begins a session, or ends it.
    pub(super) fn cookie(&self, secret: Option<&str>) -> Option<HeaderValue> {
        let (name, sealed) = if self.encrypted { (SEALED, "; Secure") } else { (PLAIN, "") };
        let ended = if secret.is_none() { "; Max-Age=0" } else { "" };
        let value = secret.unwrap_or_default();
        HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{sealed}{ended}"))
            .ok()
    }
}

/// Serves a page.
pub(in crate::admin) async fn answer(
    state: State,
    route: &Route,
    handler: Handler,
    names: Vec<String>,
    request: Request,
    id: &RequestId,
) -> Response {
    let need = route.need;
    let (head, body) = request.into_parts();
    let Some(Origin::Tcp(peer)) = head.extensions.get::<Origin>().copied() else {
        let detail = "the dashboard is on the admin address, not on the socket";
        return Problem::new(StatusCode::NOT_FOUND, "not_found", detail).render(id);
    };
    let mut visit = Visit {
        from: peer.ip().to_canonical(),
        encrypted: is_encrypted(&head),
        session: None,
        earlier: None,
        stray: false,
    };
    let mut caller = None;
    let attempt = async {
        let cookies = cookies(&head);
        let session = session(&state.dashboard.sessions, &cookies);
        visit.stray = session.is_none() && cookies.iter().any(|values| !values.is_empty());
        if need == Need::Open {
            visit.earlier = session;
        } else {
            visit.session = session;
            caller = judge(&state, &visit).await?;
            if caller.is_some() {
                seats::know(&head.extensions);
            }
        }
        let is_change = !matches!(head.method, Method::GET | Method::HEAD);
        if is_change && !is_own(&head.headers) {
            return Err(Problem::forbidden("this form was not sent from a page of this dashboard"));
        }
        match &caller {
            Some(caller) => need.is_met_by(caller)?,
            None if need == Need::Open => {}
            None => return Ok(page::go(&way_in(route, &head))),
        }
        let body = serve::body(body).await?;
        let form = if is_change { Form::parse(&head.headers, &body)? } else { Form::default() };
        if is_change && need != Need::Open && !is_proven(&visit, &form) {
            let detail = "this form is not of this session, or of one that has ended: load the page again";
            return Err(Problem::forbidden(detail));
        }
        let once = form.filled(ONCE).map(|key| condition::once(&key, &head.method, &head.uri, &body));
        // It may hold a secret's value or a key.
        wipe(body);
        let (state, caller, visit) = (state.clone(), caller.clone(), visit.clone());
        handler(Ask { state, caller, visit, uri: head.uri.clone(), names, form, once }).await
    };
    let answered = attempt.await;
    answered.unwrap_or_else(|problem| {
        // The key may have ended while the form was being filled in.
        if problem.status() == StatusCode::UNAUTHORIZED && need != Need::Open {
            return page::go(&way_in(route, &head));
        }
        page::refusal(&problem, caller.as_ref().zip(visit.session.as_ref()), id)
    })
}

/// As whom somebody acts now; `None` where their key is not in force any more.
pub(super) async fn caller(state: &State, holder: Holder, from: IpAddr) -> Result<Option<Caller>, Problem> {
    match holder {
        Holder::Operator => Ok(Some(Caller::Operator { from: Some(from) })),
        Holder::Key(key) => Ok(state.control.caller_again(key, from).await?),
    }
}

/// The caller as whom a session acts now. A session whose key is not in force any more ends here.
async fn judge(state: &State, visit: &Visit) -> Result<Option<Caller>, Problem> {
    let Some(session) = &visit.session else { return Ok(None) };
    let caller = caller(state, session.holder, visit.from).await?;
    if caller.is_none() {
        state.dashboard.sessions.end(&session.id);
    }
    Ok(caller)
}

/// To the form that signs in, and from there to where it was wanted to go.
fn way_in(route: &Route, head: &Parts) -> String {
    let wanted = head.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    if matches!(route.path, "/" | "/sign-out") {
        return "/sign-in".to_owned();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    if route.method == Method::GET {
        query.append_pair("next", wanted);
    } else {
        // The session has ended under a form.
        query.append_pair("ended", "yes").append_pair("next", &page_of(route.path, head.uri.path()));
    }
    format!("/sign-in?{}", query.finish())
}

/// The page with the form that is sent to a path: what makes a new one, or else the nearest at or above it.
fn page_of(mut pattern: &str, mut path: &str) -> String {
    let is_page = |pattern: &str| {
        ROUTES.iter().any(|route| {
            route.method == Method::GET && route.path == pattern && matches!(route.serves, Serves::Pages(_))
        })
    };
    loop {
        if is_page(&format!("{pattern}/new")) {
            return format!("{path}/new");
        }
        if is_page(pattern) {
            return path.to_owned();
        }
        match (pattern.rsplit_once('/'), path.rsplit_once('/')) {
            (Some((above, _)), Some((place, _))) => (pattern, path) = (above, place),
            _ => return "/".to_owned(),
        }
    }
}

/// The session that the cookie stands for. Other servers on this host can set cookies beside ours: what is no session
/// does not hide ours, and where there are two, nobody can tell whose is whose.
fn session(sessions: &Sessions, cookies: &[Vec<&str>]) -> Option<Session> {
    let now = Instant::now();
    let found = |values: &Vec<&str>| -> Vec<Session> {
        values.iter().filter_map(|secret| sessions.find(secret, now)).collect()
    };
    let mut found = cookies.iter().map(found).find(|found| !found.is_empty())?;
    let session = found.pop()?;
    found.iter().all(|other| other.id == session.id).then_some(session)
}

/// The values of the session's cookie by either name, those that count first before the others. Where the browser speaks
/// TLS with us, only such as nobody else can have set.
fn cookies(head: &Parts) -> Vec<Vec<&str>> {
    let pairs = || {
        let values = head.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
    };
    let named =
        |wanted| pairs().filter(|(name, _)| *name == wanted).map(|(_, value)| value).collect::<Vec<_>>();
    let direct = head.extensions.get::<Encrypted>().is_some_and(|Encrypted(yes)| *yes);
    if direct { vec![named(SEALED)] } else { vec![named(SEALED), named(PLAIN)] }
}

/// Whether the browser speaks TLS, here or with a proxy in front of us: a browser says so with each form.
fn is_encrypted(head: &Parts) -> bool {
    let direct = head.extensions.get::<Encrypted>().is_some_and(|Encrypted(yes)| *yes);
    let origin = head.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    direct || origin.is_some_and(|origin| origin.starts_with("https://"))
}

/// Whether a form came from one of our own pages, as far as the browser says: by what it makes of that itself, which no
/// page can set, or else by the origin that it names. One that says nothing is not believed.
fn is_own(headers: &HeaderMap) -> bool {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(|value| value.to_str().unwrap_or_default()), values.next().is_none())
    };
    let (site, site_once) = one("sec-fetch-site");
    let (origin, origin_once) = one("origin");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let same = |origin: &str| {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let authority = authority.and_then(|authority| authority.parse::<Authority>().ok());
        authority.is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host))
    };
    site_once
        && origin_once
        && match site {
            Some(site) => site == "same-origin",
            None => origin.is_some_and(same),
        }
}

fn is_proven(visit: &Visit, form: &Form) -> bool {
    let proof = visit.session.as_ref().map(|session| session.proof.as_bytes());
    proof.is_some_and(|proof| proof.ct_eq(form.raw(PROOF).as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("admin.example:9180"));
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_own(&headers)
    }

    #[test]
    fn only_our_own_pages_send_our_forms() {
        for fields in [
            &[("origin", "http://admin.example:9180")][..],
            &[("origin", "https://ADMIN.example:9180")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://admin.example:9180")],
            // What stands in front of us may change the host.
            &[("sec-fetch-site", "same-origin"), ("origin", "https://dashboard.example")],
        ] {
            assert!(own(fields), "{fields:?}");
        }
        for fields in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://admin.example")],
            &[("origin", "http://evil.example")],
            &[("origin", "http://admin.example:9180@evil.example")],
            &[("origin", "http://admin.example:9180.evil.example")],
            &[("origin", "ftp://admin.example:9180")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://admin.example:9180")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("origin", "http://admin.example:9180"), ("origin", "http://evil.example")],
        ] {
            assert!(!own(fields), "{fields:?}");
        }
    }

    #[test]
    fn every_form_leads_back_to_the_page_that_it_is_on() {
        for (pattern, path, page) in [
            ("/tokens", "/tokens", "/tokens/new"),
            ("/tokens/{id}/edit", "/tokens/tok_1/edit", "/tokens/tok_1/edit"),
            ("/tokens/{id}/rotate", "/tokens/tok_1/rotate", "/tokens/tok_1"),
            (
                "/apps/{app}/environments/{environment}/external-access",
                "/apps/a%20b/environments/c/external-access",
                "/apps/a%20b",
            ),
            (
                "/apps/{app}/environments/{environment}/deployments/{id}/archive",
                "/apps/a/environments/b/deployments/c/archive",
                "/apps/a/environments/b/deployments",
            ),
            ("/members/{name}/remove", "/members/ann/remove", "/members"),
            ("/secrets", "/secrets", "/secrets/new"),
            ("/leaks/notices/{id}/retry", "/leaks/notices/x/retry", "/leaks/notices"),
            ("/nowhere", "/nowhere", "/"),
        ] {
            assert_eq!(page_of(pattern, path), page, "{pattern}");
        }
        for route in ROUTES.iter().filter(|route| matches!(route.serves, Serves::Pages(_))) {
            let leads_nowhere = page_of(route.path, route.path) == "/";
            assert_eq!(leads_nowhere, matches!(route.path, "/" | "/sign-out"), "{}", route.path);
        }
    }

    #[test]
    fn over_tls_only_a_cookie_that_tls_has_set_is_believed() {
        let read = |encrypted, sent: &'static str| {
            let request = http::Request::builder().header("cookie", sent).extension(Encrypted(encrypted));
            let (head, ()) = request.body(()).unwrap().into_parts();
            cookies(&head).iter().map(|values| values.join(" ")).collect::<Vec<_>>().join("|")
        };
        assert_eq!(read(false, "a=b; portcullis-admin=x; portcullis-admin=y"), "|x y");
        assert_eq!(read(false, "portcullis-admin=x; __Host-portcullis-admin=y"), "y|x");
        assert_eq!(read(true, "portcullis-admin=x"), "");
        assert_eq!(read(true, "portcullis-admin=x; __Host-portcullis-admin=y"), "y");
        assert_eq!(read(false, "portcullis-admin"), "|");
    }
}
