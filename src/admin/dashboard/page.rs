//! What all pages have: the frame around them, the headers that keep them to themselves, and the page that refuses.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::assets;
use super::session::Session;
use crate::admin::problem::{Problem, RequestId};
use crate::control::{Caller, FieldFault};
use crate::model::Scope;

/// Nothing from elsewhere, nothing inline, no frame around it, and forms that lead nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What surrounds a page.
#[derive(Debug)]
pub(super) struct Frame {
    /// The entry of the navigation that is lit.
    pub(super) here: &'static str,
    pub(super) title: String,
    /// `None`: nobody is signed in.
    pub(super) who: Option<String>,
    pub(super) app: Option<String>,
    pub(super) may: May,
    pub(super) proof: String,
    pub(super) notice: Option<String>,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    pub(super) icon: &'static str,
}

/// What the caller may do, so that nothing is offered that would be refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct May {
    pub(super) read: bool,
    pub(super) mint: bool,
    pub(super) deploy: bool,
    pub(super) delete: bool,
    pub(super) secrets: bool,
    pub(super) admin: bool,
    pub(super) workspace: bool,
}

impl May {
    pub(super) fn of(caller: &Caller) -> Self {
        let scopes = caller.scopes();
        Self {
            read: scopes.allow(Scope::Read),
            mint: scopes.allow(Scope::Mint),
            deploy: scopes.allow(Scope::Deploy),
            delete: scopes.allow(Scope::Delete),
            secrets: scopes.allow(Scope::Secrets),
            admin: scopes.allow(Scope::Admin),
            workspace: caller.require_workspace().is_ok(),
        }
    }
}

impl Frame {
    pub(super) fn new(
        here: &'static str,
        title: String,
        caller: Option<&Caller>,
        session: Option<&Session>,
        notice: Option<String>,
    ) -> Self {
        let who = caller.map(|caller| caller.member().map_or("operator".to_owned(), ToString::to_string));
        Self {
            here,
            title,
            who,
            app: caller.and_then(Caller::app).map(ToString::to_string),
            may: caller.map(May::of).unwrap_or_default(),
            proof: session.map(|session| session.proof.clone()).unwrap_or_default(),
            notice,
            style: assets::STYLE.path(),
            script: assets::SCRIPT.path(),
            icon: assets::ICON.path(),
        }
    }
}

/// What is wrong with a form's fields, each beside its field.
#[derive(Clone, Debug, Default)]
pub(super) struct Wrong(Vec<FieldFault>);

impl Wrong {
    pub(super) fn new(faults: Vec<FieldFault>) -> Self {
        Self(faults)
    }

    pub(super) fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|fault| fault.field == field).map(|fault| fault.message.as_str())
    }

    /// Each field in words, and what is wrong with it.
    pub(super) fn all(&self) -> Vec<(String, &str)> {
        self.0.iter().map(|fault| (fault.field.replace('_', " "), fault.message.as_str())).collect()
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct Refused<'a> {
    frame: Frame,
    status: u16,
    headline: &'static str,
    detail: &'a str,
    errors: &'a [FieldFault],
    request: &'a str,
}

/// A whole page.
pub(super) fn html(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    let text = page.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the page could not be rendered")
    })?;
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    keep_to_itself(&mut response);
    Ok(response)
}

/// To another page, with a GET.
pub(super) fn go(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, to);
    keep_to_itself(&mut response);
    response
}

/// The page for whoever asked for one that is not there.
pub(in crate::admin) fn nothing(problem: &Problem, request: &RequestId) -> Response {
    refusal(problem, None, request)
}

/// The page that says why there is no other.
pub(super) fn refusal(problem: &Problem, who: Option<(&Caller, &Session)>, request: &RequestId) -> Response {
    let status = problem.status();
    let headline = match status {
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::FORBIDDEN => "This is not yours to do",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "This cannot be done now",
        status if status.is_server_error() => "Something is out of order",
        _ => "This did not work",
    };
    let frame = Frame::new("", headline.to_owned(), who.map(|who| who.0), who.map(|who| who.1), None);
    let (detail, errors) = (problem.detail(), problem.errors());
    let page = Refused { frame, status: status.as_u16(), headline, detail, errors, request: &request.0 };
    html(status, &page).unwrap_or_else(|problem| problem.render(request))
}

fn keep_to_itself(response: &mut Response) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With less than this, browsers say of our own forms that they come from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
