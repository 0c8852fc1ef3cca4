//! The gateway: what a request passes from the socket to the app and back.
//!
//! Stages in the order in which a request meets them, each a file: `listen`, `tls`, `http` (what is spoken), `http1` and `http2` (the
//! drivers), `framing`, `head` and `frames` (what the raw bytes say), `request`, `route`, `credential`, `authenticate`, `authorize`, `crossing`, `forward`,
//! `response`, `record`. What the configuration adds on the way to the app is `inject`; that it does not come back, `echo`.
//! [`arrive`] and [`handle`] are the whole path.

pub mod authenticate;
pub mod authorize;
mod block;
pub mod capacity;
mod client;
mod clock;
mod connection;
mod content;
pub mod credential;
mod crossing;
mod date;
mod echo;
mod extent;
mod farewell;
mod form;
mod forward;
mod frames;
pub mod framing;
mod guard;
pub mod head;
mod headers;
mod hex;
mod http;
mod http1;
mod http2;
mod inject;
mod inlet;
pub mod landing;
mod lane;
mod leaks;
mod line;
pub mod listen;
pub mod memory;
pub mod navigation;
mod notable;
mod outlet;
mod own;
mod page;
pub mod query;
mod record;
pub mod reject;
pub mod request;
mod response;
pub mod route;
pub mod session;
mod settings;
mod share;
mod signin;
mod slots;
mod socket;
mod spare;
mod spelling;
mod stamp;
mod streams;
mod suspicion;
pub mod throttle;
pub mod tls;
mod trace;
mod upgrade;
mod upload;
pub mod upstream;
pub mod worker;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderValue, Response};
use bytes::Bytes;
use tokio::time::Instant;

use self::authorize::Permit;
use self::client::Client;
use self::credential::Presented;
use self::crossing::Crossing;
use self::head::BodyLength;
use self::inlet::Inflow;
use self::lane::{Lane, Seen};
use self::notable::Field;
use self::own::Visit;
use self::page::Audience;
use self::record::Record;
use self::reject::Reject;
use self::request::Request;
use self::response::Body;
use self::signin::Redirect;
use self::slots::{Occupied, SlotLimits};
use self::upload::Upload;
use self::worker::Worker;
use crate::board::{Board, LastUse};
use crate::index::Index;
use crate::model::{RESERVED, Refusal};
use crate::secrets::Vault;
use crate::telemetry::AccessLog;

pub use clock::Moment;
pub use settings::{InForce, Settings};

/// How far the end of serving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    No,
    /// What runs is finished, nothing is kept alive.
    Begun,
    /// What still runs is dropped.
    Over,
}

/// What all workers share.
#[derive(Debug)]
pub struct Gateway {
    pub index: Arc<Index>,
    pub board: Arc<Board>,
    pub settings: InForce,
    pub vault: Vault,
    pub log: AccessLog,
    pub throttle: throttle::Throttle,
    /// When it started.
    pub since: Instant,
}

impl Gateway {
    /// A new identifier for a request: 128 random bits in hexadecimal.
    fn request_id(&self) -> HeaderValue {
        // With its owner it needs one allocation, however often it is cloned.
        let id = Bytes::from_owner(hex::digits(fastrand::u128(..)));
        HeaderValue::from_maybe_shared(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

/// The whole decision, from an accepted request to the proof that it may be forwarded. Pure but for the use of a
/// token's rate and for what was seen to have ended: no I/O, no clock.
///
/// # Errors
/// The first refusal that applies, in the contract's order.
// The stages are inlined, or half of their work would be to hand over what they found.
pub fn decide(
    settings: &Settings,
    index: &Index,
    request: &Request,
    client: IpAddr,
    now: Moment,
) -> Result<Permit, Reject> {
    let mut presented = credential::present(&settings.ways, &request.headers, &request.uri)?;
    let route = settings.routes.route(request.host_bytes())?;
    if let Presented::Nothing(_) = presented
        && let Some(session) = session::present(settings.seal.as_deref(), request, route, now.wall)
    {
        presented = session;
    }
    if let Some(permit) = authorize::public(request, &presented, route) {
        return Ok(permit);
    }
    let authenticated = authenticate::authenticate(index, &presented, &route.state, now.wall)?;
    authorize::authorize(authenticated, request, client, route, now.steady)
}

/// What becomes of a request, as it was decided when it came. Not for formatting: it may hold a token. Small: it is part of
/// a future that each request gets a box for, and an allocator keeps boxes of up to 1 KiB at hand.
enum Course {
    Refused(Box<Reject>, Box<Record>),
    /// It was there to sign in.
    SignedIn(Box<Redirect>, Box<Record>),
    /// It is for the gateway's own paths.
    Own(Box<Visit>, Arc<Settings>, Box<Record>),
    Permitted(Box<Passage>, Occupied, Box<Record>),
}

/// A permitted request about to leave for the app. In one box: every future around it would pay for the space.
struct Passage {
    crossing: Crossing,
    upload: Upload,
}

/// Takes a request in and decides about it. With what [`handle`] does, but apart from it: that may never run where the
/// client is gone already, and the record has to be there before. By the settings of now, and entered among what is in
/// flight at once: none that were replaced, and no token that has ended, lets it in.
fn arrive(worker: &Rc<Worker>, lane: &Lane, seen: Seen, parts: Parts, body: Inflow) -> Course {
    // On a machine that is busy to its limit, a revocation would wait for its turn on the processor again and again.
    if worker.gateway.index.is_hurried() {
        std::thread::yield_now();
    }
    let settings = worker.gateway.settings.load_full();
    let client = Client::find(lane.connection().client.ip(), &parts.headers, &settings.trusted_proxies);
    let mut record = begin(worker, client, &parts);
    let accepted = match seen {
        Seen::Head(head) => Request::accept(parts, head),
        Seen::Stream { ended } => Request::accept_stream(parts, ended, settings.limits.headers),
    };
    let mut request = match accepted {
        Ok(request) => request,
        Err(reject) => {
            body.leave();
            return Course::Refused(Box::new(reject), record);
        }
    };
    request.secure = client.is_secure(lane.connection(), &request.headers);
    record.routed(settings.routes.route(request.host_bytes()).ok());
    if request.path().starts_with(RESERVED) {
        return Course::Own(Box::new(Visit { request, body, client }), settings, record);
    }

    let now = worker.now();
    let decided = decide(&settings, &worker.gateway.index, &request, client.address, now);
    suspicion::look(worker, &settings.ways, &request, &decided, client);
    let mut permit = match decided.and_then(|permit| fits(&settings, &request, permit)) {
        Ok(permit) => permit,
        Err(reject) => {
            let reject = throttled(worker, &settings, client, reject, now.steady);
            spare::give(request.headers);
            body.leave();
            return Course::Refused(Box::new(reject), record);
        }
    };
    if let Some(holder) = permit.holder() {
        (record.token, record.let_in) = (Some(holder.id), true);
        worker.used(holder.id, LastUse { at: now.wall, client: client.address });
    }
    if let Some(redirect) = signin::exchange(&settings, &request, &permit, now.wall) {
        return Course::SignedIn(Box::new(redirect), record);
    }
    match permit.injected(&worker.gateway.vault, now.wall) {
        Ok(injected) => record.injected = injected,
        Err(reject) => {
            body.leave();
            return Course::Refused(Box::new(reject), record);
        }
    }

    let timeouts = permit.route().timeouts;
    let still = SlotLimits { idle: timeouts.idle, client: settings.limits.idle_timeout };
    let occupied = worker.slots.enter(permit.take_pass(), still, lane);
    worker.stir();
    let limit = settings.limits.body_bytes;
    let injected = record.injected.clone();
    let (within, header) = (timeouts.response_header, &settings.ways.header);
    let upload = Upload::new(body, occupied.slot(), limit, within, header, injected);
    let crossing = Crossing::new(request, permit, &settings.ways, client, lane.connection(), &record);
    record.slot = Some(occupied.slot().clone());
    Course::Permitted(Box::new(Passage { crossing, upload }), occupied, record)
}

/// One request, from the decision to the head of its answer.
async fn handle(worker: &Rc<Worker>, lane: &Lane, course: Course) -> Response<Body> {
    match course {
        Course::Refused(reject, record) => refuse(lane, *reject, record),
        Course::SignedIn(redirect, record) => response::redirect(lane, *redirect, record),
        Course::Own(visit, settings, record) => {
            Box::pin(own::answer(worker, lane, &settings, *visit, record)).await
        }
        Course::Permitted(passage, occupied, record) => {
            match forward::forward(worker, passage, occupied, record).await {
                Ok(response) => response,
                Err((reject, record)) => refuse(lane, reject, record),
            }
        }
    }
}

/// Past the address's allowance, one more unknown token is told to wait instead.
fn throttled(worker: &Worker, settings: &Settings, client: Client, reject: Reject, now: i64) -> Reject {
    if reject.refusal != Refusal::TokenUnknown {
        return reject;
    }
    let limit = settings.limits.auth_failures_per_minute;
    match worker.gateway.throttle.failed(client.address, limit, now) {
        Ok(()) => reject,
        Err(seconds) => {
            let detail = "too many unknown tokens came from this address";
            Reject { retry_after: Some(seconds), ..Reject::new(Refusal::RateLimited, detail) }
        }
    }
}

/// What may be forwarded must also be something that this gateway forwards.
fn fits(settings: &Settings, request: &Request, permit: Permit) -> Result<Permit, Reject> {
    let of = |reject: Reject| Reject { token: permit.holder().map(|holder| holder.id), ..reject };
    let expects = || request.headers.get_all(::http::header::EXPECT).iter();
    if request.notable.has(Field::Expect)
        && expects().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        let detail = "the only expectation this gateway meets is 100-continue";
        return Err(of(Reject::new(Refusal::ExpectationFailed, detail)));
    }
    match request.body {
        BodyLength::Known(length)
            if settings.limits.body_bytes > 0 && length > settings.limits.body_bytes =>
        {
            Err(of(upload::too_large()))
        }
        _ => Ok(permit),
    }
}

fn begin(worker: &Rc<Worker>, client: Client, parts: &Parts) -> Box<Record> {
    let believed = client.trusted.then(|| headers::believed_request_id(&parts.headers)).flatten();
    let request_id = believed.unwrap_or_else(|| worker.gateway.request_id());
    // Boxed: it is handed from stage to stage, and is too large to be copied each time.
    let mut record = Box::new(Record::new(worker, request_id, client.address));
    record.method = parts.method.clone();
    record.target = parts.uri.path_and_query().and_then(record::kept);
    record.protocol = parts.version;
    if navigation::is_for_a_person(&parts.headers) {
        record.audience = Audience::Person(None);
    }
    record
}

/// Answers with a refusal. A request whose body is still on its way is the connection's last.
fn refuse(lane: &Lane, mut reject: Reject, record: Box<Record>) -> Response<Body> {
    reject.close |= !lane.has_arrived();
    response::refuse(lane, reject, record)
}
