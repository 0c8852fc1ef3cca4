//! The driver of one HTTP/2 connection: hyper serves the streams, this owns time, floods and drain.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep_until};

use super::clock;
use super::connection::{Connection, Overdue, Phase};
use super::farewell::linger;
use super::guard::{Guard, Lent};
use super::inlet::Inflow;
use super::lane::{Lane, Seen};
use super::response::Body;
use super::socket::Socket;
use super::streams::{Spawner, Streams};
use super::worker::Worker;
use crate::board::client::HangUp;
use crate::config::Limits;

pub(super) const STREAMS: u32 = 100;
/// What a client may send ahead on one stream, and on all of a connection's together.
const STREAM_WINDOW: u32 = 64 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What is held of an answer that the client does not take.
pub(super) const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client takes back before they were looked at, and broken ones of a whole connection.
const TAKEN_BACK: usize = 20;
const BROKEN: usize = 1024;
/// How long a client is silent before it is asked whether it is still there, and how long it has for the answer.
const ARE_YOU_THERE: Duration = Duration::from_secs(20);
/// From the word that the connection ends to its end, where it is the client's fault.
const NOTICE: Duration = Duration::from_millis(200);
/// The same where the client was merely idle: time for a request that was on its way to arrive.
const LAST_CALL: Duration = Duration::from_millis(500);

/// How the end of a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    No,
    /// The client was told. What it has under way is finished.
    Announced,
    /// The same, and what is not finished by then is dropped.
    Until(Instant),
}

/// Serves one connection to its end.
pub(super) async fn drive(
    worker: Rc<Worker>,
    socket: Socket,
    ahead: Bytes,
    connection: Rc<Connection>,
    limits: &Limits,
) {
    let socket = Lent::new(socket);
    let slow = converse(worker, socket.clone(), ahead, &connection, limits).await;
    let Some(socket) = socket.take_back() else { return };
    if slow { socket.reset() } else { linger(socket).await }
}

/// Drives the connection; returns whether it ended because the client does not take what is sent.
async fn converse(
    worker: Rc<Worker>,
    socket: Lent,
    ahead: Bytes,
    connection: &Rc<Connection>,
    limits: &Limits,
) -> bool {
    let streams = Streams::new(connection.clone());
    let io = TokioIo::new(Guard::new(socket, ahead, streams.clone()));
    let service = Doorway { worker: worker.clone(), streams: streams.clone() };
    let builder = builder(Spawner(streams.clone()), limits);
    let mut served = pin!(builder.serve_connection(io, service));
    let mut timer = pin!(sleep_until(connection.next_look(clock::now())));
    let mut parting = Parting::No;
    let mut last_call = None;

    poll_fn(|cx| {
        connection.watch(cx);
        loop {
            if connection.is_draining() && parting == Parting::No {
                served.as_mut().graceful_shutdown();
                parting = Parting::Announced;
            }
            if let Poll::Ready(served) = served.as_mut().poll(cx) {
                // Past the notice it was counted already.
                let told = matches!(parting, Parting::Until(_));
                if let Some(why) = served.err().as_ref().and_then(hung_up).filter(|_| !told) {
                    worker.clients().hang_up(why);
                }
                return Poll::Ready(false);
            }
            if streams.is_misbegun() {
                return Poll::Ready(false);
            }
            let now = clock::look();
            let late = connection.overdue(now);
            let until = match parting {
                Parting::Until(end) if end <= now => return Poll::Ready(false),
                _ if late == Some(Overdue::Reading) => {
                    worker.clients().hang_up(HangUp::NotReading);
                    return Poll::Ready(true);
                }
                Parting::Until(end) => Some(end),
                Parting::No | Parting::Announced if streams.is_flooded() || late == Some(Overdue::Head) => {
                    let late = late == Some(Overdue::Head);
                    worker.clients().hang_up(if late { HangUp::LateHead } else { HangUp::Flood });
                    streams.shut();
                    served.as_mut().graceful_shutdown();
                    parting = Parting::Until(now + NOTICE);
                    continue;
                }
                Parting::Announced if late == Some(Overdue::Idle) => return Poll::Ready(false),
                Parting::Announced => match (last_call, connection.phase()) {
                    (Some(end), Phase::Idle(_)) if end <= now => return Poll::Ready(false),
                    (Some(end), Phase::Idle(_)) => Some(end),
                    _ => None,
                },
                Parting::No if late == Some(Overdue::Idle) => {
                    last_call = Some(now + LAST_CALL);
                    connection.enter(Phase::Idle(now));
                    connection.drain();
                    continue;
                }
                Parting::No => None,
            };
            let next = connection.next_look(now);
            let next = until.map_or(next, |until| until.min(next));
            // A timer is set anew only where it would be late: most of what happens puts its end off.
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Whether the HTTP library hung up on the client, and why.
fn hung_up(error: &hyper::Error) -> Option<HangUp> {
    if error.is_timeout() {
        return Some(HangUp::NotAnswering);
    }
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    let flood = error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    flood.then_some(HangUp::Flood)
}

fn builder(spawner: Spawner, limits: &Limits) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(spawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(limits.header_bytes.try_into().unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(TAKEN_BACK)
        .max_local_error_reset_streams(BROKEN)
        .keep_alive_interval(ARE_YOU_THERE.min(limits.idle_timeout))
        .keep_alive_timeout(ARE_YOU_THERE.min(limits.idle_timeout))
        .enable_connect_protocol();
    builder
}

/// The service hyper calls: the way in for each request of one connection.
struct Doorway {
    worker: Rc<Worker>,
    streams: Rc<Streams>,
}

impl hyper::service::Service<Request<Incoming>> for Doorway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

    fn call(&self, mut message: Request<Incoming>) -> Self::Future {
        let worker = self.worker.clone();
        let tunnel = match *message.method() {
            Method::CONNECT => message.extensions_mut().remove::<OnUpgrade>(),
            _ => None,
        };
        let lane = Lane::Http2(self.streams.open(tunnel));
        let seen = Seen::Stream { ended: message.body().is_end_stream() };
        let (parts, body) = message.into_parts();
        let course = super::arrive(&worker, &lane, seen, parts, Inflow::Http2(body));
        Box::pin(async move {
            let mut response = super::handle(&worker, &lane, course).await;
            // Of HTTP/1: here a refused request ends its own stream and nothing else.
            response.headers_mut().remove(header::CONNECTION);
            Ok(response)
        })
    }
}
