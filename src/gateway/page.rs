//! Pages for people: why they were not let in, and what they can do about it.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::landing::landing;
use super::record::Record;
use super::reject::Reject;
use super::route::Route;
use super::signin;
use crate::model::{Landing, Refusal};

const STYLE: &str = include_str!("pages/style.css");

/// Nothing may be loaded or run, nothing may frame it, and its form goes to this host alone. The one style is known by
/// its digest.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

const SIGNED_IN: &str =
    "You are signed in, and nothing was done. If you meant to do it, open the app and do it there.";

/// Whom an answer of ours is for.
#[derive(Clone, Debug)]
pub(super) enum Audience {
    Program,
    /// With where to go on once signed in, if that is elsewhere than here.
    Person(Option<Landing>),
}

#[derive(Template)]
#[template(path = "gateway/pages/refusal.html")]
struct Refused<'a> {
    style: &'static str,
    heading: &'static str,
    place: Option<Place<'a>>,
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
    advice: &'static str,
    form: Option<PasteForm<'a>>,
    /// Whether the app opens without more, by a link of our own.
    opens: bool,
    request_id: &'a str,
}

#[derive(Template)]
#[template(path = "gateway/pages/invitation.html")]
struct Invitation<'a> {
    style: &'static str,
    heading: &'static str,
    place: Option<Place<'a>>,
}

/// Which app, and which of its environments.
struct Place<'a> {
    app: &'a str,
    environment: &'a str,
}

struct PasteForm<'a> {
    action: &'static str,
    landing: &'a str,
}

/// The page of a refusal, where it is for a person.
pub(super) fn refusal(reject: &Reject, record: &Record) -> Option<String> {
    let Audience::Person(elsewhere) = &record.audience else { return None };
    let settings = record.worker().gateway.settings.load();
    let status = reject.refusal.status();
    let route = record.route();
    let may_sign_in = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && settings.seal.is_some()
        && !reject.signed_in
        && route.is_some_and(|route| route.browser_sessions);
    let here = || {
        let target =
            record.target.as_ref().filter(|_| matches!(record.method, Method::GET | Method::HEAD))?;
        landing(target, settings.ways.query_parameter.as_deref())
    };
    let landing = elsewhere.clone().or_else(here).unwrap_or_else(Landing::front);
    let page = Refused {
        style: STYLE,
        heading: if reject.signed_in { "Go on in the app itself" } else { heading(reject.refusal) },
        place: route.map(|route| place(route)),
        status,
        code: reject.refusal.as_str(),
        detail: reject.detail,
        advice: if reject.signed_in { SIGNED_IN } else { advice(reject.refusal, may_sign_in) },
        form: may_sign_in.then(|| PasteForm { action: signin::PATH, landing: landing.as_str() }),
        opens: reject.signed_in,
        request_id: record.request_id.to_str().unwrap_or_default(),
    };
    page.render().ok()
}

/// The page behind a link that signs in.
pub(super) fn invitation(route: &Route) -> String {
    let page = Invitation { style: STYLE, heading: "You have been invited", place: Some(place(route)) };
    page.render().unwrap_or_default()
}

/// What browsers must not do with our pages.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Forms name their origin only where this lets them.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}

fn place(route: &Route) -> Place<'_> {
    Place { app: route.app.as_str(), environment: route.environment.as_str() }
}

const fn heading(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TokenMissing => "You need access to this app",
        Refusal::TokenUnknown => "That token opens nothing here",
        Refusal::TokenRevoked => "The token was revoked",
        Refusal::DeploymentReplaced => "The token ended with a new deployment",
        Refusal::TokenExpired => "Access has expired",
        Refusal::WrongApp => "The token is for another app",
        Refusal::WrongEnvironment => "The token is for another environment",
        Refusal::ExternalAccessOff => "Access from outside is off",
        Refusal::AddressNotAllowed => "The token may not be used from here",
        Refusal::InsufficientScope => "The token does not cover this page",
        Refusal::RateLimited => "Too many requests",
        Refusal::UnknownHost => "No app lives here",
        Refusal::NotFound => "There is nothing here",
        Refusal::UpstreamUnreachable
        | Refusal::UpstreamInvalid
        | Refusal::SecretUnavailable
        | Refusal::UpstreamUnavailable
        | Refusal::UpstreamTimeout => "The app does not answer",
        Refusal::InvalidRequest
        | Refusal::MethodNotAllowed
        | Refusal::RequestTimeout
        | Refusal::BodyTooLarge
        | Refusal::UriTooLong
        | Refusal::ExpectationFailed
        | Refusal::HeadersTooLarge => "That request cannot be served",
    }
}

const fn advice(refusal: Refusal, may_sign_in: bool) -> &'static str {
    match refusal {
        Refusal::ExternalAccessOff => "Ask whoever runs the app to switch it on.",
        Refusal::RateLimited => "Wait a little, then load the page again.",
        Refusal::UnknownHost => "Check the address that you followed.",
        Refusal::UpstreamUnreachable
        | Refusal::UpstreamInvalid
        | Refusal::SecretUnavailable
        | Refusal::UpstreamUnavailable
        | Refusal::UpstreamTimeout => {
            "This is not about your access. Try again in a moment; if it lasts, tell whoever runs the app."
        }
        _ if may_sign_in => {
            "If you have an access token for it, paste it below. If not, ask whoever sent you here for one, or for a link that \
             signs you in."
        }
        Refusal::TokenMissing
        | Refusal::TokenUnknown
        | Refusal::TokenRevoked
        | Refusal::DeploymentReplaced
        | Refusal::TokenExpired
        | Refusal::WrongApp
        | Refusal::WrongEnvironment
        | Refusal::AddressNotAllowed
        | Refusal::InsufficientScope => "Ask whoever sent you here for an access token.",
        Refusal::InvalidRequest
        | Refusal::MethodNotAllowed
        | Refusal::RequestTimeout
        | Refusal::BodyTooLarge
        | Refusal::UriTooLong
        | Refusal::ExpectationFailed
        | Refusal::HeadersTooLarge
        | Refusal::NotFound => "Go back, and try another way.",
    }
}
