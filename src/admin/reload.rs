//! `/v1/reload`: the gateway reads its configuration again.

use http::StatusCode;
use tokio::sync::{mpsc, oneshot};

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::problem::Problem;
use super::wire;
use crate::config::Mistake;

/// The way to whoever reloads.
pub type ReloadDoor = mpsc::Sender<ReloadRequest>;

/// A wish that the configuration be read again.
#[derive(Debug, Default)]
pub struct ReloadRequest {
    /// `None`: what came of it is in the program's log and nowhere else.
    pub answer: Option<oneshot::Sender<Result<Reloaded, ReloadFault>>>,
}

/// What a reload has changed.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// Keys of the configuration, and files whose certificates are others than before.
    pub changed: Vec<String>,
    /// Keys that keep their old value until a restart.
    pub restart_needed: Vec<String>,
    pub warnings: Vec<Mistake>,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFault {
    #[error("the configuration has {} mistakes: nothing was changed", .0.len())]
    Invalid(Vec<Mistake>),
    #[error("{0}: nothing was changed")]
    Impossible(String),
}

pub(super) fn reload(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_body(&call.body, true)?.end(&[]).none()?;
        let ending = || {
            let detail = "the gateway is finishing what it has and changes nothing any more";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail)
        };
        let (answer, answered) = oneshot::channel();
        let request = ReloadRequest { answer: Some(answer) };
        call.state.reloads.send(request).await.map_err(|_| ending())?;
        let reloaded = answered.await.map_err(|_| ending())??;
        call.state.control.note_reload(call.caller()?, &reloaded.changed).await;
        let body = wire::Reloaded {
            changed: reloaded.changed,
            restart_needed: reloaded.restart_needed,
            warnings: reloaded.warnings.iter().map(Mistake::to_string).collect(),
        };
        json(StatusCode::OK, &body)
    })
}
