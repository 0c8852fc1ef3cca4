//! `/metrics`: what is counted anywhere in the program, put together when it is asked for.

mod exposition;
mod families;
mod process;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use self::exposition::Format;
use self::families::Families;
use super::call::{Answer, Call};
use super::problem::Problem;
use crate::board::Board;
use crate::control::{Expiring, LeakCounts, Needs};
use crate::index::Index;
use crate::telemetry::{LogCounts, Operations};
use crate::tls::Terminators;

/// The types that an answer may have.
pub(super) const KINDS: [&str; 2] = [Format::Prometheus.content_type(), Format::OpenMetrics.content_type()];

/// Where figures come from.
#[derive(Clone, Debug)]
pub struct Sources {
    pub board: Arc<Board>,
    pub index: Arc<Index>,
    pub log: Arc<LogCounts>,
    pub store: Arc<Operations>,
    /// The revision that the store last committed.
    pub committed: watch::Receiver<u64>,
    /// Certificates in use are theirs.
    pub terminators: Arc<Terminators>,
}

/// Everything that is exported.
#[derive(Debug)]
pub(super) struct Metrics(Registry);

impl Metrics {
    pub(super) fn new(sources: Sources, expiring: Expiring, needs: Needs, leaks: LeakCounts) -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        registry.register_collector(Box::new(Families::new(sources, expiring, needs, leaks)));
        Self(registry)
    }
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let format = Format::chosen(call.accept.as_ref());
        let text = format.write(&call.state.metrics.0).map_err(|error| {
            tracing::error!(%error, "the metrics could not be written");
            let detail = "the metrics could not be written";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
        })?;
        let mut response = Response::new(Body::from(text));
        let kind = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        Ok(response)
    })
}
