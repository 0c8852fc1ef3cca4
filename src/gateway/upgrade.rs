//! WebSockets: the one upgrade that passes, and only once the app has agreed to it. What HTTP/2 calls an extended
//! CONNECT reaches the app as the upgrade that it stands for. References: RFC 6455, section 4; RFC 8441.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::Passage;
use super::clock;
use super::connection::Connection;
use super::farewell::{LINGER_TIME, linger};
use super::forward::{Answer, UNAVAILABLE, note_retry, pass_on, unanswered, unconnected, unless_ended};
use super::head::BodyLength;
use super::headers;
use super::lane::Lane;
use super::record::{Ended, Record};
use super::reject::Reject;
use super::request::Request;
use super::response::{Body, Lease};
use super::route::Route;
use super::slots::{Occupied, Slot};
use super::socket::Socket;
use super::upstream::Chosen;
use super::upstream::answer::Asked;
use super::upstream::link::Link;
use super::upstream::source::Source;
use super::upstream::stream::Stream;
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
    let by_upgrade = request.method == Method::GET
        && request.version == Version::HTTP_11
        && request.body == BodyLength::None
        && asks_for_websocket(&request.headers);
    request.tunnel || by_upgrade
}

/// A key for the app to prove with that it has read the request.
pub(super) fn key() -> HeaderValue {
    let key = BASE64_STANDARD.encode(fastrand::u128(..).to_be_bytes());
    HeaderValue::try_from(key).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn asks_for_websocket(fields: &HeaderMap) -> bool {
    let mut protocols = fields.get_all(header::UPGRADE).iter();
    let one = protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    one && protocols.next().is_none()
        && fields.get_all(header::CONNECTION).iter().any(|value| headers::lists(value, "upgrade"))
}

/// Asks the app to upgrade, over a connection of its own.
pub(super) async fn open(
    passage: Passage,
    occupied: Occupied,
    mut record: Box<Record>,
) -> Result<Response<Body>, (Reject, Box<Record>)> {
    const REFUSED: Reject =
        Reject::new(Refusal::UpstreamInvalid, "the app's answer to the upgrade is not valid");
    let Passage { mut crossing, mut upload } = passage;
    let slot = occupied.slot().clone();
    let proof = crossing.websocket_key().map(proof);
    let exchange = async {
        let (chosen, link) = connect(crossing.permit().route(), &mut record).await?;
        crossing.renew(&mut record)?;
        let response = link
            .send(&crossing, &mut upload, chosen.target(), Asked::Upgrade)
            .await
            .map_err(|fate| unanswered(&slot, crossing.permit().route(), &chosen, fate))?;
        chosen.target().answered();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let lease = Lease { worker: record.worker().clone(), chosen };
            return Ok(Outcome::Declined(Answer { response: response.map(Source::Http1), lease }));
        }
        let (head, reply) = response.into_parts();
        let (upstream, early) = reply.into_tunnel().ok_or(REFUSED)?;
        Ok(Outcome::Agreed { head, upstream, early, chosen })
    };
    let answer = unless_ended(&slot, pin!(exchange)).await;
    record.upstream_answered();
    let (mut parts, upstream, early, chosen) = match answer {
        Ok(Outcome::Agreed { head, upstream, early, chosen }) => (head, upstream, early, chosen),
        // Of an extended CONNECT success says that the tunnel is open.
        Ok(Outcome::Declined(answer)) if is_stream(&slot) && answer.response.status().is_success() => {
            return Err((REFUSED, record));
        }
        Ok(Outcome::Declined(answer)) => return pass_on(answer, crossing.permit(), occupied, record),
        Err(reject) => return Err((reject, record)),
    };
    let agreed = asks_for_websocket(&parts.headers) && is_proven(&parts.headers, proof.as_deref());
    headers::strip_hops(&mut parts.headers);
    headers::to_client(&mut parts.headers, crossing.permit(), &record);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    if !agreed {
        return Err((REFUSED, record));
    }
    let lane = slot.lane.clone();
    match lane {
        Lane::Http1 { inlet, .. } => {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            record.status = parts.status.as_u16();
            slot.begin();
            let handover = Handover { upstream, early, record, occupied, _chosen: chosen };
            inlet.handover.replace(Some(handover));
        }
        Lane::Http2(stream) => {
            let Some(client) = stream.open_tunnel() else { return Err((REFUSED, record)) };
            parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            parts.status = StatusCode::OK;
            record.status = parts.status.as_u16();
            slot.begin();
            let handover = Handover { upstream, early, record, occupied, _chosen: chosen };
            tokio::task::spawn_local(tunnel_stream(client, handover));
        }
    }
    Ok(Response::from_parts(parts, Body::None))
}

fn is_stream(slot: &Slot) -> bool {
    matches!(slot.lane, Lane::Http2(_))
}

/// What a server makes of a key (RFC 6455, section 4.2.2).
fn proof(key: &HeaderValue) -> String {
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    BASE64_STANDARD.encode(digest)
}

/// Whether the app read the key, if there was one.
fn is_proven(fields: &HeaderMap, proof: Option<&str>) -> bool {
    let mut given = fields.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
    proof.is_none_or(|proof| {
        given.next().is_some_and(|given| given.as_bytes() == proof.as_bytes()) && given.next().is_none()
    })
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
async fn connect(route: &Route, record: &mut Record) -> Result<(Chosen, Box<Link>), Reject> {
    let mut tried = Vec::new();
    let mut failure = UNAVAILABLE;
    while let Some(chosen) = route.choose(&tried) {
        note_retry(tried.last());
        record.upstream = Some(chosen.target().clone());
        record.upstream_began = Some(clock::now());
        let opening = record.worker().pool.open_to_upgrade(chosen.target(), route.timeouts.connect);
        match Box::pin(opening).await {
            Ok(link) => return Ok((chosen, link)),
            Err(error) => failure = unconnected(route, &chosen, &error),
        }
        tried.push(chosen);
    }
    Err(failure)
}

/// Relays bytes both ways until it is over or the connection is cut. `early` is what the client sent ahead.
pub(super) async fn tunnel(client: Socket, early: Bytes, handover: Handover, connection: &Connection) {
    match relay(client, early, handover, poll_fn(|cx| connection.poll_cut(cx))).await {
        Ok(client) => linger(client).await,
        Err(client) => client.reset(),
    }
}

/// The same over a stream, which is cut by whoever drops its task.
async fn tunnel_stream(client: OnUpgrade, handover: Handover) {
    // The answer may fail to go out; the record tells then that the client has gone.
    let Ok(client) = client.await else { return };
    let slot = handover.occupied.slot().clone();
    let ended = poll_fn(|cx| slot.poll_ended(cx).map(drop));
    if let Ok(mut client) = relay(TokioIo::new(client), Bytes::new(), handover, ended).await {
        let _ = timeout(LINGER_TIME, client.shutdown()).await;
    }
}

/// Relays until either side ends and all that the app said is out. Gives the client back, as an error if it was cut.
async fn relay<C: AsyncRead + AsyncWrite + Unpin>(
    client: C,
    early: Bytes,
    handover: Handover,
    cut: impl Future<Output = ()>,
) -> Result<C, C> {
    let Handover { upstream, early: from_app, mut record, occupied, _chosen } = handover;
    let slot = occupied.slot().clone();
    // Of the two only the client has a limit of its own on how long it takes nothing.
    let mut client =
        Counted { stream: client, slot: slot.clone(), count: Slot::received, held: Slot::answer_held };
    let mut upstream = Counted { stream: upstream, slot: slot.clone(), count: Slot::sent, held: |_, _| {} };
    let relay = async {
        slot.sent(from_app.len());
        slot.received(early.len());
        client.write_all(&from_app).await?;
        upstream.write_all(&early).await?;
        // The copies below flush only what they write themselves.
        client.flush().await?;
        upstream.flush().await?;
        let (mut from_client, mut to_client) = tokio::io::split(&mut client);
        let (mut from_upstream, mut to_upstream) = tokio::io::split(&mut upstream);
        let mut down = pin!(tokio::io::copy(&mut from_upstream, &mut to_client));
        // A WebSocket is over when either side closes: there is no half of one.
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_upstream) => {}
            ended = &mut down => return ended,
        }
        // The client has ended, or the app takes no more: what the app said, or says to that, is still to be passed on.
        let last = async {
            let _ = to_upstream.shutdown().await;
            down.await
        };
        timeout(LINGER_TIME, last).await?
    };
    record.upgraded();
    let cut = tokio::select! {
        biased;
        () = cut => true,
        _ = relay => false,
    };
    if !cut {
        drop((record, occupied));
        let _ = timeout(LINGER_TIME, upstream.shutdown()).await;
        return Ok(client.stream);
    }
    upstream.stream.reset();
    record.ended = Ended::ClientGone;
    Err(client.stream)
}

/// A socket whose incoming bytes are counted as the request's, and on which it is noted when it takes no more.
struct Counted<S> {
    stream: S,
    slot: Rc<Slot>,
    count: fn(&Slot, usize),
    held: fn(&Slot, bool),
}

impl<S> Counted<S> {
    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        (self.held)(&self.slot, written.is_pending());
        written
    }
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
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
