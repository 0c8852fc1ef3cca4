//! One connection to an app as a request uses it, whatever is spoken on it.

use std::error::Error;
use std::io;

use http::{Method, Response};

use super::Target;
use super::answer::Asked;
use super::link::Link;
use super::shape;
use super::shared::Share;
use super::source::Source;
use crate::gateway::crossing::Crossing;
use crate::gateway::upload::Upload;

/// Where a request can be sent.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(Box<Link>),
    Http2(Share),
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// None of the request was written, and the upload is as it was.
    pub unsent: bool,
    pub fate: Fate,
}

/// What became of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The connection ended before the head of an answer had come.
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
    /// Whether a request would leave at once.
    pub(crate) fn leaves_at_once(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(share) => share.leaves_at_once(),
        }
    }

    /// Whether the app takes no requests on the connection for now.
    pub(crate) fn is_barren(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(share) => share.is_barren(),
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        self,
        crossing: &Crossing,
        upload: &mut Upload,
        target: &Target,
    ) -> Result<Response<Source>, Failure> {
        match self {
            Self::Http1(link) => {
                let asked = if crossing.method == Method::HEAD { Asked::Head } else { Asked::Other };
                let sent = link.send(crossing, upload, target, asked).await;
                sent.map(|answer| answer.map(Source::Http1)).map_err(|fate| Failure { unsent: false, fate })
            }
            // Boxed: requests over HTTP/1 would pay for the space otherwise.
            Self::Http2(share) => Box::pin(send_shared(share, crossing, upload, target)).await,
        }
    }
}

async fn send_shared(
    mut share: Share,
    crossing: &Crossing,
    upload: &mut Upload,
    target: &Target,
) -> Result<Response<Source>, Failure> {
    let message = shape::to_http2(crossing, share.goes(upload.take()), target);
    let mut failed = match share.sender.try_send_request(message).await {
        Ok(answer) => {
            share.answered();
            return Ok(answer.map(|body| Source::Http2(body, Some(share))));
        }
        Err(failed) => failed,
    };
    share.end();
    let unsent = failed.take_message().map(|message| *upload = message.into_body().upload).is_some();
    let mut fate = fate(failed.error());
    if fate == Fate::Refused {
        share.refused();
    }
    if fate == Fate::Leaving || share.sender.is_closed() {
        share.retire();
    }
    if fate == Fate::Closed && share.is_calmed() {
        fate = Fate::Calmed;
    }
    Err(Failure { unsent, fate })
}

/// Of a request on a shared connection.
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
