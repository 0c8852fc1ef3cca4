//! HTTP/2 connections to apps: one carries many requests at once.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::dial::Unconnected;
use super::place::{Peer, Place};
use super::pool::FAIR;
use super::stream::Stream;
use crate::gateway::clock;
use crate::gateway::upload::Upload;

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

/// An open HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Upload>,
    driver: Rc<Driver>,
    peer: Cell<Option<Peer>>,
    streams: Cell<usize>,
    /// Of these, the ones that were handed to the library.
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

/// One request's part in a connection, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    pub(super) sender: SendRequest<Upload>,
    connection: Rc<Shared>,
    sent: bool,
    /// Nothing of it is left that dropping it would break off.
    ended: bool,
}

/// `None` once the connection has ended: its socket must not outlive it.
type Driver = RefCell<Option<Connection<TokioIo<Stream>, Upload, Local>>>;

impl Shared {
    /// Begins to speak HTTP/2 on a connection, and waits until the app does. `freed` is told whenever there is room for
    /// another request.
    pub(super) async fn open(stream: Stream, freed: Rc<Notify>) -> Result<Rc<Self>, Unconnected> {
        let peer = stream.peer();
        let (sender, connection) = Builder::new(Local)
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
        let (driven, calming) = (driver.clone(), calmed.clone());
        tokio::task::spawn_local(poll_fn(move |cx| {
            let ended = match driven.borrow_mut().as_mut() {
                Some(connection) => ready!(Pin::new(connection).poll(cx)),
                None => Ok(()),
            };
            // Whoever waits for an answer is told of a failure; nobody else needs to know.
            calming.set(ended.is_err_and(|error| is_calming(&error)));
            let connection = driven.take();
            drop(connection);
            Poll::Ready(())
        }));
        let opened = Self {
            sender,
            driver,
            peer: Cell::new(peer),
            streams: Cell::new(0),
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
    fn allowed(&self) -> usize {
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
        self.served.set(self.served.get().saturating_add(1));
        Share { sender: self.sender.clone(), connection: self.clone(), sent: false, ended: false }
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
    }

    /// Whether it has had nothing to do for this long.
    pub(super) fn is_idle(&self, now: Instant, long: Duration) -> bool {
        self.streams.get() == 0 && now.saturating_duration_since(self.used.get()) >= long
    }
}

impl Share {
    /// Whether a request would leave at once. The library would keep one that would not, and with it the secrets that it was
    /// put together with.
    pub(super) fn leaves_at_once(&self) -> bool {
        self.is_open() && self.connection.sent.get() < self.connection.allowed()
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// The request is handed to the library.
    pub(super) fn goes(&mut self) {
        self.sent = true;
        self.connection.sent.set(self.connection.sent.get() + 1);
    }

    pub(super) fn answered(&self) {
        self.connection.refused.set(0);
    }

    /// The app did not look at the request. Often it was one too many at once, and the connection is as good as another.
    pub(super) fn refused(&self) {
        let refused = self.connection.refused.get() + 1;
        self.connection.refused.set(refused);
        if refused >= REFUSALS {
            self.retire();
        }
    }

    /// The request is over for both sides.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the connection was ended for what other requests did.
    pub(super) fn is_calmed(&self) -> bool {
        self.connection.calmed.get()
    }

    /// The app has said that it takes nothing more on this connection, or it does not speak HTTP/2 on it.
    pub(super) fn retire(&self) {
        self.connection.retire();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get().saturating_sub(1));
        connection.used.set(clock::now());
        if self.sent {
            connection.sent.set(connection.sent.get().saturating_sub(1));
        }
        if self.sent && !self.ended {
            connection.broken.set(connection.broken.get() + 1);
        }
        if connection.is_worn() && connection.streams.get() == 0 {
            connection.retire();
        }
        connection.freed.notify_one();
    }
}

/// Whether an error says that there was too much of something other than requests.
pub(super) fn is_calming(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// Runs what hyper begins for a connection on the connection's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
