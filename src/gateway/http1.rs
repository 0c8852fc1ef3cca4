//! The driver of one HTTP/1 connection: request by request, what is read, decided, answered, and when it is over.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::header;
use tokio::io::AsyncWriteExt;
use tokio::time::{Sleep, sleep_until, timeout};

use super::clock;
use super::connection::{Connection, Overdue, Phase};
use super::crossing::Fields as _;
use super::farewell::{LINGER_TIME, close, linger};
use super::framing::Begun;
use super::head::{HeadLimits, Judged, Offence};
use super::headers;
use super::inlet::{Inflow, Inlet};
use super::lane::{Lane, Seen};
use super::outlet::{Broken, Outlet};
use super::record::{Ended, Record};
use super::reject::Reject;
use super::request;
use super::response;
use super::socket::Socket;
use super::upgrade;
use super::worker::Worker;
use crate::board::client::HangUp;
use crate::config::Limits;
use crate::model::Refusal;

const LATE: Reject = Reject::new(Refusal::RequestTimeout, "the request's head did not arrive in time");

/// Why a connection serves no further request.
enum End {
    /// All that was to be said was said.
    Served,
    /// Another protocol is spoken from here on.
    Upgraded,
    /// What was begun must not look complete, or the client is gone.
    Cut,
    Overdue(Overdue),
    /// A head that is no request.
    Refused(Offence),
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
    let mut timer = pin!(sleep_until(connection.next_look(clock::now())));
    let inlet = Rc::new(Inlet::new(socket, &ahead, connection, head));
    // Or it would be held as long as the connection.
    drop(ahead);
    let mut text = Vec::new();
    let end = loop {
        let judged = match next(&worker, &inlet, &mut text, timer.as_mut()).await {
            Ok(judged) => judged,
            Err(end) => break end,
        };
        if let Err(end) = exchange(&worker, &inlet, judged, &mut text, timer.as_mut()).await {
            break end;
        }
    };
    // Boxed: a connection would pay for the space as long as it is open.
    Box::pin(part(&worker, &inlet, end)).await;
}

/// Waits for the next request. What the last one needed is given up where that takes a while.
async fn next(
    worker: &Worker,
    inlet: &Inlet,
    text: &mut Vec<u8>,
    mut timer: Pin<&mut Sleep>,
) -> Result<Box<Judged>, End> {
    let connection = &inlet.connection;
    poll_fn(|cx| {
        if connection.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(End::Cut));
        }
        match inlet.poll_head(cx) {
            Poll::Ready(Ok(Some(Begun::Head(judged)))) => return Poll::Ready(Ok(judged)),
            Poll::Ready(Ok(Some(Begun::Overlong(offence)))) => {
                return Poll::Ready(Err(End::Refused(offence)));
            }
            Poll::Ready(Ok(None)) if !inlet.is_within_head() => return Poll::Ready(Err(End::Served)),
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err(End::Cut)),
            Poll::Pending => {}
        }
        if connection.is_told_to_rest() && connection.is_at_rest() {
            inlet.rest();
            *text = Vec::new();
        }
        if text.capacity() > 0 || !inlet.is_bare() {
            worker.watch(connection);
        }
        connection.poll_overdue(timer.as_mut(), cx).map(|overdue| Err(End::Overdue(overdue)))
    })
    .await
}

/// One request and its answer; returns where another may follow.
async fn exchange(
    worker: &Rc<Worker>,
    inlet: &Rc<Inlet>,
    mut judged: Box<Judged>,
    text: &mut Vec<u8>,
    mut timer: Pin<&mut Sleep>,
) -> Result<(), End> {
    let (head, wishes) = (judged.head, judged.wishes);
    let Some(parts) = judged.parts.take() else {
        return Err(End::Refused(head.offence.unwrap_or(Offence::RequestLine)));
    };
    let connection = &inlet.connection;
    let ordinal = inlet.begin(wishes.expects_continue);
    drop(judged);
    let lane = Lane::Http1 { inlet: inlet.clone(), ordinal };
    let body = Inflow::Http1 { inlet: inlet.clone(), ordinal };
    let course = super::arrive(worker, &lane, Seen::Head(head), parts, body);
    // Boxed for the same reason.
    let mut answering = Box::pin(super::handle(worker, &lane, course));
    let mut outlet: Option<Outlet> = None;
    poll_fn(|cx| {
        if connection.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(End::Cut));
        }
        if outlet.is_none()
            && let Poll::Ready(response) = answering.as_mut().poll(cx)
        {
            inlet.answers();
            let (text, last) = (std::mem::take(text), connection.is_draining());
            let is_early = !inlet.has_arrived(ordinal);
            outlet = Some(Outlet::new(text, response, &wishes, last, is_early, &worker.date.text()));
        }
        // First what is owed to a client that waits before it sends its body.
        let written = match (inlet.poll_word(cx), &mut outlet) {
            (Poll::Ready(Ok(())), Some(outlet)) => outlet.poll(inlet, cx),
            (Poll::Ready(Err(_)), _) => Poll::Ready(Err(Broken)),
            (Poll::Ready(Ok(())) | Poll::Pending, _) => Poll::Pending,
        };
        match written {
            Poll::Ready(Ok(())) => {
                let another = outlet.take().is_some_and(|outlet| {
                    let closes = outlet.closes;
                    *text = outlet.into_text();
                    !closes
                });
                if inlet.handover.borrow().is_some() {
                    return Poll::Ready(Err(End::Upgraded));
                }
                let goes_on = inlet.finish(cx) && another;
                inlet.wait();
                return Poll::Ready(if goes_on { Ok(()) } else { Err(End::Served) });
            }
            Poll::Ready(Err(Broken)) => return Poll::Ready(Err(End::Cut)),
            Poll::Pending if inlet.poll_gone(cx).is_ready() => return Poll::Ready(Err(End::Cut)),
            Poll::Pending => {}
        }
        connection.poll_overdue(timer.as_mut(), cx).map(|overdue| Err(End::Overdue(overdue)))
    })
    .await
}

/// Takes leave of a connection as its end asks for.
async fn part(worker: &Rc<Worker>, inlet: &Inlet, end: End) {
    match end {
        End::Overdue(Overdue::Head) => worker.clients().hang_up(HangUp::LateHead),
        End::Overdue(Overdue::Reading) => worker.clients().hang_up(HangUp::NotReading),
        End::Overdue(Overdue::Idle) | End::Served | End::Upgraded | End::Cut | End::Refused(_) => {}
    }
    let (connection, handover) = (&inlet.connection, inlet.handover.take());
    let (is_late, has_unread) = (inlet.is_within_head(), inlet.has_unread());
    let Some((mut socket, ahead)) = inlet.take_socket() else { return };
    match (end, handover) {
        (End::Upgraded, Some(handover)) => upgrade::tunnel(socket, ahead, handover, connection).await,
        (End::Served, _) if has_unread => linger(socket).await,
        (End::Cut | End::Overdue(Overdue::Reading), _) => socket.reset(),
        (End::Refused(offence), _) => {
            refuse(worker, connection, &mut socket, request::refusal_of(offence)).await;
            linger(socket).await;
        }
        (End::Overdue(Overdue::Head), _) if is_late => {
            refuse(worker, connection, &mut socket, LATE).await;
            close(socket).await;
        }
        (End::Served | End::Upgraded | End::Overdue(Overdue::Head | Overdue::Idle), _) => close(socket).await,
    }
}

/// Answers to something that is no request, and writes its access-log line.
async fn refuse(worker: &Rc<Worker>, connection: &Connection, socket: &mut Socket, reject: Reject) {
    worker.clients().refused_heads.add_alone(1);
    let request_id = worker.gateway.request_id();
    let document = response::problem(&reject, request_id.to_str().unwrap_or_default());
    let mut record = Record::new(worker, request_id.clone(), connection.client.ip().to_canonical());
    if let Phase::Head(since) = connection.phase() {
        record.started = since;
    }
    let status = reject.refusal.status();
    (record.refusal, record.status, record.is_unread) = (Some(reject.refusal), status.as_u16(), true);
    (record.document_bytes, record.ended) = (document.len() as u64, Ended::Complete);
    record.deny();
    drop(record);

    let mut answer = format!("HTTP/1.1 {status}\r\n").into_bytes();
    answer.set(&header::CONTENT_TYPE, b"application/problem+json");
    answer.set(&header::CONTENT_LENGTH, document.len().to_string().as_bytes());
    answer.set(&header::CACHE_CONTROL, b"no-store");
    answer.copy(&headers::REQUEST_ID, &request_id);
    answer.set(&header::CONNECTION, b"close");
    answer.set(&header::DATE, &worker.date.text());
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(&document);
    let _ = timeout(LINGER_TIME, socket.write_all(&answer)).await;
}
