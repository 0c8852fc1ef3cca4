//! Reports of leaked credentials that GitHub's secret scanning sends. Here they are only read, within bounds: whether
//! one is GitHub's, and what becomes of what it tells, is for others to say.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;

use super::form;
use super::lane::Lane;
use super::own::Visit;
use super::record::Record;
use super::refuse;
use super::reject::Reject;
use super::response::{self, Body};
use super::settings::Settings;
use super::worker::Worker;
use crate::board::{LeakReport, REPORTS, Reported, SEATS};
use crate::model::Refusal;

pub(super) const PATH: &str = "/.portcullis/leaks/github";

/// Some thousand credentials and where they were found.
const LONGEST: usize = 1024 * 1024;
/// No signature and no name of a key is longer.
const LONGEST_FIELD: usize = 1024;
/// How long a report may take to arrive, where less is not configured.
const PATIENCE: Duration = Duration::from_secs(10);

const UNAVAILABLE: Reject = Reject {
    retry_after: Some(60),
    ..Reject::new(Refusal::UpstreamUnavailable, "reports cannot be taken at present")
};

const FULL: Reject = Reject {
    close: true,
    retry_after: Some(2),
    ..Reject::new(Refusal::RateLimited, "too many reports are on their way at present")
};

/// Bytes that reports hold while they are read, wait and are judged, in all and at the most.
pub(super) const HELD: usize = (SEATS + REPORTS) * LONGEST;

/// Takes one.
pub(super) async fn take(
    worker: &Rc<Worker>,
    lane: &Lane,
    settings: &Settings,
    visit: Visit,
    record: Box<Record>,
) -> Response<Body> {
    let Visit { request, body, client } = visit;
    let questions = &worker.gateway.board.questions;
    let (Some(key), Some(signature)) = (
        field(&request.headers, "github-public-key-identifier"),
        field(&request.headers, "github-public-key-signature"),
    ) else {
        let detail = "a report is signed: `Github-Public-Key-Identifier` and `Github-Public-Key-Signature` are missing";
        return refuse(lane, Reject::new(Refusal::InvalidRequest, detail), record);
    };
    // Its sender may be anybody: who is slow, or one of many, gives way to who comes.
    let turned_away = &questions.turned_away;
    let Some(mut seat) = questions.seats.take(client.address) else {
        turned_away.full.add(1);
        return refuse(lane, FULL, record);
    };
    let within = settings.limits.header_timeout.min(PATIENCE);
    let sent = seat.sent.clone();
    let body = body.map_frame(|frame| {
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        sent.fetch_add(length, Ordering::Relaxed);
        frame
    });
    let read = tokio::select! {
        read = form::whole(body, LONGEST, lane, within) => read,
        _ = &mut seat.lost => {
            turned_away.pushed_out.add(1);
            Err(Reject { close: true, ..UNAVAILABLE })
        }
    };
    let body = match read {
        Ok(body) => body,
        Err(reject) => return refuse(lane, reject, record),
    };
    // What waits is held in memory as what is read is.
    let (place, missed) = tokio::select! {
        place = questions.judging() => (place, &turned_away.unjudged),
        _ = &mut seat.lost => (None, &turned_away.pushed_out),
    };
    let Some(place) = place else {
        missed.add(1);
        return refuse(lane, UNAVAILABLE, record);
    };
    drop(seat);
    let reject = match questions.leaks(LeakReport { key, signature, body }, place).await {
        Reported::Taken(verdicts) => {
            return response::report(lane, verdicts, record);
        }
        Reported::Unwanted => Reject::new(Refusal::NotFound, "the gateway has no such path of its own"),
        Reported::Refused(why) => Reject::new(Refusal::InvalidRequest, why),
        Reported::Unavailable => {
            turned_away.unjudged.add(1);
            UNAVAILABLE
        }
    };
    refuse(lane, reject, record)
}

fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= LONGEST_FIELD).map(str::to_owned)
}
