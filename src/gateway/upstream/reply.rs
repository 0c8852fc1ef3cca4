//! An app's HTTP/1 answer behind its head: the body, frame by frame, and what is still to be sent of the request
//! meanwhile.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::answer::Flaw;
use super::departure::Departure;
use super::link::Link;
use super::sender::Fate;
use super::stream::Stream;
use crate::gateway::content::{Content, Ends};
use crate::gateway::response::Broken;
use crate::gateway::upload::Upload;

/// A body on its way, and the connection that it comes over.
#[derive(Debug)]
pub(crate) struct Reply {
    /// `None`: the connection was given back.
    link: Option<Box<Link>>,
    content: Content,
    /// The app takes another request on the connection.
    keeps: bool,
    /// `None`: all of the request was sent.
    pump: Option<Pump>,
}

/// The rest of a request on its way while the answer comes, whether the client takes that or not.
#[derive(Debug)]
pub(super) struct Pump(JoinHandle<Result<(), Fate>>);

impl Reply {
    pub(super) fn new(mut link: Box<Link>, ends: Ends, keeps: bool, pump: Option<Pump>) -> Self {
        let content = Content::new(ends);
        if let Some(left) = content.left() {
            link.make_room(left);
        }
        Self { link: Some(link), content, keeps, pump }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(pump) = &mut self.pump
            && let Poll::Ready(pumped) = Pin::new(&mut pump.0).poll(cx)
        {
            self.pump = None;
            if !matches!(pumped, Ok(Ok(()))) {
                return self.fail(cx);
            }
        }
        let Some(link) = &mut self.link else {
            return Poll::Ready((!self.content.has_ended()).then_some(Err(Broken)));
        };
        loop {
            match self.content.take(&mut link.input) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.content.has_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(offence) => {
                    tracing::debug!("an app's answer was refused: {}", Flaw::from(offence));
                    return self.fail(cx);
                }
            }
            match ready!(link.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) if self.content.end() => return Poll::Ready(None),
                Ok(0) | Err(_) => return self.fail(cx),
            }
        }
    }

    /// The answer ends here, and does so at the next call: the head, and what came behind it, are sent to the client
    /// before.
    fn fail<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        (self.link, self.pump) = (None, None);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) const fn is_end_stream(&self) -> bool {
        self.content.has_ended()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.content.left().map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    /// Gives the connection back, if it can carry another request.
    pub(super) fn release(&mut self) -> Option<Box<Link>> {
        if !self.keeps || self.pump.is_some() || !self.content.has_ended() {
            return None;
        }
        self.link.take()?.rest()
    }

    /// The connection, for the protocol that was switched to, and what the app sent ahead of it.
    pub(crate) fn into_tunnel(self) -> Option<(Stream, Bytes)> {
        self.link?.into_stream()
    }
}

impl Pump {
    pub(super) fn start(stream: Rc<RefCell<Stream>>, mut departure: Departure, mut upload: Upload) -> Self {
        Self(tokio::task::spawn_local(async move {
            poll_fn(|cx| departure.poll(&mut stream.borrow_mut(), &mut upload, cx)).await
        }))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}
