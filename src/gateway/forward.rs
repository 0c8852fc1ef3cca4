//! The last stage before the app: sends what was permitted and waits for the head of the answer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::{Method, Response, StatusCode};

use super::Passage;
use super::authorize::Permit;
use super::clock;
use super::crossing::Crossing;
use super::echo::{Compressed, Redactor};
use super::headers;
use super::record::Record;
use super::reject::{self, Reject};
use super::response::{Body, Lease};
use super::route::Route;
use super::slots::{Occupied, Slot};
use super::upgrade;
use super::upload::Upload;
use super::upstream::Chosen;
use super::upstream::dial::Unconnected;
use super::upstream::sender::{Failure, Fate};
use super::upstream::source::Source;
use super::worker::Worker;
use crate::model::Refusal;

const GONE: Reject =
    Reject::new(Refusal::UpstreamUnreachable, "the app closed the connection without an answer");
const UNREACHABLE: Reject =
    Reject::new(Refusal::UpstreamUnreachable, "the app does not answer at its address");
const CONNECT_TIMEOUT: Reject =
    Reject::new(Refusal::UpstreamTimeout, "the app did not accept a connection in time");
const INSECURE: Reject = Reject::new(
    Refusal::UpstreamUnreachable,
    "no secure connection to the app: its certificate does not prove that it is the app, or TLS failed otherwise",
);
const BUSY: Reject = Reject {
    retry_after: Some(1),
    ..Reject::new(
        Refusal::UpstreamUnavailable,
        "the app has as many connections as it may, and none became free in time",
    )
};
const REFUSED: Reject = Reject {
    retry_after: Some(1),
    ..Reject::new(
        Refusal::UpstreamUnavailable,
        "the app has not looked at the request: it has no room for it at present",
    )
};
const GARBLED: Reject = Reject::new(Refusal::UpstreamInvalid, "the app's answer is not valid HTTP");

/// An environment without an upstream to try.
pub(super) const UNAVAILABLE: Reject = Reject {
    retry_after: Some(1),
    ..Reject::new(Refusal::UpstreamUnavailable, "the app has no upstream at present")
};

/// The app's answer from its head on, and where its connection is kept after it.
pub(super) struct Answer {
    pub response: Response<Source>,
    pub lease: Lease,
}

/// Sends a permitted request and passes the answer on.
///
/// # Errors
/// When no upstream answers, or the request is ended before one has.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    mut passage: Box<Passage>,
    occupied: Occupied,
    mut record: Box<Record>,
) -> Result<Response<Body>, (Reject, Box<Record>)> {
    let slot = occupied.slot().clone();
    if passage.crossing.is_websocket() {
        return Box::pin(upgrade::open(*passage, occupied, record)).await;
    }
    let Passage { crossing, upload } = &mut *passage;
    let answer = unless_ended(&slot, pin!(exchange(worker, crossing, upload, &slot, &mut record))).await;
    let permit = crossing.permit();
    record.upstream_answered();
    // What was never sent is not the app's fault.
    if let (Some(Refusal::UpstreamTimeout), false, Some(target)) =
        (slot.ending(), slot.awaits_room(), &record.upstream)
    {
        permit.route().failed(target, false, "no answer in time");
    }
    match answer {
        Ok(answer) => pass_on(answer, permit, occupied, record),
        Err(reject) => {
            upload.leave();
            Err((slot.fault.get().unwrap_or(reject), record))
        }
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
    // Of HTTP/1 both were judged on the raw bytes.
    let is_doubtful =
        || parts.status == StatusCode::SWITCHING_PROTOCOLS || !headers::ends_once(&parts.headers);
    // The fields that belong to the connection went with that.
    if matches!(body, Source::Http2(..)) {
        if is_doubtful() {
            return Err((GARBLED, record));
        }
        headers::strip_hops(&mut parts.headers);
    }
    headers::to_client(&mut parts.headers, permit, &record);
    let redactor = match &record.injected {
        Some(injected) => Redactor::new(injected, &record.method, &mut parts).unwrap_or_else(|Compressed| {
            record.unsearched();
            None
        }),
        None => None,
    };
    record.status = parts.status.as_u16();
    occupied.slot().begin();
    let mut response = Response::from_parts(parts, Body::download(body, record, occupied, lease, redactor));
    *response.version_mut() = http::Version::HTTP_11;
    response.extensions_mut().clear();
    Ok(response)
}

/// Runs `exchange` until it is done or its request is ended.
pub(super) fn unless_ended<T>(
    slot: &Slot,
    mut exchange: Pin<&mut impl Future<Output = Result<T, Reject>>>,
) -> impl Future<Output = Result<T, Reject>> {
    poll_fn(move |cx| {
        if let Poll::Ready(refusal) = slot.poll_ended(cx) {
            return Poll::Ready(Err(reject::ended(refusal)));
        }
        exchange.as_mut().poll(cx)
    })
}

/// Tries upstreams until one gives an answer. What may have reached an app is sent again only where that is safe.
async fn exchange(
    worker: &Rc<Worker>,
    crossing: &mut Crossing,
    upload: &mut Upload,
    slot: &Slot,
    record: &mut Record,
) -> Result<Answer, Reject> {
    let repeats = upload.is_empty();
    let mut tried: Vec<Chosen> = Vec::new();
    let mut failure = UNAVAILABLE;
    let mut asked_again = false;
    let mut passed = None;
    loop {
        let untried = crossing.permit().route().choose(&tried);
        // Where no other took it, it waits for the one that was passed over.
        let Some(chosen) = untried.or_else(|| passed.take().map(|place| tried.remove(place))) else {
            // Who had no room for it may have some by now.
            if failure != REFUSED || asked_again {
                return Err(failure);
            }
            asked_again = true;
            note_retry(tried.last());
            tried.clear();
            continue;
        };
        let target = chosen.target().clone();
        if passed != tried.len().checked_sub(1) {
            note_retry(tried.last());
        }
        record.upstream = Some(target.clone());
        record.upstream_began = Some(clock::now());
        let mut kept = worker.pool.take(&target);
        loop {
            let is_kept = kept.is_some();
            let route = crossing.permit().route();
            let within = route.timeouts.connect;
            // As long as without a body, whose time began when it came.
            let room_by = record.started + route.timeouts.response_header;
            let takes_nothing = |target: &_| worker.pool.is_barren(target);
            let others =
                |desperate| !asked_again && route.has_others(&tried, &chosen, desperate, takes_nothing);
            let connected = match kept.take() {
                Some(sender) => Ok(sender),
                // Boxed: seldom needed, and large.
                None => Box::pin(worker.pool.open(&target, within, others)).await,
            };
            let connected = match connected {
                // The library would keep it, with the secrets that it was put together with, or where nothing else helps it.
                Ok(full) if !full.leaves_at_once() && (crossing.is_secret() || full.is_barren()) => {
                    drop(full);
                    slot.room_awaited(Some(room_by));
                    let found =
                        Box::pin(worker.pool.room(&target, within, !crossing.is_secret(), others)).await;
                    slot.room_awaited(None);
                    found
                }
                connected => connected,
            };
            let sender = match connected {
                Ok(sender) => sender,
                Err(Unconnected::Passed) => {
                    passed = Some(tried.len());
                    break;
                }
                Err(error) => {
                    failure = unconnected(route, &chosen, &error);
                    break;
                }
            };
            // It may have waited, or go a second time.
            crossing.renew(record)?;
            let Failure { unsent, fate } = match sender.send(crossing, upload, &target).await {
                Ok(response) => {
                    target.answered();
                    return Ok(Answer { response, lease: Lease { worker: worker.clone(), chosen } });
                }
                Err(failed) => failed,
            };
            let again = unsent || (repeats && may_go_again(&crossing.method, fate));
            // A kept connection can die under a request without the app being at fault: it may have closed it just
            // before.
            let is_stale = is_kept && again && fate != Fate::Refused;
            if !is_stale {
                failure = unanswered(slot, crossing.permit().route(), &chosen, fate);
            }
            if !again || slot.ending().is_some() {
                return Err(failure);
            }
            if !is_stale {
                break;
            }
            note_retry(Some(&chosen));
        }
        if (failure == BUSY && passed.is_none()) || asked_again {
            return Err(failure);
        }
        tried.push(chosen);
    }
}

/// Counts, for the upstream that failed a request, that the request is sent again.
pub(super) fn note_retry(failed: Option<&Chosen>) {
    if let Some(failed) = failed {
        failed.target().standing.retries.add(1);
    }
}

/// What an app that takes no connection means for the client.
pub(super) fn unconnected(route: &Route, chosen: &Chosen, error: &Unconnected) -> Reject {
    let reject = match error {
        Unconnected::Full | Unconnected::Passed => return BUSY,
        Unconnected::Unreachable(_) => UNREACHABLE,
        Unconnected::NotHttp2 => GARBLED,
        Unconnected::TimedOut => CONNECT_TIMEOUT,
        Unconnected::Insecure(_) => INSECURE,
    };
    route.failed(chosen.target(), chosen.is_on_trial(), &error.to_string());
    reject
}

/// What an app that took a request and gave no answer means for the client.
pub(super) fn unanswered(slot: &Slot, route: &Route, chosen: &Chosen, fate: Fate) -> Reject {
    let reject = match fate {
        Fate::Garbled => GARBLED,
        Fate::Refused | Fate::Leaving => REFUSED,
        Fate::Closed | Fate::Calmed | Fate::BrokenOff => GONE,
    };
    let is_at_fault = match fate {
        // What other clients did, and what the app may do.
        Fate::Calmed | Fate::Refused | Fate::Leaving => false,
        Fate::Closed | Fate::BrokenOff | Fate::Garbled => true,
    };
    // A request that did not arrive whole is not the app's fault either.
    if is_at_fault && slot.fault.get().is_none() && slot.ending().is_none() {
        route.failed(chosen.target(), chosen.is_on_trial(), reject.detail);
    }
    reject
}

/// Whether a request without a body whose fate was this may be sent once more.
fn may_go_again(method: &Method, fate: Fate) -> bool {
    match fate {
        Fate::Refused | Fate::Leaving => true,
        // Idempotent (RFC 9110, section 9.2.2), as far as requests pass.
        Fate::Closed | Fate::Calmed => {
            matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
        }
        Fate::BrokenOff | Fate::Garbled => false,
    }
}
