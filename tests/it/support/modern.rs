//! An app that speaks HTTP/2, or HTTP/1.1 where that was agreed on: hyper's server, told by a test what to answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// A running app.
pub(crate) struct Modern {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

struct State {
    seen: Mutex<Vec<Seen>>,
    opened: AtomicUsize,
    /// Answers that were dropped before their end.
    broken_off: AtomicUsize,
    /// Tells connections to take no more requests.
    farewell: watch::Sender<usize>,
    script: Box<dyn Fn(&Seen) -> Script + Send + Sync>,
    settings: Settings,
}

/// What the app is like.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// `None`: HTTP/2 without TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Requests at once on one connection.
    pub(crate) streams: Option<u32>,
}

/// A request as it reached the app.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) uri: http::Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// What to answer.
pub(crate) struct Script {
    response: Response<()>,
    frames: VecDeque<Frame<Bytes>>,
    endless: bool,
    after: Option<Arc<tokio::sync::Semaphore>>,
}

impl Script {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let response = Response::builder().status(status).body(()).unwrap();
        let body = body.into();
        // Without a byte there is no frame either: clients count those that are empty.
        let frames = Some(body).filter(|body| !body.is_empty()).into_iter().map(Frame::data).collect();
        Self { response, frames, endless: false, after: None }
    }

    pub(crate) fn field(mut self, name: &'static str, value: &'static str) -> Self {
        self.response.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.parse().unwrap());
        self.frames.push_back(Frame::trailers(trailers));
        self
    }

    /// Never comes to an end.
    pub(crate) fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// Answers only once there is a permit, which is then used up.
    pub(crate) fn after(mut self, gate: &Arc<tokio::sync::Semaphore>) -> Self {
        self.after = Some(gate.clone());
        self
    }
}

impl Modern {
    /// An app that answers with the body that it was sent.
    pub(crate) fn echo(settings: Settings) -> Self {
        Self::start(settings, |seen| Script::new(200, seen.body.clone()))
    }

    pub(crate) fn start(
        settings: Settings,
        script: impl Fn(&Seen) -> Script + Send + Sync + 'static,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            seen: Mutex::default(),
            opened: AtomicUsize::new(0),
            broken_off: AtomicUsize::new(0),
            farewell: watch::Sender::new(0),
            script: Box::new(script),
            settings,
        });
        let serving = state.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                state.opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let Some(tls) = &state.settings.tls else { return serve(stream, true, state).await };
                    let Ok(stream) = TlsAcceptor::from(tls.clone()).accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(stream, http2, state).await;
                });
            }
        });
        Self { address, state, _runtime: runtime }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The one request that came.
    #[track_caller]
    pub(crate) fn only(&self) -> Seen {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// How many answers nobody wanted to hear to their end.
    pub(crate) fn broken_off(&self) -> usize {
        self.state.broken_off.load(Ordering::SeqCst)
    }

    /// Says goodbye on every connection that is open now.
    pub(crate) fn say_goodbye(&self) {
        self.state.farewell.send_modify(|number| *number += 1);
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool, state: Arc<State>) {
    let mut farewell = state.farewell.subscribe();
    let streams = state.settings.streams;
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(request, &state).await) }
    });
    let io = TokioIo::new(stream);
    if !http2 {
        let _ = http1::Builder::new().serve_connection(io, service).await;
        return;
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    if let Some(streams) = streams {
        builder.max_concurrent_streams(streams);
    }
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = farewell.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, state: &Arc<State>) -> Response<Body> {
    let (head, body) = request.into_parts();
    // One that breaks off is an answer to nobody.
    let (body, trailers) = match body.collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned();
            (body.to_bytes(), trailers)
        }
        Err(_) => (Bytes::new(), None),
    };
    let seen = Seen { version: head.version, uri: head.uri, headers: head.headers, body, trailers };
    let script = (state.script)(&seen);
    state.seen.lock().unwrap().push(seen);
    let waiting = Watched(Some(state.clone()));
    if let Some(gate) = &script.after {
        gate.acquire().await.unwrap().forget();
    }
    let Script { response, frames, endless, .. } = script;
    let mut body = Body { frames, endless, watched: waiting };
    body.look();
    response.map(|()| body)
}

struct Body {
    frames: VecDeque<Frame<Bytes>>,
    endless: bool,
    watched: Watched,
}

/// Counts as broken off unless it was let go before.
struct Watched(Option<Arc<State>>);

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.broken_off.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Body {
    /// Nothing is broken off any more once there is nothing left.
    fn look(&mut self) {
        if self.frames.is_empty() && !self.endless {
            self.watched.0 = None;
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(frame) => {
                self.look();
                Poll::Ready(Some(Ok(frame)))
            }
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
