//! An HTTP/1.1 connection to an app, which carries one request at a time, in the request's own task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use tokio::io::AsyncReadExt;

use super::Target;
use super::answer::{Answer, Asked, Awaited};
use super::departure::Departure;
use super::place::Peer;
use super::pool::FAIR;
use super::reply::{Pump, Reply};
use super::sender::Fate;
use super::stream::Stream;
use crate::gateway::crossing::Crossing;
use crate::gateway::upload::Upload;

/// What is read at once of an answer whose body is not long.
const ROOM: usize = 8 * 1024;
/// The most that is read at once.
pub(super) const MOST: usize = 96 * 1024;
/// How much more is read at once where there was more than fitted.
const GROWTH: usize = 4;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Shared with whoever still sends a request while its answer comes.
    stream: Rc<RefCell<Stream>>,
    /// What was read and is not yet taken.
    pub(super) input: BytesMut,
    room: usize,
    /// What heads are written into.
    text: Vec<u8>,
    pub(super) peer: Option<Peer>,
    /// Requests sent.
    served: u32,
}

impl Link {
    pub(super) fn new(stream: Stream) -> Box<Self> {
        let peer = stream.peer();
        let stream = Rc::new(RefCell::new(stream));
        Box::new(Self { stream, input: BytesMut::new(), room: ROOM, text: Vec::new(), peer, served: 0 })
    }

    /// Sends a request and waits for the head of the answer. What is still to come of the upload then goes on beside it.
    pub(crate) async fn send(
        mut self: Box<Self>,
        crossing: &Crossing,
        upload: &mut Upload,
        target: &Target,
        asked: Asked,
    ) -> Result<Response<Reply>, Fate> {
        self.served = self.served.saturating_add(1);
        let mut departure = Departure::new(std::mem::take(&mut self.text), crossing, target, upload);
        let mut awaited = Awaited::new(asked);
        let Answer { status, headers, body, keeps } = poll_fn(|cx| {
            let departed = departure.poll(&mut self.stream.borrow_mut(), upload, cx);
            if let Poll::Ready(Err(fate)) = departed {
                return Poll::Ready(Err(fate));
            }
            self.poll_answer(&mut awaited, cx)
        })
        .await?;
        let pump = if departure.is_over() {
            self.text = departure.into_text();
            None
        } else {
            Some(Pump::start(self.stream.clone(), departure, upload.take()))
        };
        let mut response = Response::new(Reply::new(self, body, keeps, pump));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }

    fn poll_answer(&mut self, awaited: &mut Awaited, cx: &mut Context<'_>) -> Poll<Result<Answer, Fate>> {
        loop {
            match awaited.take(&mut self.input) {
                Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                Ok(None) => {}
                Err(flaw) => {
                    tracing::debug!("an app's answer was refused: {flaw}");
                    return Poll::Ready(Err(Fate::Garbled));
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Fate::Closed)),
            }
        }
    }

    /// Reads once; 0 at the connection's end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.room / 4 {
            self.input.reserve(self.room);
        }
        let spare = self.input.capacity() - self.input.len();
        let mut stream = self.stream.borrow_mut();
        let read = ready!(pin!(stream.read_buf(&mut self.input)).poll(cx))?;
        if read == spare {
            self.room = (self.room * GROWTH).min(MOST);
        }
        Poll::Ready(Ok(read))
    }

    /// So many bytes are known to be on their way.
    pub(super) fn make_room(&mut self, bytes: u64) {
        self.room = usize::try_from(bytes).unwrap_or(MOST).clamp(ROOM, MOST);
    }

    /// Whether nothing has come since the last answer, not even the end. As long as that is so it costs no system call.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.borrow_mut().is_quiet()
    }

    /// Makes it ready for another request, where that may be.
    pub(super) fn rest(mut self: Box<Self>) -> Option<Box<Self>> {
        if !self.input.is_empty() || self.stream.borrow().is_deaf() {
            return None;
        }
        // Many may be idle.
        if self.room > ROOM {
            self.input = BytesMut::new();
        }
        if self.text.capacity() > ROOM {
            self.text = Vec::new();
        }
        self.room = ROOM;
        Some(self)
    }

    /// Whether it has served so much that it is fair to give its place to another worker.
    pub(super) const fn has_served_well(&self) -> bool {
        self.served >= FAIR
    }

    /// The connection, for whatever else both sides have agreed on, and what was read ahead of it.
    pub(super) fn into_stream(self) -> Option<(Stream, Bytes)> {
        Some((Rc::into_inner(self.stream)?.into_inner(), self.input.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::coop;

    use super::super::stream::Socket;
    use super::*;

    #[tokio::test]
    async fn a_connection_that_has_ended_is_not_quiet_even_to_a_task_that_has_done_its_share() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let link = Link::new(Stream::new(Socket::Tcp(stream), None, None));
        let (app, _) = listener.accept().await.unwrap();
        assert!(link.is_quiet());
        drop(app);
        while link.is_quiet() {
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| {
            while let Poll::Ready(share) = coop::poll_proceed(cx) {
                share.made_progress();
            }
            assert!(!link.is_quiet());
            Poll::Ready(())
        })
        .await;
    }
}
