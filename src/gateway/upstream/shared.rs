//! HTTP/2 connections to apps: one carries many requests at once.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::dial::Unconnected;
use super::place::{Peer, Place};
use super::pool::FAIR;
use super::stream::Stream;
use crate::gateway::clock;
use crate::gateway::upload::{Stopped, Upload};

/// Requests on one connection at once, whatever more the app would take.
const STREAMS: usize = 100;
/// Requests broken off before it takes no more. Apps end a connection for too many of them, and every request on it
/// with it, so one client must not use up what they allow.
const BREAKS: usize = STREAMS / 2;
/// Bytes of one answer that the app may send before the client has taken them. With half of it an app that leaves
/// Nagle's algorithm on waits for a delayed acknowledgement each time that the window is used up, 40 ms of it.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Enough for all answers together, so that a few clients who do not read never hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// Bytes of one request that may wait here for the app.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of one request and its answer that may wait here together.
pub(in crate::gateway) const WAITING: usize = STREAM_WINDOW as usize + SEND_BUFFER;
/// Requests refused in a row before it takes no more.
const REFUSALS: u32 = 3;
const HEAD: u32 = 64 * 1024;
/// Stands for the app's own limit until the app has told it; none can be that large.
const UNTOLD: usize = usize::MAX - 1;
/// How often it is looked whether the app has.
const LOOK: Duration = Duration::from_millis(1);
/// How often an app is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);
/// How long it may take to tell an app that this is the end.
const PARTING: Duration = Duration::from_secs(1);

/// An open HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Sending>,
    driver: Rc<Driver>,
    tasks: Local,
    peer: Cell<Option<Peer>>,
    streams: Cell<usize>,
    /// Of these, the ones whose answer somebody waits for or reads.
    asking: Cell<usize>,
    /// Of all, the ones that were handed to the library.
    sent: Cell<usize>,
    /// Requests that were broken off.
    broken: Cell<usize>,
    /// Requests that the app has refused since it last answered one.
    refused: Cell<u32>,
    /// Requests that it carried.
    served: Cell<u32>,
    /// When it last had a request to carry.
    used: Cell<Instant>,
    /// It takes no further request.
    retired: Cell<bool>,
    /// It was ended for there being too much of something.
    calmed: Rc<Cell<bool>>,
    freed: Rc<Notify>,
}

/// One request's part in a connection, in the hands of whoever waits for the answer.
#[derive(Debug)]
pub(crate) struct Share {
    pub(super) sender: SendRequest<Sending>,
    part: Rc<Part>,
}

/// A place among a connection's streams, free again once both the answer and the body have let go of it.
#[derive(Debug)]
struct Part {
    connection: Rc<Shared>,
    sent: Cell<bool>,
    /// Nothing of it is left that dropping it would break off.
    ended: Cell<bool>,
}

/// A request's body on its way. An app may answer before it has taken all of it.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) upload: Upload,
    _part: Rc<Part>,
}

/// `None` once the connection has ended: its socket must not outlive it.
type Driver = RefCell<Option<Connection<TokioIo<Stream>, Sending, Local>>>;

impl Shared {
    /// Begins to speak HTTP/2 on a connection, and waits until the app does. `freed` is told whenever there is room for
    /// another request.
    pub(super) async fn open(stream: Stream, freed: Rc<Notify>) -> Result<Rc<Self>, Unconnected> {
        let peer = stream.peer();
        let tasks = Local::default();
        let (sender, connection) = Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .initial_max_send_streams(UNTOLD)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Unconnected::Unreachable(std::io::Error::other(error).into()))?;
        let driver = Rc::new(RefCell::new(Some(connection)));
        let calmed = Rc::new(Cell::new(false));
        let (driven, calming, over) = (driver.clone(), calmed.clone(), freed.clone());
        tokio::task::spawn_local(poll_fn(move |cx| {
            let ended = match driven.borrow_mut().as_mut() {
                Some(connection) => ready!(Pin::new(connection).poll(cx)),
                None => Ok(()),
            };
            // Whoever waits for an answer is told of a failure; nobody else needs to know.
            calming.set(ended.is_err_and(|error| is_calming(&error)));
            let connection = driven.take();
            drop(connection);
            over.notify_one();
            Poll::Ready(())
        }));
        let opened = Self {
            sender,
            driver,
            tasks,
            peer: Cell::new(peer),
            streams: Cell::new(0),
            asking: Cell::new(0),
            sent: Cell::new(0),
            broken: Cell::new(0),
            refused: Cell::new(0),
            served: Cell::new(0),
            used: Cell::new(clock::now()),
            retired: Cell::new(false),
            calmed,
            freed,
        };
        // A request sent before could be one too many, and what is at the other end might not speak HTTP/2 at all.
        while opened.allowed() == UNTOLD {
            sleep(LOOK).await;
        }
        if opened.sender.is_closed() { Err(Unconnected::NotHttp2) } else { Ok(Rc::new(opened)) }
    }

    /// Requests that the app takes at once.
    pub(super) fn allowed(&self) -> usize {
        self.driver.borrow().as_ref().map_or(0, Connection::current_max_send_streams)
    }

    /// Takes part, if there is room as far as is known.
    pub(super) fn share(self: &Rc<Self>) -> Option<Share> {
        let streams = self.streams.get();
        // All that are under way may be broken off as well.
        let has_room = streams < self.allowed() && streams + self.broken.get() < STREAMS;
        (self.is_open() && !self.is_worn() && has_room).then(|| self.crowd())
    }

    /// Takes part, whether there is room or not: the request waits for its turn then.
    pub(super) fn crowd(self: &Rc<Self>) -> Share {
        self.streams.set(self.streams.get() + 1);
        self.asking.set(self.asking.get() + 1);
        self.served.set(self.served.get().saturating_add(1));
        let part = Part { connection: self.clone(), sent: Cell::new(false), ended: Cell::new(false) };
        Share { sender: self.sender.clone(), part: Rc::new(part) }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// Whether so many requests on it were broken off that others should go elsewhere.
    pub(super) fn is_worn(&self) -> bool {
        self.broken.get() >= BREAKS
    }

    /// Whether it has served so much that it is fair to give its place to another worker.
    pub(super) fn has_served_well(&self) -> bool {
        self.served.get() >= FAIR
    }

    /// Whether a new connection could lead where this one does.
    pub(super) fn still_leads_to(&self, place: &Place) -> bool {
        let mut peer = self.peer.get();
        let leads = place.leads_to(&mut peer);
        self.peer.set(peer);
        leads
    }

    pub(super) fn is_open(&self) -> bool {
        !self.retired.get() && !self.sender.is_closed()
    }

    /// Takes no further request; ends with the last one that it carries.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.freed.notify_one();
    }

    /// Takes no further request, and ends: what it still carries are bodies that the app has answered and does not take. A
    /// part of one may be left in the library, where nothing shows it.
    pub(super) fn close(&self) {
        self.retire();
        let tasks = self.tasks.clone();
        tokio::task::spawn_local(async move {
            sleep(PARTING).await;
            tasks.abort();
        });
    }

    /// Whether it has had nothing to do for this long.
    pub(super) fn is_idle(&self, now: Instant, long: Duration) -> bool {
        self.asking.get() == 0 && now.saturating_duration_since(self.used.get()) >= long
    }
}

impl Share {
    /// Whether a request would leave at once. The library would keep one that would not, and with it the secrets that it was
    /// put together with.
    pub(super) fn leaves_at_once(&self) -> bool {
        let connection = &self.part.connection;
        connection.is_open() && connection.sent.get() < connection.allowed()
    }

    /// Whether the app takes no requests on it for now.
    pub(super) fn is_barren(&self) -> bool {
        self.part.connection.allowed() == 0
    }

    /// The request is handed to the library, with this as its body.
    pub(super) fn goes(&self, upload: Upload) -> Sending {
        let sent = &self.part.connection.sent;
        sent.set(sent.get() + 1);
        self.part.sent.set(true);
        Sending { upload, _part: self.part.clone() }
    }

    pub(super) fn answered(&self) {
        self.part.connection.refused.set(0);
    }

    /// The app did not look at the request. Often it was one too many at once, and the connection is as good as another.
    pub(super) fn refused(&self) {
        let refused = self.part.connection.refused.get() + 1;
        self.part.connection.refused.set(refused);
        if refused >= REFUSALS {
            self.retire();
        }
    }

    /// The request is over for both sides.
    pub(super) fn end(&self) {
        self.part.ended.set(true);
    }

    /// Whether the connection was ended for what other requests did.
    pub(super) fn is_calmed(&self) -> bool {
        self.part.connection.calmed.get()
    }

    /// The app has said that it takes nothing more on this connection, or it does not speak HTTP/2 on it.
    pub(super) fn retire(&self) {
        self.part.connection.retire();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let connection = &self.part.connection;
        connection.asking.set(connection.asking.get().saturating_sub(1));
        if self.part.sent.get() {
            connection.used.set(clock::now());
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get().saturating_sub(1));
        if self.sent.get() {
            connection.sent.set(connection.sent.get().saturating_sub(1));
        }
        if self.sent.get() && !self.ended.get() {
            connection.broken.set(connection.broken.get() + 1);
        }
        if connection.is_worn() && connection.streams.get() == 0 {
            connection.retire();
        }
        connection.freed.notify_one();
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        Pin::new(&mut self.upload).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.upload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.size_hint()
    }
}

/// Whether an error says that there was too much of something other than requests.
pub(super) fn is_calming(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// Runs what hyper begins for a connection on the connection's own thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Local(Rc<Tasks>);

#[derive(Debug, Default)]
struct Tasks(RefCell<JoinSet<()>>);

impl Local {
    fn abort(&self) {
        self.0.0.borrow_mut().abort_all();
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // One of them has yet to tell the app that this is the end.
        self.0.get_mut().detach_all();
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        let mut tasks = self.0.0.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(async move {
            future.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;
    use tokio::task::LocalSet;

    use super::super::stream::Socket;
    use super::*;

    #[tokio::test]
    async fn what_an_app_does_not_take_holds_no_connection_for_ever() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let app = tokio::spawn(async move {
            let mut app = h2::server::handshake(theirs).await.unwrap();
            while app.accept().await.is_some() {}
        });
        LocalSet::new()
            .run_until(async {
                let stream = Stream::new(Socket::Unix(ours), None, None);
                let shared = Shared::open(stream, Rc::default()).await.unwrap();
                let share = shared.crowd();
                let body = share.part.clone();
                let soon = clock::now() + PING;
                assert!(!shared.is_idle(soon, PING));
                drop(share);
                let soon = clock::now() + PING;
                assert!(shared.is_idle(soon, PING) && shared.streams() == 1);
                shared.close();
                app.await.unwrap();
                drop(body);
                assert!(!shared.is_open() && shared.streams() == 0);
            })
            .await;
    }
}
