//! The last stage before the app: sends what was permitted and waits for the head of the answer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::request::Parts;
use http::{Method, Request as Message, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::authorize::Permit;
use super::clock;
use super::headers;
use super::record::Record;
use super::reject::{self, Reject};
use super::response::{Body, Lease};
use super::slots::{Occupied, Slot};
use super::upgrade;
use super::upload::Upload;
use super::upstream::{Chosen, pool};
use super::worker::Worker;
use crate::model::Refusal;

const GONE: Reject =
    Reject::new(Refusal::UpstreamUnreachable, "the app closed the connection without an answer");
const UNREACHABLE: Reject =
    Reject::new(Refusal::UpstreamUnreachable, "the app does not answer at its address");
const CONNECT_TIMEOUT: Reject =
    Reject::new(Refusal::UpstreamTimeout, "the app did not accept a connection in time");
const GARBLED: Reject = Reject::new(Refusal::UpstreamInvalid, "the app's answer is not valid HTTP");

/// An environment without an upstream to try.
pub(super) const UNAVAILABLE: Reject = Reject {
    retry_after: Some(1),
    ..Reject::new(Refusal::UpstreamUnavailable, "the app has no upstream at present")
};

/// The head of the app's answer, and the connection that its body comes over.
pub(super) struct Answer {
    pub response: Response<Incoming>,
    pub lease: Lease,
}

/// Sends a permitted request and passes the answer on.
///
/// # Errors
/// When no upstream answers, or the request is ended before one has.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    permit: Permit,
    head: Parts,
    upload: Upload,
    occupied: Occupied,
    mut record: Box<Record>,
) -> Result<Response<Body>, (Reject, Box<Record>)> {
    let slot = occupied.slot().clone();
    record.slot = Some(slot.clone());
    if upgrade::wants(&head) {
        return upgrade::open(permit, head, upload, occupied, record).await;
    }
    let answer = unless_ended(&slot, exchange(worker, &permit, head, upload, &slot, &mut record)).await;
    record.upstream_answered();
    match answer {
        Ok(answer) => pass_on(answer, &permit, occupied, record),
        Err(reject) => Err((slot.fault.get().unwrap_or(reject), record)),
    }
}

/// The app's answer as the client gets it.
///
/// # Errors
/// When two clients could disagree about where it ends, or it switches protocols unasked.
pub(super) fn pass_on(
    answer: Answer,
    permit: &Permit,
    occupied: Occupied,
    mut record: Box<Record>,
) -> Result<Response<Body>, (Reject, Box<Record>)> {
    let Answer { response, lease } = answer;
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS || !headers::ends_once(&parts.headers) {
        return Err((GARBLED, record));
    }
    headers::to_client(&mut parts.headers, permit, &record.request_id);
    record.status = parts.status.as_u16();
    occupied.slot().begin();
    let mut response = Response::from_parts(parts, Body::download(body, record, occupied, lease));
    *response.version_mut() = http::Version::HTTP_11;
    response.extensions_mut().clear();
    Ok(response)
}

/// Runs `exchange` until it is done or its request is ended.
pub(super) async fn unless_ended<T>(
    slot: &Slot,
    exchange: impl Future<Output = Result<T, Reject>>,
) -> Result<T, Reject> {
    let mut exchange = pin!(exchange);
    poll_fn(|cx| {
        if let Poll::Ready(refusal) = slot.poll_ended(cx) {
            return Poll::Ready(Err(reject::ended(refusal)));
        }
        exchange.as_mut().poll(cx)
    })
    .await
}

/// Tries upstreams until one gives an answer. What may have reached an app is sent again only where that is safe.
async fn exchange(
    worker: &Rc<Worker>,
    permit: &Permit,
    head: Parts,
    upload: Upload,
    slot: &Slot,
    record: &mut Record,
) -> Result<Answer, Reject> {
    let route = permit.route();
    let mut message = Message::from_parts(head, upload);
    let mut tried: Vec<Chosen> = Vec::new();
    let mut failure = UNAVAILABLE;
    while let Some(chosen) = route.choose(&tried) {
        let target = chosen.target().clone();
        record.upstream = Some(target.clone());
        record.upstream_began = Some(clock::now());
        headers::set_host(message.headers_mut(), route.host_header, &target);
        if let Some(mut sender) = worker.pool.take(&target) {
            let spare = spare(&message);
            match send(&mut sender, message).await {
                Ok(response) => return Ok(Answer { response, lease: lease(worker, chosen, sender) }),
                Err(Failure { unsent: Some(unsent), .. }) => message = *unsent,
                // A kept connection died under the request: the app may have closed it just before.
                Err(Failure { closed: true, .. }) if spare.is_some() && slot.ending().is_none() => {
                    let Some(again) = spare else { return Err(GONE) };
                    message = again;
                }
                Err(failure) => return Err(failure.reject),
            }
        }
        match pool::connect(&target, route.timeouts.connect).await {
            Ok(mut sender) => match send(&mut sender, message).await {
                Ok(response) => return Ok(Answer { response, lease: lease(worker, chosen, sender) }),
                Err(Failure { unsent: Some(unsent), reject, .. }) => (message, failure) = (*unsent, reject),
                Err(failure) => return Err(failure.reject),
            },
            Err(error) => failure = unconnected(&error),
        }
        tried.push(chosen);
    }
    Err(failure)
}

/// What an app that takes no connection means for the client.
pub(super) fn unconnected(error: &io::Error) -> Reject {
    if error.kind() == io::ErrorKind::TimedOut { CONNECT_TIMEOUT } else { UNREACHABLE }
}

fn lease(worker: &Rc<Worker>, chosen: Chosen, sender: SendRequest<Upload>) -> Lease {
    Lease { worker: worker.clone(), chosen, sender }
}

/// A failed attempt.
struct Failure {
    /// The message, if none of it was written.
    unsent: Option<Box<Message<Upload>>>,
    /// The connection ended before a byte of the answer came.
    closed: bool,
    reject: Reject,
}

async fn send(
    sender: &mut SendRequest<Upload>,
    message: Message<Upload>,
) -> Result<Response<Incoming>, Failure> {
    sender.try_send_request(message).await.map_err(|mut failed| {
        let error = failed.error();
        let broken = std::error::Error::source(error).is_some_and(|source| source.is::<io::Error>());
        let closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled() || broken;
        let reject = unanswered(error);
        Failure { closed, reject, unsent: failed.take_message().map(Box::new) }
    })
}

/// What an app that took a request and gave no answer means for the client.
pub(super) fn unanswered(error: &hyper::Error) -> Reject {
    if error.is_parse() { GARBLED } else { GONE }
}

/// A copy of a request that may be sent twice: idempotent by its method (RFC 9110, section 9.2.2) and bodyless.
fn spare(message: &Message<Upload>) -> Option<Message<Upload>> {
    let idempotent = matches!(
        *message.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    let upload = message.body().again().filter(|_| idempotent)?;
    let mut spare = Message::new(upload);
    *spare.method_mut() = message.method().clone();
    *spare.uri_mut() = message.uri().clone();
    *spare.headers_mut() = message.headers().clone();
    Some(spare)
}
