//! The admin side's connections: bounded in number, in size and in time, whoever is at the other end.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::Listeners;
use super::call::State;
use super::host::Hosts;
use super::metrics::{Metrics, Sources};
use super::problem::{Problem, RequestId};
use super::routes::router;
use crate::control::Control;

/// Open connections on each listener, so that strangers on the one do not keep the operator off the other.
const CONNECTIONS: usize = 256;
const BODY_BYTES: usize = 64 << 10;
/// Heads, and what is buffered of an answer that nobody reads.
const BUFFER_BYTES: usize = 64 << 10;
const HEAD_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// After this a connection takes no further request, and after the second it is dropped.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
const FAREWELL_TIME: Duration = Duration::from_secs(60);
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

impl Listeners {
    /// Serves until `stop` is true or its sender is gone; then lets answers under way finish, for a bounded time.
    pub async fn run(self, control: Control, sources: Sources, stop: watch::Receiver<bool>) {
        let hosts = Arc::new(Hosts::new(self.tcp_address(), &self.hosts));
        let board = sources.board.clone();
        let state = State { control, board, metrics: Arc::new(Metrics::new(sources)), hosts };
        let site = Arc::new(Site { router: router(&state), state });
        let socket = self.socket().to_owned();
        let (tcp, unix) = (self.tcp, self.unix);
        tokio::join!(listen(site.clone(), tcp, stop.clone()), listen(site, unix, stop));
        if let Err(e) = fs::remove_file(&socket) {
            tracing::warn!(path = %socket.display(), error = %e, "the admin socket could not be removed");
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

struct Site {
    router: Router,
    state: State,
}

impl Site {
    async fn answer(&self, origin: Origin, mut request: Request<Incoming>) -> Response {
        let id = RequestId(format!("{:032x}", fastrand::u128(..)));
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(origin);
        let admitted = match origin {
            Origin::Socket => Ok(()),
            Origin::Tcp(_) => self.state.hosts.admit(request.uri(), request.headers()),
        };
        let mut response = match admitted {
            Ok(()) => self.route(request, &id).await,
            Err(problem) => problem.render(&id),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(id.0) {
            headers.insert(REQUEST_ID, id);
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

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Origin)>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Origin)> {
        Self::accept(self).await.map(|(stream, peer)| (stream, Origin::Tcp(peer)))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Origin)> {
        Self::accept(self).await.map(|(stream, _)| (stream, Origin::Socket))
    }
}

/// Accepts on one listener and serves what it accepts.
async fn listen<D: Door>(site: Arc<Site>, door: D, stop: watch::Receiver<bool>) {
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
            (Ok((stream, origin)), Ok(permit)) => {
                let connection = connection(site.clone(), stream, origin, stop.clone());
                connections.spawn(async move {
                    connection.await;
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

async fn connection<S>(site: Arc<Site>, stream: S, origin: Origin, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(origin, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(BUFFER_BYTES);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
        () = tokio::time::sleep(CONNECTION_TIME) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(FAREWELL_TIME, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(e) = ended {
        // A client that goes away or talks nonsense is its own affair.
        tracing::debug!(error = %e, "a connection to the admin side ended early");
    }
}
