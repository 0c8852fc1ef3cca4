//! The body of a request on its way to the app, passed on as it comes.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};

use super::head::Offence;
use super::headers;
use super::inject::Injected;
use super::inlet::Inflow;
use super::reject::Reject;
use super::slots::Slot;
use crate::model::Refusal;

/// A client's body under the limits of its request.
#[derive(Debug)]
pub(crate) struct Upload {
    /// `None`: the request has none.
    body: Option<Inflow>,
    slot: Rc<Slot>,
    /// 0: no limit.
    limit: u64,
    response_header: Duration,
    /// No token may follow the body either.
    token_header: HeaderName,
    /// Nor what the app gets from us alone.
    injected: Option<Arc<Injected>>,
}

/// The upload stopped before its end; the slot knows why.
#[derive(Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(crate) struct Stopped(
    /// What HTTP/2 says of it to the app.
    #[source]
    h2::Error,
);

impl Upload {
    pub(super) fn new(
        body: Inflow,
        slot: &Rc<Slot>,
        limit: u64,
        response_header: Duration,
        token_header: &HeaderName,
        injected: Option<Arc<Injected>>,
    ) -> Self {
        let body = Some(body).filter(|body| !is_whole(body));
        if body.is_none() {
            slot.uploaded(response_header);
        }
        Self {
            body,
            slot: slot.clone(),
            limit,
            response_header,
            token_header: token_header.clone(),
            injected,
        }
    }

    /// Whether the request has no body, or all of it was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    /// The upload, for whoever sends it from here on.
    pub(super) fn take(&mut self) -> Self {
        let body = self.body.take();
        Self {
            body,
            slot: self.slot.clone(),
            token_header: self.token_header.clone(),
            injected: self.injected.clone(),
            ..*self
        }
    }

    fn stop(&mut self, reject: Reject) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        self.slot.fault.set(Some(reject));
        self.cut()
    }

    /// Nobody is to have what is left.
    pub(super) fn leave(&mut self) {
        if let Some(body) = self.body.take() {
            body.leave();
        }
    }

    fn cut(&mut self) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        self.leave();
        Poll::Ready(Some(Err(Stopped(h2::Reason::CANCEL.into()))))
    }

    fn end(&mut self) {
        self.body = None;
        self.slot.uploaded(self.response_header);
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        if self.body.is_some() && self.slot.is_over() && !self.slot.lane.has_arrived() {
            return self.cut();
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        self.slot.body_awaited(frame.is_pending());
        if frame.is_pending() {
            self.slot.lane.watch_body(cx.waker());
        }
        let frame = ready!(frame);
        match frame {
            None => {
                self.end();
                Poll::Ready(None)
            }
            Some(Err(_)) if self.slot.lane.is_bad_body() => {
                self.stop(Reject::malformed(Offence::Chunk.detail()))
            }
            Some(Err(_)) => self.stop(Reject::malformed("the request's body did not arrive whole")),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.slot.received(data.len());
                    if self.limit > 0 && self.slot.received.get() > self.limit {
                        return self.stop(too_large());
                    }
                    if self.body.as_ref().is_some_and(is_whole) {
                        self.end();
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Err(frame) => {
                    // Nothing follows trailers, and nobody asks whether anything does.
                    self.end();
                    let trailers = frame.into_trailers().ok();
                    let (header, injected) = (&self.token_header, self.injected.as_deref());
                    let kept = trailers.map(|trailers| headers::trailers(trailers, header, injected));
                    Poll::Ready(kept.map(|kept| Ok(Frame::trailers(kept))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(is_whole)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.slot.body_awaited(false);
    }
}

/// Whether nothing of a body is still to come. HTTP/2 may end a stream later than the body whose length it gave.
fn is_whole(body: &Inflow) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// A body over the configured limit, announced or counted.
pub(super) const fn too_large() -> Reject {
    Reject {
        close: true,
        ..Reject::new(Refusal::BodyTooLarge, "the request's body is larger than this gateway accepts")
    }
}
