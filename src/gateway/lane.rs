//! The part of a client's connection that carries one request, whichever protocol it is.

use std::rc::Rc;
use std::task::Waker;

use super::connection::Connection;
use super::head::Head;
use super::inlet::Inlet;
use super::streams::Stream;

/// Where a request came in and its answer goes out.
#[derive(Clone, Debug)]
pub(super) enum Lane {
    /// The whole connection, until the next request has its turn.
    Http1 {
        inlet: Rc<Inlet>,
        ordinal: u64,
    },
    Http2(Rc<Stream>),
}

/// What the driver saw of a request beside its fields.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// HTTP/1: the head, as it was judged.
    Head(Head),
    /// HTTP/2: whether the stream ended with the head.
    Stream { ended: bool },
}

impl Lane {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::Http1 { inlet, .. } => &inlet.connection,
            Self::Http2(stream) => stream.connection(),
        }
    }

    /// Whether every byte of the request is known to have arrived.
    pub(super) fn has_arrived(&self) -> bool {
        match self {
            Self::Http1 { inlet, ordinal } => inlet.has_arrived(*ordinal),
            Self::Http2(_) => false,
        }
    }

    /// Whether the client is gone, where only the socket shows it. HTTP/2 reads on whatever comes of a request.
    pub(super) fn has_hung_up(&self, is_stuck: bool) -> bool {
        match self {
            Self::Http1 { inlet, ordinal } => inlet.has_hung_up(*ordinal, is_stuck),
            Self::Http2(_) => false,
        }
    }

    /// Whether the request's body broke the rules. HTTP/2 resets such a stream by itself.
    pub(super) fn is_bad_body(&self) -> bool {
        match self {
            Self::Http1 { inlet, ordinal } => inlet.is_bad_body(*ordinal),
            Self::Http2(_) => false,
        }
    }

    /// Has `waker` woken should the request's body turn out malformed or of no more use.
    pub(super) fn watch_body(&self, waker: &Waker) {
        match self {
            Self::Http1 { inlet, .. } => inlet.watch_body(waker),
            Self::Http2(stream) => stream.watch_body(waker),
        }
    }

    /// Has whoever waits for more of the request's body look again whether it is still wanted.
    pub(super) fn wake_body(&self) {
        match self {
            Self::Http1 { inlet, .. } => inlet.wake_body(),
            Self::Http2(stream) => stream.wake_body(),
        }
    }

    /// A piece of the request's body was taken.
    pub(super) fn received(&self, bytes: usize) {
        match self {
            Self::Http1 { .. } => {}
            Self::Http2(stream) => stream.received(bytes),
        }
    }

    /// A piece of the app's answer was handed over.
    pub(super) fn sent(&self, bytes: usize) {
        match self {
            Self::Http1 { .. } => {}
            Self::Http2(stream) => stream.sent(bytes),
        }
    }

    /// Ends the answer where it is, so that it does not look complete.
    pub(super) fn cut(&self) {
        match self {
            Self::Http1 { inlet, ordinal } => inlet.cut(*ordinal),
            Self::Http2(stream) => stream.cut(),
        }
    }
}
