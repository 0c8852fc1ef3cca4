//! The driver of one HTTP/1 connection: hyper serves the bytes, this owns time, endings and drain.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::{Sleep, sleep_until};

use super::clock;
use super::connection::{Connection, Overdue, Phase};
use super::farewell::{LINGER_TIME, close, linger};
use super::guard::{Guard, Watcher};
use super::head::{HeadLimits, Offence};
use super::http::read;
use super::lane::{Lane, Seen};
use super::messages::Messages;
use super::record::{Ended, Record};
use super::response::Body;
use super::socket::Socket;
use super::upgrade;
use super::worker::Worker;
use crate::board::client::HangUp;
use crate::config::Limits;
use crate::model::Refusal;

const BUFFER: usize = 64 * 1024;

/// A client's socket, and what was read of it and is still to be served.
struct Arrived {
    socket: Socket,
    ahead: Bytes,
}

/// Why the driver stopped driving.
enum End {
    /// hyper is done with the connection.
    Served(hyper::Result<()>),
    /// What was begun must not look complete.
    Cut,
    Overdue(Overdue),
    /// A head longer than may be waited for.
    Overlong(Offence),
}

/// Serves one connection to its end.
pub(super) async fn drive(
    worker: Rc<Worker>,
    socket: Socket,
    ahead: Bytes,
    connection: Rc<Connection>,
    limits: &Limits,
) {
    let head = HeadLimits { bytes: limits.header_bytes, fields: limits.headers };
    let messages = Rc::new(Messages::new(connection.clone(), head));
    let mut timer = pin!(sleep_until(connection.next_look(clock::now())));
    let mut arrived = Arrived { socket, ahead };
    let (end, left) = loop {
        // Boxed: a connection at rest would pay for the space.
        let (end, left) = Box::pin(serve(&worker, &messages, limits, arrived, timer.as_mut())).await;
        match end {
            Some(end) => break (end, left),
            None => match rest(left.socket, &connection, timer.as_mut()).await {
                Ok(awake) => arrived = awake,
                Err(ended) => break ended,
            },
        }
    };
    // Boxed for the same reason.
    Box::pin(part(&worker, &messages, end, left)).await;
}

/// Takes leave of a connection as its end asks for.
async fn part(worker: &Rc<Worker>, messages: &Messages, end: End, left: Arrived) {
    let Arrived { mut socket, ahead } = left;
    let connection = &messages.connection;
    let handover = messages.handover.take();
    match end {
        End::Overdue(Overdue::Head) => worker.clients().hang_up(HangUp::LateHead),
        End::Overdue(Overdue::Reading) => worker.clients().hang_up(HangUp::NotReading),
        End::Overdue(Overdue::Idle) | End::Served(_) | End::Cut | End::Overlong(_) => {}
    }
    match (end, handover) {
        (End::Served(Ok(())), Some(handover)) => {
            upgrade::tunnel(socket, ahead, handover, connection).await;
        }
        (End::Served(Ok(())), None) => {
            if messages.has_unread() {
                linger(socket).await
            } else {
                close(socket).await
            }
        }
        (End::Served(Err(error)), _) if error.is_parse() => {
            // hyper has answered already; the request never became one.
            let refusal = match messages.first_offence() {
                Some(Offence::TargetTooLong) => Refusal::UriTooLong,
                _ if error.is_parse_too_large() => Refusal::HeadersTooLarge,
                _ => Refusal::InvalidRequest,
            };
            note(worker, connection, refusal);
            linger(socket).await;
        }
        (End::Served(Err(_)) | End::Cut | End::Overdue(Overdue::Reading), _) => socket.reset(),
        (End::Overlong(offence), _) => {
            let refusal = match offence {
                Offence::TargetTooLong => Refusal::UriTooLong,
                _ => Refusal::HeadersTooLarge,
            };
            answer(&mut socket, &note(worker, connection, refusal)).await;
            linger(socket).await;
        }
        (End::Overdue(Overdue::Head), _) if messages.within_head() => {
            answer(&mut socket, &note(worker, connection, Refusal::RequestTimeout)).await;
            close(socket).await;
        }
        (End::Overdue(Overdue::Head | Overdue::Idle), _) => close(socket).await,
    }
}

/// Serves requests until the connection ends, or (`None`) rests.
async fn serve(
    worker: &Rc<Worker>,
    messages: &Rc<Messages>,
    limits: &Limits,
    arrived: Arrived,
    mut timer: Pin<&mut Sleep>,
) -> (Option<End>, Arrived) {
    let connection = &messages.connection;
    let guard = Guard::new(arrived.socket, arrived.ahead, Watcher::Http1(messages.clone()));
    let service = Doorway { worker: worker.clone(), messages: messages.clone() };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(buffer(limits));
    if limits.headers > 100 {
        builder.max_headers(limits.headers);
    }
    let mut served = builder.serve_connection(TokioIo::new(guard), service);
    let end = poll_fn(|cx| {
        if connection.poll_cut(cx).is_ready() {
            return Poll::Ready(Some(End::Cut));
        }
        if let Poll::Ready(result) = served.poll_without_shutdown(cx) {
            return Poll::Ready(Some(End::Served(result)));
        }
        if let Some(offence) = messages.refused_head() {
            return Poll::Ready(Some(End::Overlong(offence)));
        }
        if connection.is_told_to_rest() && messages.are_at_rest() {
            return Poll::Ready(None);
        }
        worker.watch(connection);
        connection.poll_overdue(timer.as_mut(), cx).map(|overdue| Some(End::Overdue(overdue)))
    })
    .await;
    let parts = served.into_parts();
    let socket = parts.io.into_inner().into_socket();
    match end {
        // Not what was read: without a byte in it, it would still keep its buffer.
        None if parts.read_buf.is_empty() => (None, Arrived { socket, ahead: Bytes::new() }),
        // What hyper read cannot be given to it again: the guard has followed it already.
        None => (Some(End::Served(Ok(()))), Arrived { socket, ahead: parts.read_buf }),
        Some(end) => (Some(end), Arrived { socket, ahead: parts.read_buf }),
    }
}

/// Waits for the next request of a connection for which hyper holds no buffers meanwhile.
async fn rest(
    mut socket: Socket,
    connection: &Connection,
    mut timer: Pin<&mut Sleep>,
) -> Result<Arrived, (End, Arrived)> {
    let mut ahead = Vec::new();
    let end = poll_fn(|cx| {
        if connection.poll_cut(cx).is_ready() {
            return Poll::Ready(Some(End::Cut));
        }
        match read(&mut socket, &mut ahead, cx) {
            Poll::Ready(Ok(1..)) => Poll::Ready(None),
            Poll::Ready(Ok(0)) => Poll::Ready(Some(End::Served(Ok(())))),
            Poll::Ready(Err(_)) => Poll::Ready(Some(End::Cut)),
            Poll::Pending => {
                connection.poll_overdue(timer.as_mut(), cx).map(|overdue| Some(End::Overdue(overdue)))
            }
        }
    })
    .await;
    let arrived = Arrived { socket, ahead: ahead.into() };
    match end {
        None => Ok(arrived),
        Some(end) => Err((end, arrived)),
    }
}

/// What hyper may buffer of a client's bytes, and of those on their way to it: never less than a head may be long.
pub(super) fn buffer(limits: &Limits) -> usize {
    BUFFER.max(limits.header_bytes)
}

/// Writes the access-log line of a head that never became a request; returns its identifier.
fn note(worker: &Rc<Worker>, connection: &Connection, refusal: Refusal) -> Bare {
    worker.clients().refused_heads.add_alone(1);
    let request_id = worker.gateway.request_id();
    let mut record = Record::new(worker, request_id.clone(), connection.client.ip().to_canonical());
    if let Phase::Head(since) = connection.phase() {
        record.started = since;
    }
    record.refusal = Some(refusal);
    record.status = refusal.status().as_u16();
    record.ended = Ended::Complete;
    Bare { status: refusal.status(), request_id }
}

/// An answer to something that is no request: a status and nothing more.
struct Bare {
    status: StatusCode,
    request_id: HeaderValue,
}

async fn answer(socket: &mut Socket, bare: &Bare) {
    let head = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: 0\r\nx-request-id: {}\r\n\r\n",
        bare.status,
        bare.request_id.to_str().unwrap_or_default()
    );
    let _ = tokio::time::timeout(LINGER_TIME, socket.write_all(head.as_bytes())).await;
}

/// The service hyper calls: the way in for each request of one connection.
struct Doorway {
    worker: Rc<Worker>,
    messages: Rc<Messages>,
}

impl hyper::service::Service<Request<Incoming>> for Doorway {
    type Response = Response<Body>;
    type Error = Infallible;
    // Boxed per request: every idle connection would pay for the space otherwise.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

    fn call(&self, message: Request<Incoming>) -> Self::Future {
        let (worker, messages) = (self.worker.clone(), self.messages.clone());
        let (ordinal, raw) = messages.next_head();
        let lane = Lane::Http1 { messages: messages.clone(), ordinal };
        let course = super::arrive(&worker, &lane, Seen::Head(raw), message);
        Box::pin(async move {
            let mut response = super::handle(&worker, &lane, course).await;
            if messages.connection.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            messages.answered();
            Ok(response)
        })
    }
}
