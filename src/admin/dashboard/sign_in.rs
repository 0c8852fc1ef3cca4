//! Signing in with a management key, or by a link that `portcullis dashboard` printed; and signing out.

use std::time::Instant;

use askama::Template;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::page::{Frame, go, html};
use super::session::Holder;
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::control::Fault;
use crate::credential::{Kind, Plaintext};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    next: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "follow.html")]
struct Follow {
    frame: Frame,
    code: String,
}

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move { form(&ask, StatusCode::OK, &ask.query().filled("next").unwrap_or_default(), None) })
}

pub(in crate::admin) fn by_key(ask: Ask) -> Answer {
    Box::pin(async move {
        let (now, next) = (Instant::now(), ask.form.raw("next").to_owned());
        let failures = &ask.state.dashboard.failures;
        if let Some(seconds) = failures.wait(ask.visit.from, now) {
            let message = format!("Too many attempts from this address: try again in {seconds} seconds.");
            let mut response = form(&ask, StatusCode::TOO_MANY_REQUESTS, &next, Some(message))?;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return Ok(response);
        }
        let key = Plaintext::parse(Kind::Key, ask.form.raw("key").trim().as_bytes());
        let caller = match &key {
            Some(key) => ask.state.control.caller(key, ask.visit.from).await?,
            None => None,
        };
        match caller.and_then(|caller| caller.key()) {
            Some(key) => begin(&ask, Holder::Key(key), &next),
            None => {
                failures.note(ask.visit.from, now);
                let message = "This is no management key that is in force.".to_owned();
                form(&ask, StatusCode::UNAUTHORIZED, &next, Some(message))
            }
        }
    })
}

/// The page behind a link. It takes a click to sign in: what looks ahead at links must not use them up.
pub(in crate::admin) fn offer(ask: Ask) -> Answer {
    Box::pin(async move {
        let frame = ask.frame("", "Sign in");
        html(StatusCode::OK, &Follow { frame, code: ask.name(0).to_owned() })
    })
}

pub(in crate::admin) fn by_link(ask: Ask) -> Answer {
    Box::pin(async move {
        match ask.state.dashboard.links.take(ask.name(0), Instant::now()) {
            Some(holder) => begin(&ask, holder, ""),
            None => {
                let message =
                    "This link was used before, or is too old. `portcullis dashboard` prints another.";
                form(&ask, StatusCode::UNAUTHORIZED, "", Some(message.to_owned()))
            }
        }
    })
}

pub(in crate::admin) fn out(ask: Ask) -> Answer {
    Box::pin(async move {
        if let Some(session) = &ask.visit.session {
            ask.state.dashboard.sessions.end(&session.id);
        }
        Ok(with_cookie(&ask, go("/sign-in"), None))
    })
}

fn form(ask: &Ask, status: StatusCode, next: &str, wrong: Option<String>) -> Result<Response, Problem> {
    html(status, &SignIn { frame: ask.frame("", "Sign in"), next: next.to_owned(), wrong })
}

fn begin(ask: &Ask, holder: Holder, next: &str) -> Result<Response, Problem> {
    let secret = ask.state.dashboard.sessions.begin(holder, Instant::now()).map_err(Fault::from)?;
    tracing::info!(from = %ask.visit.from, ?holder, "somebody signed in to the dashboard");
    Ok(with_cookie(ask, go(if is_local(next) { next } else { "/" }), Some(&secret)))
}

fn with_cookie(ask: &Ask, mut response: Response, secret: Option<&str>) -> Response {
    if let Some(cookie) = ask.visit.cookie(secret) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether a path leads to this server, however a browser reads it.
fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_followed() {
        for good in ["/", "/tokens", "/tokens?q=a%20b&status=active", "/apps/shop"] {
            assert!(is_local(good), "{good}");
        }
        for bad in [
            "",
            "tokens",
            "//evil.example",
            "/\\evil.example",
            "https://evil",
            "/a\nb",
            "/a\\b",
            "/\tb",
            "/é",
        ] {
            assert!(!is_local(bad), "{bad:?}");
        }
    }
}
