//! The dashboard: pages for people, rendered here and readable without a script. They do nothing that the API does not do:
//! each form ends in the same command, for the same caller, with the same permissions.

pub(super) mod apps;
pub(super) mod assets;
pub(super) mod audit;
mod chart;
pub(super) mod creation;
pub(super) mod deployments;
mod door;
mod failures;
mod form;
pub(super) mod keys;
pub(super) mod leak_report;
pub(super) mod leaks;
pub(super) mod link;
pub(super) mod members;
pub(super) mod notices;
mod page;
mod random;
pub(super) mod secret_form;
pub(super) mod secrets;
pub(super) mod session;
pub(super) mod sign_in;
pub(super) mod token;
pub(super) mod tokens;
mod words;

use std::pin::Pin;

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use self::failures::Failures;
use self::link::Links;
use self::page::{Frame, May};
use self::session::Sessions;
use super::problem::Problem;

pub(super) use door::{Ask, answer};
pub(super) use page::nothing;

/// Who is signed in, who may sign in by a link, and who tried too often.
#[derive(Debug, Default)]
pub(super) struct Dashboard {
    sessions: Sessions,
    links: Links,
    failures: Failures,
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
pub(super) type Handler = fn(Ask) -> Answer;

/// The page of whoever may do things that have no page.
#[derive(Template)]
#[template(path = "pageless.html")]
struct Pageless {
    frame: Frame,
}

/// The first page: of those that the caller may see.
pub(super) fn home(ask: Ask) -> Answer {
    Box::pin(async move {
        let may = May::of(ask.caller()?);
        Ok(page::go(match () {
            () if may.read => "/tokens",
            () if may.mint => "/tokens/new",
            () if may.secrets => "/secrets/new",
            () => return page::html(StatusCode::OK, &Pageless { frame: ask.frame("", "No pages") }),
        }))
    })
}
