//! Answers: the app's, passed on as they come, and our own documents.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::time::timeout;

use super::echo::Redactor;
use super::farewell::LINGER_TIME;
use super::headers;
use super::lane::Lane;
use super::line::{Line, key};
use super::page;
use super::record::{Ended, Record};
use super::reject::{Challenge, Reject};
use super::signin::Redirect;
use super::slots::{Occupied, Slot, SlotLimits};
use super::spare;
use super::upstream::Chosen;
use super::upstream::source::Source;
use super::worker::Worker;

/// Fields of an answer of ours that there is room for at once.
const USUAL: usize = 6;

/// The body of any answer.
#[derive(Debug)]
pub(super) enum Body {
    Document(Document),
    Download(Box<Download>),
    /// Of an upgrade: the bytes go another way.
    None,
}

/// A body that we wrote.
#[derive(Debug)]
pub(super) struct Document {
    bytes: Option<Bytes>,
    /// Written when the driver lets go of the body.
    record: Box<Record>,
    /// Over HTTP/2, where the client may leave it for ever on a connection that is otherwise in order.
    held: Option<Occupied>,
}

/// The app's body on its way to the client.
#[derive(Debug)]
pub(super) struct Download {
    body: Source,
    record: Box<Record>,
    occupied: Occupied,
    lease: Option<Lease>,
    redactor: Option<Box<Redaction>>,
}

/// An answer in which secrets are looked for.
#[derive(Debug)]
struct Redaction {
    redactor: Box<Redactor>,
    /// What is to follow what was held back.
    trailers: Option<Frame<Bytes>>,
    over: bool,
}

/// Where the connection that an answer comes over is kept once the answer was read to its end.
#[derive(Debug)]
pub(super) struct Lease {
    pub worker: Rc<Worker>,
    pub chosen: Chosen,
}

/// The body ended before its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the app's answer ended early")]
pub(crate) struct Broken;

impl Body {
    /// The body of an answer that the app has begun.
    pub(super) fn download(
        body: Source,
        record: Box<Record>,
        occupied: Occupied,
        lease: Lease,
        redactor: Option<Box<Redactor>>,
    ) -> Self {
        let redactor = redactor.map(|redactor| Box::new(Redaction { redactor, trailers: None, over: false }));
        let mut download = Download { body, record, occupied, lease: Some(lease), redactor };
        if download.body.is_end_stream() {
            download.complete();
        }
        Self::Download(Box::new(download))
    }
}

impl Body {
    /// All of it that there was to send was sent, and the request is over. An app may say later that this was all, and is not
    /// to be told that nobody wanted it.
    pub(super) fn has_reached_the_client(self) {
        let Self::Download(download) = self else { return };
        let Download { mut body, mut record, occupied, lease, .. } = *download;
        let slot = occupied.slot().clone();
        // Whatever the app has said or may yet say of it.
        record.ended = Ended::Complete;
        drop((record, occupied));
        let Some(lease) = lease else { return };
        let end = async move {
            let is_nothing = |frame: &Frame<Bytes>| frame.data_ref().is_none_or(Bytes::is_empty);
            loop {
                match poll_fn(|cx| body.poll_frame(cx)).await {
                    Some(Ok(frame)) if is_nothing(&frame) => {}
                    None => return lease.give_back(&mut body, &slot),
                    Some(_) => return,
                }
            }
        };
        tokio::task::spawn_local(timeout(LINGER_TIME, end));
    }

    /// What is left of it is being written, and nobody asks for more: only the driver may find the client too slow.
    pub(super) fn is_being_taken(&self) {
        if let Self::Download(download) = self {
            download.occupied.slot().given();
        }
    }

    /// Not all of it was written.
    pub(super) fn was_cut(&mut self) {
        let record = match self {
            Self::Document(document) => &mut document.record,
            Self::Download(download) => &mut download.record,
            Self::None => return,
        };
        if record.ended == Ended::Complete {
            (record.ended, record.document_bytes) = (Ended::ClientGone, 0);
        }
    }
}

impl Document {
    fn new(lane: &Lane, document: Vec<u8>, record: Box<Record>) -> Self {
        // HTTP/2 would send what answers a HEAD as it is. Of nothing, nobody takes any.
        let empty = record.method == http::Method::HEAD || document.is_empty();
        let bytes = (!empty).then(|| Bytes::from(document));
        let held = bytes.as_ref().filter(|_| matches!(lane, Lane::Http2(_))).map(|_| {
            let (worker, idle) = (record.worker(), lane.connection().idle_timeout());
            let held = worker.slots.enter(None, SlotLimits { idle, client: idle }, lane);
            held.slot().begin();
            held.slot().answer_held(true);
            worker.stir();
            held
        });
        Self { bytes, record, held }
    }

    fn take(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.take()?;
        self.record.document_bytes = bytes.len() as u64;
        Some(bytes)
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        // The library asks for a body before the client has room for it, and holds it until then.
        let cut = self.held.as_ref().is_some_and(|held| held.slot().ending().is_some());
        if cut || self.bytes.is_some() {
            self.record.ended = Ended::ClientGone;
            self.record.document_bytes = 0;
        }
    }
}

impl Download {
    fn complete(&mut self) {
        self.record.ended = Ended::Complete;
        if let Some(lease) = self.lease.take() {
            lease.give_back(&mut self.body, self.occupied.slot());
        }
    }

    /// The next part of the answer, searched where it is to be.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(ended) = self.redactor.as_mut().and_then(|redaction| redaction.next_after_end()) {
                return Poll::Ready(ended.map(Ok));
            }
            let frame = ready!(self.poll_next(cx));
            let Some(redaction) = &mut self.redactor else { return Poll::Ready(frame) };
            let (out, found) = match frame {
                Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => redaction.redactor.push(data),
                    Err(trailers) => redaction.end(Some(trailers)),
                },
                None => redaction.end(None),
            };
            self.record.redacted(found);
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out))));
            }
        }
    }

    /// The next part as the app sent it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let slot = self.occupied.slot();
        slot.answer_held(false);
        let frame = ready!(self.body.poll_frame(cx));
        let frame = match frame {
            None => {
                self.complete();
                return Poll::Ready(None);
            }
            Some(Err(broken)) => {
                // Where the request broke off, its answer does too.
                let by_client = slot.fault.get().is_some();
                self.record.ended = if by_client { Ended::ClientGone } else { Ended::UpstreamGone };
                return Poll::Ready(Some(Err(broken)));
            }
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                slot.sent(data.len());
                slot.handed_on();
                if self.body.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                // Nothing follows trailers, and a driver may not ask whether anything does.
                self.complete();
                let settings = self.record.worker().gateway.settings.load();
                let passed = |trailers| {
                    let mut trailers = headers::trailers(trailers, &settings.ways.header, None);
                    self.record.guard(&mut trailers);
                    Frame::trailers(trailers)
                };
                Poll::Ready(frame.into_trailers().ok().map(|trailers| Ok(passed(trailers))))
            }
        }
    }
}

impl Lease {
    /// The answer was read to its end.
    fn give_back(self, body: &mut Source, slot: &Slot) {
        if let Some(sender) = body.release(!slot.uploading.get()) {
            self.worker.pool.put(self.chosen.target(), sender);
        }
    }
}

impl Redaction {
    /// Nothing but trailers follows; returns what was held back, and how many secrets were replaced in it.
    fn end(&mut self, trailers: Option<Frame<Bytes>>) -> (Bytes, u64) {
        self.over = true;
        self.trailers = trailers;
        self.redactor.finish()
    }

    /// After the end: the trailers, once, and then nothing.
    fn next_after_end(&mut self) -> Option<Option<Frame<Bytes>>> {
        self.over.then(|| self.trailers.take())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Document(document) => Poll::Ready(document.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Download(download) => download.poll_frame(cx),
            Self::None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Document(document) => document.bytes.is_none(),
            Self::Download(download) => match &download.redactor {
                Some(redaction) => redaction.over && redaction.trailers.is_none(),
                None => download.body.is_end_stream(),
            },
            Self::None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Document(document) => {
                SizeHint::with_exact(document.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Download(download) if download.redactor.is_some() => SizeHint::default(),
            Self::Download(download) => download.body.size_hint(),
            Self::None => SizeHint::with_exact(0),
        }
    }
}

/// Turns a refusal into an answer. The only place where that happens.
pub(super) fn refuse(lane: &Lane, reject: Reject, mut record: Box<Record>) -> Response<Body> {
    let status = reject.refusal.status();
    record.refusal = Some(reject.refusal);
    record.token = reject.token.or(record.token);
    record.deny();
    let challenge = challenge(&reject, &record);
    let mut response = match page::refusal(&reject, &record) {
        Some(html) => page(lane, status, html, record),
        None => {
            let document = problem(&reject, record.request_id.to_str().unwrap_or_default());
            document_response(lane, status, "application/problem+json", document, record)
        }
    };
    let headers = response.headers_mut();
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if reject.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    if let Some(seconds) = reject.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A page for a person.
pub(super) fn page(lane: &Lane, status: StatusCode, html: String, record: Box<Record>) -> Response<Body> {
    let mut response = document_response(lane, status, "text/html; charset=utf-8", html.into(), record);
    page::protect(response.headers_mut());
    response
}

/// Sends a browser that is signed in on its way, without telling there where it came from.
pub(super) fn redirect(lane: &Lane, redirect: Redirect, record: Box<Record>) -> Response<Body> {
    let Redirect { landing, cookie } = redirect;
    let location = HeaderValue::from_str(landing.as_str()).unwrap_or_else(|_| HeaderValue::from_static("/"));
    let status = StatusCode::SEE_OTHER;
    let mut response = document_response(lane, status, "text/plain; charset=utf-8", Vec::new(), record);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::SET_COOKIE, cookie);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Whether the gateway serves, for load balancers and monitors.
pub(super) fn health(lane: &Lane, draining: bool, record: Box<Record>) -> Response<Body> {
    let (status, word) = match draining {
        false => (StatusCode::OK, "serving\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    };
    document_response(lane, status, "text/plain; charset=utf-8", word.into(), record)
}

/// An answer to a program that reported something.
pub(super) fn report(lane: &Lane, document: Vec<u8>, record: Box<Record>) -> Response<Body> {
    document_response(lane, StatusCode::OK, "application/json", document, record)
}

/// A problem document, as RFC 9457 shapes it.
pub(super) fn problem(reject: &Reject, request_id: &str) -> Vec<u8> {
    let status = reject.refusal.status();
    let mut document = Vec::with_capacity(512);
    let mut line = Line::begin(&mut document);
    line.word(key!("type"), "about:blank");
    line.word(key!("title"), status.canonical_reason().unwrap_or_default());
    line.number(key!("status"), status.as_u16().into());
    line.word(key!("code"), reject.refusal.as_str());
    line.text(key!("detail"), reject.detail);
    line.text(key!("request_id"), request_id);
    line.end();
    document
}

fn document_response(
    lane: &Lane,
    status: StatusCode,
    kind: &'static str,
    document: Vec<u8>,
    mut record: Box<Record>,
) -> Response<Body> {
    record.status = status.as_u16();
    record.ended = Ended::Complete;
    // To a client of HTTP/1 the outlet tells what it sends; only of what a HEAD would have got it knows nothing.
    let is_told = matches!(lane, Lane::Http2(_)) || record.method == http::Method::HEAD;
    let length = is_told.then(|| HeaderValue::from(document.len()));
    let request_id = record.request_id.clone();
    let mut response = Response::new(Body::Document(Document::new(lane, document, record)));
    *response.status_mut() = status;
    *response.headers_mut() = spare::take(USUAL);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(headers::REQUEST_ID, request_id);
    response
}

/// `WWW-Authenticate`, as RFC 6750 has it; the realm is the app.
fn challenge(reject: &Reject, record: &Record) -> Option<HeaderValue> {
    let realm = record.route().map_or("portcullis", |route| route.app.as_str());
    let value = match reject.challenge {
        Challenge::None => return None,
        Challenge::Bare => ["Bearer realm=\"", realm, "\""].concat(),
        Challenge::Error(error) => {
            let detail = "\", error_description=\"";
            ["Bearer realm=\"", realm, "\", error=\"", error, detail, reject.detail, "\""].concat()
        }
    };
    HeaderValue::try_from(value).ok()
}
