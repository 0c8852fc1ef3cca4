//! One call on its way to a handler, and the handler's answer.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use super::dashboard::Dashboard;
use super::metrics::Metrics;
use super::problem::Problem;
use super::pulse::Pulse;
use super::reload::ReloadDoor;
use crate::board::Board;
use crate::control::{Caller, Control, Once};

/// What all calls share.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) control: Control,
    pub(super) board: Arc<Board>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reloads: ReloadDoor,
    pub(super) dashboard: Arc<Dashboard>,
}

/// A call whose caller may make it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) state: State,
    /// `None` only on routes that are open to all.
    pub(super) caller: Option<Caller>,
    pub(super) uri: Uri,
    /// Which kinds of answer the caller takes.
    pub(super) accept: Option<HeaderValue>,
    /// What stands for each `{…}` in the route's path.
    pub(super) names: Vec<String>,
    /// The revisions of which one must be there for an edit; `None`: any.
    pub(super) expected: Option<Vec<u64>>,
    /// What makes the call happen once, however often it comes.
    pub(super) once: Option<Once>,
    pub(super) body: Bytes,
    /// Told of each piece of a long answer that is taken.
    pub(super) pulse: Option<Pulse>,
}

impl Call {
    /// The caller, who is known on every route that is not open to all.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(|| Problem::unauthorized("this needs a management key"))
    }

    /// What stands for a `{…}` in the route's path, by its place; what has names finds nothing under the empty one.
    pub(super) fn name(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }
}

/// A JSON answer about something that can be edited, with what names its state.
pub(super) fn tagged(status: StatusCode, revision: u64, body: &impl Serialize) -> Result<Response, Problem> {
    let mut response = json(status, body)?;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
pub(super) type Handler = fn(Call) -> Answer;

/// An answer that is JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(body).map_err(|e| {
        tracing::error!(error = %e, "an answer could not be written as JSON");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the answer could not be written")
    })?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
