//! The gateway's own paths, the same on every host.

use std::rc::Rc;

use http::header::ALLOW;
use http::{HeaderValue, Method, Response};

use super::client::Client;
use super::inlet::Inflow;
use super::lane::Lane;
use super::record::Record;
use super::reject::Reject;
use super::request::Request;
use super::response::{self, Body};
use super::settings::Settings;
use super::signin::{self, Entrance};
use super::worker::Worker;
use super::{leaks, refuse, share};
use crate::model::Refusal;

/// A request for one of these paths.
pub(super) struct Visit {
    pub request: Request,
    pub body: Inflow,
    pub client: Client,
}

/// Answers it.
pub(super) async fn answer(
    worker: &Rc<Worker>,
    lane: &Lane,
    settings: &Settings,
    visit: Visit,
    record: Box<Record>,
) -> Response<Body> {
    let method = match visit.request.method {
        _ if visit.request.tunnel => "",
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        _ => "",
    };
    let path = visit.request.path().to_owned();
    match (method, path.as_str()) {
        ("GET", "/.portcullis/healthz") => response::health(lane, worker.gateway.board.draining(), record),
        (_, "/.portcullis/healthz") => not_allowed(lane, "GET, HEAD", record),
        ("POST", leaks::PATH) if settings.takes_reports => {
            leaks::take(worker, lane, settings, visit, record).await
        }
        (_, leaks::PATH) if settings.takes_reports => not_allowed(lane, "POST", record),
        (method, path) => {
            let entrance = Entrance::find(worker, lane, settings, &visit);
            match (method, path, path.strip_prefix(share::PATH), entrance) {
                ("POST", signin::PATH, _, Some(entrance)) => signin::paste(entrance, visit, record).await,
                (_, signin::PATH, _, Some(_)) => not_allowed(lane, "POST", record),
                ("GET", _, Some(code), Some(entrance)) => share::show(entrance, code, record).await,
                ("POST", _, Some(code), Some(entrance)) => share::redeem(entrance, code, visit, record).await,
                (_, _, Some(_), Some(_)) => not_allowed(lane, "GET, HEAD, POST", record),
                _ => {
                    let reject = Reject::new(Refusal::NotFound, "the gateway has no such path of its own");
                    refuse(lane, reject, record)
                }
            }
        }
    }
}

fn not_allowed(lane: &Lane, allowed: &'static str, record: Box<Record>) -> Response<Body> {
    let reject = Reject::new(Refusal::MethodNotAllowed, "this path has no such method");
    let mut response = refuse(lane, reject, record);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
