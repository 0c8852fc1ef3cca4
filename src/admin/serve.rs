//! The admin side's connections: bounded in number, in size and in time, whoever is at the other end.

use std::convert::Infallible;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::OperatorSocket;
use super::call::State;
use super::host::Hosts;
use super::metrics::{Metrics, Sources};
use super::problem::{Problem, RequestId};
use super::pulse::Pulse;
use super::reload::ReloadDoor;
use super::routes::router;
use super::seats::{Seats, Taken};
use crate::control::Control;
use crate::tls::Terminator;

/// Open connections on each listener, so that strangers on the one do not keep the operator off the other.
const CONNECTIONS: usize = 256;
const BODY_BYTES: usize = 64 << 10;
/// Heads, and what is buffered of an answer that nobody reads.
const BUFFER_BYTES: usize = 64 << 10;
const HEAD_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// After this a connection takes no further request, and after the second it is dropped, unless more of a long answer
/// was taken meanwhile.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
const FAREWELL_TIME: Duration = Duration::from_secs(60);
/// What a client may still send after its last answer before it is hung up on.
const LINGER_BYTES: u64 = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How long answers under way may take once all is to stop.
const STOP_TIME: Duration = Duration::from_secs(5);
/// The wait after an accept that failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Socket,
    Tcp(SocketAddr),
}

impl Origin {
    /// Whether it came from this machine.
    pub(super) fn is_near(self) -> bool {
        match self {
            Self::Socket => true,
            Self::Tcp(peer) => peer.ip().to_canonical().is_loopback(),
        }
    }
}

/// Whether a request came over TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted(pub(super) bool);

/// What holds for the connections that one TCP address takes from now on.
#[derive(Debug)]
pub struct Front {
    hosts: Hosts,
    /// `None`: plain HTTP.
    terminator: Option<Arc<Terminator>>,
}

impl Front {
    #[must_use]
    pub fn new(address: SocketAddr, hosts: &[String], terminator: Option<Arc<Terminator>>) -> Self {
        Self { hosts: Hosts::new(address, hosts), terminator }
    }

    #[must_use]
    pub fn terminator(&self) -> Option<&Arc<Terminator>> {
        self.terminator.as_ref()
    }
}

/// The admin API, wherever it is served. Clones share it.
#[derive(Clone, Debug)]
pub struct Site {
    router: Router,
}

impl Site {
    #[must_use]
    pub fn new(control: Control, sources: Sources, reloads: ReloadDoor) -> Self {
        let board = sources.board.clone();
        let metrics =
            Arc::new(Metrics::new(sources, control.expiring(), control.needs(), control.leak_counts()));
        let dashboard = Arc::default();
        Self { router: router(&State { control, board, metrics, reloads, dashboard }) }
    }

    /// Serves holders of management keys until `stop` is true or its sender is gone; then lets answers under way
    /// finish, for a bounded time.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        front: Arc<ArcSwap<Front>>,
        stop: watch::Receiver<bool>,
    ) {
        let seats = Arc::new(Seats::new(CONNECTIONS));
        listen(self, Street { listener, front, seats }, stop).await;
    }

    /// Serves the operator, in the same way. The socket leaves with it.
    pub async fn serve_operator(self, socket: OperatorSocket, stop: watch::Receiver<bool>) {
        let (listener, file) = socket.into_parts();
        listen(self, listener, stop).await;
        if let Some(Err(e)) = file.as_ref().map(fs::remove_file) {
            tracing::warn!(error = %e, "the admin socket could not be removed");
        }
    }
}

/// Reads a request's body, within bounds.
pub(super) async fn body(body: Body) -> Result<Bytes, Problem> {
    let reading = Limited::new(body, BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("a body may have at most {BODY_BYTES} bytes"),
        )),
        Ok(Err(_)) => Err(Problem::invalid_request("the body could not be read")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} seconds", BODY_TIME.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail))
        }
    }
}

/// How a connection came in, and what it may name us.
#[derive(Clone)]
struct Arrival {
    origin: Origin,
    /// `None` on the socket, which no browser and no stranger reaches.
    front: Option<Arc<Front>>,
    place: Option<Arc<Taken>>,
}

impl Site {
    async fn answer(&self, arrival: &Arrival, mut request: Request<Incoming>) -> Response {
        let id = RequestId(format!("{:032x}", fastrand::u128(..)));
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(arrival.origin);
        let encrypted = arrival.front.as_ref().is_some_and(|front| front.terminator.is_some());
        request.extensions_mut().insert(Encrypted(encrypted));
        if let Some(place) = &arrival.place {
            place.moved(true);
            request.extensions_mut().insert(place.seat().clone());
        }
        let admitted = match &arrival.front {
            None => Ok(()),
            Some(front) => front.hosts.admit(request.uri(), request.headers()),
        };
        let mut response = match admitted {
            Ok(()) => self.route(request, &id).await,
            Err(problem) => problem.render(&id),
        };
        let headers = response.headers_mut();
        // What may be kept says so.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(id.0) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(place) = &arrival.place {
            place.moved(false);
            let refused = response.status().is_client_error() && !place.seat().is_known();
            // Who was refused for want of a key does not hold the place for another try.
            if refused || response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, id: &RequestId) -> Response {
        let answering = self.router.clone().oneshot(request.map(Body::new));
        match tokio::time::timeout(ANSWER_TIME, answering).await {
            Ok(Ok(response)) => response,
            Err(_) => {
                let detail =
                    "no answer in time: a change may have been made all the same; look before trying again";
                Problem::unavailable(detail).render(id)
            }
        }
    }
}

/// A listener of either kind.
trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Arrival)>> + Send;
}

/// A TCP address.
struct Street {
    listener: TcpListener,
    front: Arc<ArcSwap<Front>>,
    seats: Arc<Seats>,
}

impl Door for Street {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Arrival)> {
        let (stream, peer) = self.listener.accept().await?;
        let place = Some(Arc::new(self.seats.take(peer.ip())));
        Ok((stream, Arrival { origin: Origin::Tcp(peer), front: Some(self.front.load_full()), place }))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Arrival)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, Arrival { origin: Origin::Socket, front: None, place: None }))
    }
}

/// Accepts on one listener and serves what it accepts.
async fn listen<D: Door>(site: Site, door: D, stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stopping = stop.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = async {
                let permit = permits.clone().acquire_owned().await;
                (door.accept().await, permit)
            } => accepted,
        };
        match accepted {
            (Ok((stream, arrival)), Ok(permit)) => {
                let place = arrival.place.clone();
                let connection = begin(site.clone(), stream, arrival, stop.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = wanted(place) => tracing::debug!("a connection to the admin side made room"),
                    }
                    drop(permit);
                });
            }
            (Err(e), _) => {
                tracing::warn!(error = %e, "the admin side could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Ok(_), Err(_)) => break,
        }
    }
    // What is not done by then is dropped with the set.
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIME, finished).await.is_err() {
        tracing::warn!("answers of the admin side were cut off at the stop");
    }
}

/// Waits until somebody else needs the place more.
async fn wanted(place: Option<Arc<Taken>>) {
    match place {
        Some(place) => place.wanted().await,
        None => std::future::pending().await,
    }
}

/// Shakes hands where the connection is an encrypted one, then serves it.
async fn begin<S>(site: Site, stream: S, arrival: Arrival, stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let terminator = arrival.front.as_ref().and_then(|front| front.terminator.as_ref());
    let Some(config) = terminator.map(|terminator| terminator.config().clone()) else {
        return connection(site, stream, arrival, stop).await;
    };
    let shaking = Box::pin(TlsAcceptor::from(config).accept(stream));
    match tokio::time::timeout(HEAD_TIME, shaking).await {
        Ok(Ok(stream)) => connection(site, stream, arrival, stop).await,
        Ok(Err(e)) => tracing::debug!(error = %e, "a handshake with the admin side failed"),
        Err(_) => tracing::debug!("a handshake with the admin side took too long"),
    }
}

async fn connection<S>(site: Site, stream: S, arrival: Arrival, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Pulse::new(arrival.place.clone());
    let taken = pulse.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (site, arrival) = (site.clone(), arrival.clone());
        request.extensions_mut().insert(taken.clone());
        Box::pin(async move { Ok::<_, Infallible>(site.answer(&arrival, request).await) })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(BUFFER_BYTES);
    let mut serving = http.serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| serving.poll_without_shutdown(cx)) => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
        () = tokio::time::sleep(CONNECTION_TIME) => None,
        // Nothing else comes after a long answer.
        () = pulse.begun() => None,
    };
    let ended = match ended {
        Some(Ok(())) => return linger(serving.into_parts().io.into_inner()).await,
        Some(Err(e)) => Err(e),
        None => {
            let mut serving = std::pin::pin!(serving);
            serving.as_mut().graceful_shutdown();
            match pulse.outlast(FAREWELL_TIME, serving).await {
                Some(ended) => ended,
                None => return,
            }
        }
    };
    if let Err(e) = ended {
        // A client that goes away or talks nonsense is its own affair.
        tracing::debug!(error = %e, "a connection to the admin side ended early");
    }
}

/// Closes without losing the answer: bytes that arrive at a closed socket would make the kernel take it back.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let discard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER_TIME, discard).await;
}
