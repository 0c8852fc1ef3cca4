//! Where the body of an app's answer comes from, whatever is spoken there.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::reply::Reply;
use super::sender::Sender;
use super::shared::Share;
use crate::gateway::response::Broken;

/// A body on its way, and its part in the connection that it comes over.
#[derive(Debug)]
pub(crate) enum Source {
    Http1(Reply),
    /// Its part in the connection is given back once the answer was read to its end.
    Http2(Incoming, Option<Share>),
}

impl Source {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Http1(reply) => reply.poll_frame(cx),
            Self::Http2(body, _) => Pin::new(body).poll_frame(cx).map_err(|_| Broken),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.is_end_stream(),
            Self::Http2(body, _) => body.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(reply) => reply.size_hint(),
            Self::Http2(body, _) => body.size_hint(),
        }
    }

    /// The answer was read to its end, and the request may have been sent `whole`: what of the connection is to be kept.
    pub(crate) fn release(&mut self, whole: bool) -> Option<Sender> {
        match self {
            Self::Http1(reply) => reply.release().map(Sender::Http1),
            Self::Http2(_, share) => {
                if let Some(share) = share.take()
                    && whole
                {
                    share.end();
                }
                None
            }
        }
    }
}
