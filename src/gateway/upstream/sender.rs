//! One connection to an app as a request uses it, whatever is spoken on it.

use std::error::Error;
use std::io;
use std::rc::Rc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};

use super::Target;
use super::answers::Asked;
use super::observed::Notes;
use super::place::Peer;
use super::pool::FAIR;
use super::shape;
use super::shared::Share;
use crate::gateway::upload::Upload;

/// Where a request can be sent.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(Alone),
    Http2(Share),
}

/// An HTTP/1.1 connection, which carries one request at a time.
#[derive(Debug)]
pub(crate) struct Alone {
    sender: http1::SendRequest<Upload>,
    notes: Rc<Notes>,
    pub(super) peer: Option<Peer>,
    /// Requests sent.
    served: u32,
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The message, if none of it was written.
    pub unsent: Option<Box<Request<Upload>>>,
    pub fate: Fate,
}

/// What became of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The connection ended before a byte of the answer came.
    Closed,
    /// The connection was ended for what other requests did.
    Calmed,
    /// The app has said that it did not look at it, and takes nothing more on the connection.
    Leaving,
    /// The app has said that it did not look at it.
    Refused,
    /// The app broke it off.
    BrokenOff,
    /// What came is no valid answer.
    Garbled,
}

impl Sender {
    /// Whether many requests share the connection.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Sends a request and waits for the head of the answer. The message is on its way before this returns: a future
    /// that kept it would be several times as large.
    pub(crate) fn send(
        &mut self,
        mut message: Request<Upload>,
        target: &Target,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> {
        let sent = match self {
            Self::Http1(alone) => {
                shape::to_http1(&mut message);
                let asked = if message.method() == Method::HEAD { Asked::Head } else { Asked::Other };
                Sent::Alone(alone.send(message, asked))
            }
            Self::Http2(share) => {
                shape::to_http2(&mut message, target);
                Sent::Shared(share.sender.try_send_request(message), share)
            }
        };
        async move {
            match sent {
                Sent::Alone(sent) => sent.await,
                Sent::Shared(sent, share) => match sent.await {
                    Ok(response) => {
                        share.answered();
                        Ok(response)
                    }
                    Err(failed) => {
                        share.end();
                        let mut failure = Failure::of(failed);
                        if failure.fate == Fate::Refused {
                            share.refused();
                        }
                        if failure.fate == Fate::Leaving || share.sender.is_closed() {
                            share.retire();
                        }
                        if failure.fate == Fate::Closed && share.is_calmed() {
                            failure.fate = Fate::Calmed;
                        }
                        Err(failure)
                    }
                },
            }
        }
    }
}

/// A request on its way.
enum Sent<'a, A, S> {
    Alone(A),
    Shared(S, &'a mut Share),
}

impl Failure {
    fn of(mut failed: TrySendError<Request<Upload>>) -> Self {
        Self { fate: fate(failed.error()), unsent: failed.take_message().map(Box::new) }
    }
}

impl Alone {
    pub(super) const fn new(
        sender: http1::SendRequest<Upload>,
        notes: Rc<Notes>,
        peer: Option<Peer>,
    ) -> Self {
        Self { sender, notes, peer, served: 0 }
    }

    /// Asks for a WebSocket.
    pub(crate) fn send_upgrade(
        &mut self,
        message: Request<Upload>,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> {
        self.send(message, Asked::Upgrade)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && self.notes.is_fit()
    }

    /// Whether it can never be used again.
    pub(super) fn is_over(&self) -> bool {
        self.sender.is_closed() || !self.notes.is_fit()
    }

    /// Whether it has served so much that it is fair to give its place to another worker.
    pub(super) const fn has_served_well(&self) -> bool {
        self.served >= FAIR
    }

    fn send(
        &mut self,
        message: Request<Upload>,
        asked: Asked,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> {
        self.served = self.served.saturating_add(1);
        self.notes.ask(asked);
        let sent = self.sender.try_send_request(message);
        let notes = &self.notes;
        async move {
            sent.await.map_err(|failed| {
                let failure = Failure::of(failed);
                if notes.is_flawed() { Failure { fate: Fate::Garbled, ..failure } } else { failure }
            })
        }
    }
}

fn fate(error: &hyper::Error) -> Fate {
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) {
        return match () {
            // A stream that the app never looked at (RFC 9113, sections 6.8 and 8.7).
            () if error.is_remote() && error.is_go_away() => Fate::Leaving,
            () if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => Fate::Refused,
            () if error.is_io() => Fate::Closed,
            // Also from the library itself, for the small frames that others sent over it.
            () if error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => Fate::Calmed,
            () if error.is_library() => Fate::Garbled,
            () => Fate::BrokenOff,
        };
    }
    let broken = source.is_some_and(|source| source.is::<io::Error>());
    if error.is_parse() {
        Fate::Garbled
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || broken {
        Fate::Closed
    } else {
        Fate::BrokenOff
    }
}
