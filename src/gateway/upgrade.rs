//! WebSockets: the one upgrade that passes, and only once the app has agreed to it. Reference: RFC 6455, section 4.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{
    HeaderMap, HeaderValue, Method, Request as Message, Response, StatusCode, Version, header, response,
};
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::authorize::Permit;
use super::clock;
use super::connection::Connection;
use super::forward::{Answer, UNAVAILABLE, pass_on, unanswered, unconnected, unless_ended};
use super::head::BodyLength;
use super::headers;
use super::record::{Ended, Record};
use super::reject::Reject;
use super::request::Request;
use super::response::{Body, Lease};
use super::route::Route;
use super::slots::{Occupied, Slot};
use super::socket::Socket;
use super::upload::Upload;
use super::upstream::pool::Driven;
use super::upstream::stream::Stream;
use super::upstream::{Chosen, pool};
use crate::model::Refusal;

/// An agreed upgrade on its way from the exchange to the driver, which owns the client's socket.
#[derive(Debug)]
pub(super) struct Handover {
    upstream: Stream,
    /// What the app sent right behind its agreement.
    early: Bytes,
    record: Box<Record>,
    occupied: Occupied,
    _chosen: Chosen,
}

/// Whether a request asks for a WebSocket in the one way that is passed on.
pub(super) fn is_websocket(request: &Request) -> bool {
    request.method == Method::GET
        && request.version == Version::HTTP_11
        && request.body == BodyLength::None
        && asks_for_websocket(&request.headers)
}

/// The same of a head on its way to the app, where only what is passed on is left.
pub(super) fn wants(head: &Parts) -> bool {
    head.headers.contains_key(header::UPGRADE)
}

fn asks_for_websocket(fields: &HeaderMap) -> bool {
    let mut protocols = fields.get_all(header::UPGRADE).iter();
    let one = protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    one && protocols.next().is_none()
        && fields.get_all(header::CONNECTION).iter().any(|value| headers::lists(value, "upgrade"))
}

/// Asks the app to upgrade, over a connection of its own.
pub(super) async fn open(
    permit: Permit,
    head: Parts,
    upload: Upload,
    occupied: Occupied,
    mut record: Box<Record>,
) -> Result<Response<Body>, (Reject, Box<Record>)> {
    const REFUSED: Reject =
        Reject::new(Refusal::UpstreamInvalid, "the app's answer to the upgrade is not valid");
    let route = permit.route().clone();
    let slot = occupied.slot().clone();
    let mut message = Message::from_parts(head, upload);
    let answer = unless_ended(&slot, async {
        let (chosen, mut sender, driven) = connect(&route, &mut record).await?;
        headers::set_host(message.headers_mut(), route.host_header, chosen.target());
        let response = sender.send_request(message).await.map_err(|error| unanswered(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let lease = Lease { worker: record.worker().clone(), chosen, sender };
            return Ok(Outcome::Declined(Answer { response, lease }));
        }
        let parts = driven.await.ok().and_then(Result::ok).ok_or(REFUSED)?;
        let (upstream, early) = (parts.io.into_inner(), parts.read_buf);
        Ok(Outcome::Agreed { head: response.into_parts().0, upstream, early, chosen })
    })
    .await;
    record.upstream_answered();
    let (mut parts, upstream, early, chosen) = match answer {
        Ok(Outcome::Agreed { head, upstream, early, chosen }) => (head, upstream, early, chosen),
        Ok(Outcome::Declined(answer)) => return pass_on(answer, &permit, occupied, record),
        Err(reject) => return Err((reject, record)),
    };
    let agreed = asks_for_websocket(&parts.headers);
    headers::to_client(&mut parts.headers, &permit, &record.request_id);
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    record.status = parts.status.as_u16();
    if !agreed {
        return Err((REFUSED, record));
    }
    slot.begin();
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    parts.headers.remove(header::CONTENT_LENGTH);
    let connection = occupied.connection().clone();
    let handover = Handover { upstream, early, record, occupied, _chosen: chosen };
    connection.handover.replace(Some(handover));
    Ok(Response::from_parts(parts, Body::None))
}

/// How the app took the request to upgrade.
enum Outcome {
    Agreed {
        head: response::Parts,
        upstream: Stream,
        early: Bytes,
        chosen: Chosen,
    },
    /// With an answer like any other.
    Declined(Answer),
}

/// Connects to the first upstream that lets us; nothing is sent before, so every one of them may be tried.
async fn connect(
    route: &Route,
    record: &mut Record,
) -> Result<(Chosen, SendRequest<Upload>, Driven), Reject> {
    let mut tried = Vec::new();
    let mut failure = UNAVAILABLE;
    while let Some(chosen) = route.choose(&tried) {
        record.upstream = Some(chosen.target().clone());
        record.upstream_began = Some(clock::now());
        match pool::connect_to_upgrade(chosen.target(), route.timeouts.connect).await {
            Ok((sender, driven)) => return Ok((chosen, sender, driven)),
            Err(error) => failure = unconnected(&error),
        }
        tried.push(chosen);
    }
    Err(failure)
}

/// Relays bytes both ways until either side ends or the connection is cut. `early` is what the client sent ahead.
pub(super) async fn tunnel(client: Socket, early: Bytes, handover: Handover, connection: &Connection) {
    let Handover { upstream, early: from_app, mut record, occupied, _chosen } = handover;
    let slot = occupied.slot().clone();
    let mut client = Counted { stream: client, slot: slot.clone(), count: Slot::received };
    let mut upstream = Counted { stream: upstream, slot: slot.clone(), count: Slot::sent };
    let relay = async {
        slot.sent(from_app.len());
        slot.received(early.len());
        client.write_all(&from_app).await?;
        upstream.write_all(&early).await?;
        let (mut from_client, mut to_client) = tokio::io::split(&mut client);
        let (mut from_upstream, mut to_upstream) = tokio::io::split(&mut upstream);
        // A WebSocket is over when either side closes: there is no half of one.
        tokio::select! {
            ended = tokio::io::copy(&mut from_client, &mut to_upstream) => ended,
            ended = tokio::io::copy(&mut from_upstream, &mut to_client) => ended,
        }
    };
    record.ended = Ended::Upgraded;
    let cut = tokio::select! {
        biased;
        () = poll_fn(|cx| connection.poll_cut(cx)) => true,
        _ = relay => false,
    };
    if cut {
        client.stream.reset();
        upstream.stream.reset();
        record.ended = Ended::ClientGone;
    }
}

/// A socket whose incoming bytes are counted as the request's.
struct Counted<S> {
    stream: S,
    slot: Rc<Slot>,
    count: fn(&Slot, usize),
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        (self.count)(&self.slot, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
