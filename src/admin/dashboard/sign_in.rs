//! Signing in with a management key, or by a link that `portcullis dashboard` printed; and signing out.

use std::time::Instant;

use askama::Template;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::page::{Frame, go, html};
use super::session::Holder;
use super::{Answer, Ask, door};
use crate::admin::problem::Problem;
use crate::control::{Caller, Fault};
use crate::credential::{Kind, Plaintext};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    next: String,
    wrong: Option<String>,
    /// Whether a form waits for whoever signs in again.
    waits: bool,
}

#[derive(Template)]
#[template(path = "follow.html")]
struct Follow {
    frame: Frame,
    code: String,
}

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move {
        let query = ask.query();
        let told = match query.raw("ended") {
            "reported" => Some("The key that you reported was the one you signed in with: it is revoked."),
            "yes" => Some(
                "Your session has ended: what you sent was not done. Sign in, and you are back at the form to send it again.",
            ),
            _ => None,
        };
        form(&ask, StatusCode::OK, &query.filled("next").unwrap_or_default(), told.map(str::to_owned))
    })
}

pub(in crate::admin) fn by_key(ask: Ask) -> Answer {
    Box::pin(async move {
        let (now, next) = (Instant::now(), ask.form.raw("next").to_owned());
        let key = Plaintext::parse(Kind::Key, ask.form.raw("key").trim().as_bytes());
        let caller = match &key {
            Some(key) => ask.state.control.caller(key, ask.visit.from).await?,
            None => None,
        };
        match caller.and_then(|caller| Some((Holder::Key(caller.key()?), caller))) {
            Some((holder, caller)) => begin(&ask, holder, &caller, &next).await,
            None => refuse(&ask, &next, now),
        }
    })
}

/// What is no key. Whoever holds one gets in however often others of the same address fail.
fn refuse(ask: &Ask, next: &str, now: Instant) -> Result<Response, Problem> {
    let failures = &ask.state.dashboard.failures;
    if let Some(seconds) = failures.wait(ask.visit.from, now) {
        let message = format!("Too many attempts from this address: try again in {seconds} seconds.");
        let mut response = form(ask, StatusCode::TOO_MANY_REQUESTS, next, Some(message))?;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    failures.note(ask.visit.from, now);
    let message = "This is no management key that is in force.".to_owned();
    form(ask, StatusCode::UNAUTHORIZED, next, Some(message))
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
        let holder = ask.state.dashboard.links.take(ask.name(0), Instant::now());
        let caller = match holder {
            Some(holder) => door::caller(&ask.state, holder, ask.visit.from).await?,
            None => None,
        };
        match holder.zip(caller) {
            Some((holder, caller)) => begin(&ask, holder, &caller, "").await,
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
    let waits = ask.query().raw("ended") == "yes";
    html(status, &SignIn { frame: ask.frame("", "Sign in"), next: next.to_owned(), wrong, waits })
}

async fn begin(ask: &Ask, holder: Holder, caller: &Caller, next: &str) -> Result<Response, Problem> {
    let sessions = &ask.state.dashboard.sessions;
    let secret = sessions.begin(holder, Instant::now()).map_err(Fault::from)?;
    if let Some(earlier) = &ask.visit.earlier {
        sessions.end(&earlier.id);
    }
    ask.state.control.note_sign_in(caller).await;
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
