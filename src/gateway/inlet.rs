//! What arrives on an HTTP/1 connection, and the socket that it comes from: shared by the driver, which waits for heads and
//! writes answers, and whoever takes the body of the request under way.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::task::unconstrained;

use super::clock;
use super::connection::{Connection, Phase};
use super::farewell;
use super::framing::{Begun, Framing};
use super::head::HeadLimits;
use super::http::read;
use super::socket::Socket;
use super::upgrade::Handover;

/// What is read at once where not much is expected.
const ROOM: usize = 8 * 1024;
/// How much more is read at once where there was more than fitted.
const GROWTH: usize = 4;
/// What a client that waits for a word before its body is told.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One client's end of an HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Inlet {
    pub connection: Rc<Connection>,
    /// `None`: another protocol is spoken on it from here on.
    socket: RefCell<Option<Socket>>,
    framing: RefCell<Framing>,
    room: Cell<usize>,
    /// The most that is read at once.
    most: usize,
    /// Which request is under way.
    ordinal: Cell<u64>,
    /// Its body is malformed.
    is_bad: Cell<bool>,
    /// Its client waits for a word before it sends the body.
    expects: Cell<bool>,
    /// What is left to be said of that word; nothing where it is only to be flushed.
    word: Cell<Option<&'static [u8]>>,
    /// The driver has not looked whether the client is still there, for there was more of the body to come.
    unwatched: Cell<bool>,
    body_watch: RefCell<Option<Waker>>,
    pub handover: RefCell<Option<Handover>>,
}

/// The body of a request, whatever it comes over.
#[derive(Debug)]
pub(super) enum Inflow {
    Http1 {
        inlet: Rc<Inlet>,
        /// Of the request that it belongs to.
        ordinal: u64,
    },
    Http2(Incoming),
}

impl Inflow {
    /// Nobody is to have it. Over HTTP/1 the driver sees to what is left.
    pub(super) fn leave(self) {
        if let Self::Http2(body) = self {
            farewell::hear_out(body);
        }
    }
}

/// A body that ended before its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(super) struct Short;

impl Inlet {
    pub(super) fn new(socket: Socket, ahead: &[u8], connection: Rc<Connection>, limits: HeadLimits) -> Self {
        let mut framing = Framing::new(limits);
        framing.feed(ahead);
        Self {
            connection,
            socket: RefCell::new(Some(socket)),
            framing: RefCell::new(framing),
            room: Cell::new(ROOM),
            most: most(limits.bytes),
            ordinal: Cell::new(0),
            is_bad: Cell::new(false),
            expects: Cell::new(false),
            word: Cell::new(None),
            unwatched: Cell::new(false),
            body_watch: RefCell::default(),
            handover: RefCell::default(),
        }
    }

    // What the driver asks and tells.

    /// Waits for what stands where a request is to begin; `None` at the connection's end.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Begun>>> {
        loop {
            if let Some(begun) = self.framing.borrow_mut().head() {
                return Poll::Ready(Ok(Some(begun)));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// The request whose head came last is under way; returns its ordinal.
    pub(super) fn begin(&self, expects_continue: bool) -> u64 {
        self.connection.enter(Phase::Busy);
        self.ordinal.set(self.ordinal.get() + 1);
        self.is_bad.set(false);
        self.expects.set(expects_continue);
        self.ordinal.get()
    }

    /// The answer begins: from here on there is nothing to be said before it.
    pub(super) fn answers(&self) {
        self.expects.set(false);
        // Of a word that was begun the rest is still said.
        if self.word.get() == Some(CONTINUE) {
            self.word.set(None);
        }
    }

    /// Says what is owed to a client that waits before it sends the body. Nothing may be written before it is said.
    pub(super) fn poll_word(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(word) = self.word.get() {
            if word.is_empty() {
                ready!(self.poll_flush(cx))?;
                self.word.set(None);
            } else {
                let written = ready!(self.poll_write(cx, &[IoSlice::new(word)]))?;
                self.word.set(Some(&word[written..]));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the client is gone, while its request is under way: who hangs up does not want an answer any more.
    /// What it sends ahead stays where it is.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (has_ended, is_empty) = {
            let framing = self.framing.borrow();
            (framing.has_ended(), framing.input.is_empty())
        };
        self.unwatched.set(!has_ended);
        if !has_ended || !is_empty {
            return Poll::Pending;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(1..)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
        }
    }

    /// The request under way was answered. What of it nobody took is dropped, as far as it is there, and nobody gets any
    /// more of it: its rest must not look like all of it. Returns whether another may follow.
    pub(super) fn finish(&self, cx: &mut Context<'_>) -> bool {
        if self.framing.borrow().has_ended() {
            return true;
        }
        self.let_go();
        self.wake_body();
        // The last of it may have arrived without anybody having looked. A task that has done its share of work would be
        // told that nothing is there, whatever is.
        let mut look = pin!(unconstrained(poll_fn(|cx| self.poll_read(cx))));
        self.drop_body() || (matches!(look.as_mut().poll(cx), Poll::Ready(Ok(1..))) && self.drop_body())
    }

    /// Drops what is there of a body; returns whether that was all.
    fn drop_body(&self) -> bool {
        let mut framing = self.framing.borrow_mut();
        while let Ok(Some(_)) = framing.body() {}
        framing.has_ended()
    }

    /// Nothing that belongs to the request under way concerns the connection any more.
    fn let_go(&self) {
        self.ordinal.set(self.ordinal.get() + 1);
    }

    /// Another request is waited for, unless it is there already.
    pub(super) fn wait(&self) {
        self.let_go();
        let now = clock::look();
        self.connection.enter(if self.is_within_head() { Phase::Head(now) } else { Phase::Idle(now) });
    }

    /// Gives up buffers that hold nothing.
    pub(super) fn rest(&self) {
        let input = &mut self.framing.borrow_mut().input;
        if input.is_empty() {
            *input = BytesMut::new();
        }
        self.room.set(ROOM);
    }

    /// Whether it holds no buffer.
    pub(super) fn is_bare(&self) -> bool {
        self.framing.borrow().input.capacity() == 0
    }

    /// Whether a request was begun and is not under way.
    pub(super) fn is_within_head(&self) -> bool {
        self.framing.borrow().is_within_head()
    }

    /// Whether bytes of a request that was answered may still be on their way.
    pub(super) fn has_unread(&self) -> bool {
        let framing = self.framing.borrow();
        !framing.has_arrived() || framing.is_within_head()
    }

    /// The socket and what was read of it, for whatever comes next on it.
    pub(super) fn take_socket(&self) -> Option<(Socket, Bytes)> {
        let ahead = self.framing.borrow_mut().input.split().freeze();
        Some((self.socket.take()?, ahead))
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut socket = self.socket.borrow_mut();
        let Some(socket) = socket.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = match pieces {
            [piece] => Pin::new(socket).poll_write(cx, piece),
            pieces => Pin::new(socket).poll_write_vectored(cx, pieces),
        };
        match &written {
            Poll::Ready(Ok(1..)) => self.connection.wrote(),
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.write_blocks(),
        }
        written
    }

    /// Encrypted bytes may wait behind a write that was done.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.socket.borrow_mut();
        let Some(socket) = socket.as_mut() else { return Poll::Ready(Ok(())) };
        let flushed = Pin::new(socket).poll_flush(cx);
        match flushed {
            Poll::Ready(_) => self.connection.wrote(),
            Poll::Pending => self.connection.write_blocks(),
        }
        flushed
    }

    // What the exchange asks and tells.

    /// Whether every byte of the request with this ordinal has arrived.
    pub(super) fn has_arrived(&self, ordinal: u64) -> bool {
        self.ordinal.get() != ordinal || self.framing.borrow().has_arrived()
    }

    /// Ends the connection where it is, if the request with this ordinal is under way.
    pub(super) fn cut(&self, ordinal: u64) {
        if self.ordinal.get() == ordinal {
            self.connection.cut();
        }
    }

    /// Whether the client of the request with this ordinal has hung up behind bytes that nobody takes for now. Without any,
    /// the driver hears of it. `is_stuck`: nothing has moved for a while.
    pub(super) fn has_hung_up(&self, ordinal: u64, is_stuck: bool) -> bool {
        let framing = self.framing.borrow();
        if self.ordinal.get() != ordinal || (framing.has_ended() && framing.input.is_empty()) {
            return false;
        }
        let state = self.socket.borrow().as_ref().map(Socket::state);
        // An end of the client's sending is heard when all before it was taken: it may have sent a large body and not wait
        // for the answer.
        let is_end = is_stuck && !framing.has_arrived();
        state.is_some_and(|it| it.is_write_closed() || (is_end && it.is_read_closed()))
    }

    /// Whether the body of the request with this ordinal broke the rules.
    pub(super) fn is_bad_body(&self, ordinal: u64) -> bool {
        self.ordinal.get() == ordinal && self.is_bad.get()
    }

    /// Has `waker` woken should the body that is on its way be of no more use.
    pub(super) fn watch_body(&self, waker: &Waker) {
        self.body_watch.replace(Some(waker.clone()));
    }

    /// Has whoever waits for more of a body look again whether it is still wanted.
    pub(super) fn wake_body(&self) {
        if let Some(waker) = self.body_watch.take() {
            waker.wake();
        }
    }

    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Short>>> {
        loop {
            let taken = self.framing.borrow_mut().body();
            let has_ended = self.framing.borrow().has_ended();
            if has_ended && self.unwatched.replace(false) {
                self.connection.wake();
            }
            match taken {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if has_ended => return Poll::Ready(None),
                Ok(None) => {}
                Err(_) => {
                    self.is_bad.set(true);
                    return Poll::Ready(Some(Err(Short)));
                }
            }
            if self.expects.take() {
                self.word.set(Some(CONTINUE));
                self.connection.wake();
            }
            if !matches!(ready!(self.poll_read(cx)), Ok(1..)) {
                // The client is gone, and the request with it.
                self.connection.cut();
                return Poll::Pending;
            }
        }
    }

    /// Reads once; 0 at the connection's end.
    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (mut socket, mut framing) = (self.socket.borrow_mut(), self.framing.borrow_mut());
        let Some(socket) = socket.as_mut() else { return Poll::Ready(Ok(0)) };
        // Whoever waits for a request shall hold no buffer for it.
        let awaits_head = framing.has_ended();
        let input = &mut framing.input;
        let count = if awaits_head {
            ready!(read(socket, input, cx))?
        } else {
            let room = self.room.get();
            if input.capacity() - input.len() < room / 4 {
                input.reserve(room);
            }
            let spare = input.capacity() - input.len();
            let count = ready!(pin!(socket.read_buf(input)).poll(cx))?;
            if count == spare {
                self.room.set((room * GROWTH).min(self.most));
            }
            count
        };
        if count > 0 {
            self.connection.hears(clock::look());
        }
        Poll::Ready(Ok(count))
    }
}

impl Drop for Inlet {
    /// Where the driver was dropped in the middle of an answer, that must not look like its end.
    fn drop(&mut self) {
        if let (Phase::Busy, Some(socket)) = (self.connection.phase(), self.socket.get_mut()) {
            socket.reset();
        }
    }
}

/// The most that is read of a connection at once, and about as much again may wait: never less than a head may be long.
pub(super) const fn most(head: usize) -> usize {
    const LEAST: usize = 64 * 1024;
    if head > LEAST { head } else { LEAST }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = Short;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Short>>> {
        match self.get_mut() {
            Self::Http1 { inlet, ordinal } if inlet.ordinal.get() == *ordinal => inlet.poll_body(cx),
            // The request was answered, and what was left of it dropped.
            Self::Http1 { .. } => Poll::Ready(Some(Err(Short))),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(|_| Short),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1 { inlet, ordinal } => {
                inlet.ordinal.get() == *ordinal && inlet.framing.borrow().has_ended()
            }
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1 { inlet, .. } => {
                inlet.framing.borrow().left().map_or_else(SizeHint::new, SizeHint::with_exact)
            }
            Self::Http2(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::super::connection::Peers;
    use super::*;

    /// A connection over which `sent` has come, and the client's end of it.
    async fn inlet(sent: &[u8]) -> (Rc<Inlet>, TcpStream) {
        let limits = crate::control::sample::config().gateway.limits;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, address) = listener.accept().await.unwrap();
        let peers = Peers { client: address, local: address, since: Instant::now() };
        let connection = Rc::new(Connection::new(peers, "http", &limits));
        let heads = HeadLimits { bytes: limits.header_bytes, fields: limits.headers };
        client.write_all(sent).await.unwrap();
        (Rc::new(Inlet::new(Socket::Plain(socket), b"", connection, heads)), client)
    }

    async fn begin(inlet: &Rc<Inlet>, expects_continue: bool) -> Inflow {
        let begun = poll_fn(|cx| inlet.poll_head(cx)).await.unwrap();
        assert!(matches!(begun, Some(Begun::Head(judged)) if judged.head.offence.is_none()));
        Inflow::Http1 { inlet: inlet.clone(), ordinal: inlet.begin(expects_continue) }
    }

    #[tokio::test]
    async fn what_is_left_of_a_body_after_the_answer_looks_like_no_end_of_it() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        for (rest, another) in [
            ("1\r\nd\r\n0\r\n\r\nGET /", true),
            ("1\r\nd\r\n", false),
            ("x", false),
            ("0\r\nA B: c\r\n\r\nGET /", false),
        ] {
            let (inlet, _client) = inlet([head, rest].concat().as_bytes()).await;
            let mut body = begin(&inlet, false).await;
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "abc");
            let finished = poll_fn(|cx| Poll::Ready(inlet.finish(cx))).await;
            inlet.wait();
            let is_head = matches!(inlet.connection.phase(), Phase::Head(_));
            assert_eq!((finished, is_head, inlet.has_unread()), (another, another, true), "{rest:?}");
            assert!(!body.is_end_stream() && body.frame().await.unwrap().is_err(), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn a_word_goes_out_once_and_only_where_the_body_is_waited_for() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let (inlet, mut client) = inlet(head).await;
        let mut body = begin(&inlet, true).await;
        assert_eq!(inlet.word.get(), None);
        let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_pending())).await;
        assert!(pending && inlet.word.get() == Some(CONTINUE));
        poll_fn(|cx| inlet.poll_word(cx)).await.unwrap();
        let mut word = [0; CONTINUE.len()];
        client.read_exact(&mut word).await.unwrap();
        assert_eq!(word, CONTINUE);
        client.write_all(b"abc").await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.is_end_stream() && inlet.word.get().is_none());
        inlet.begin(true);
        inlet.answers();
        assert!(!inlet.expects.get() && inlet.word.get().is_none());
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_noticed_and_one_that_sends_ahead_is_not_taken_for_one() {
        let (inlet, mut client) = inlet(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let _body = begin(&inlet, false).await;
        client.write_all(b"GET").await.unwrap();
        while !inlet.is_within_head() {
            assert!(poll_fn(|cx| Poll::Ready(inlet.poll_gone(cx).is_pending())).await);
            tokio::task::yield_now().await;
        }
        drop(client);
        assert!(
            poll_fn(|cx| Poll::Ready(inlet.poll_gone(cx).is_pending())).await,
            "what it sent is judged first"
        );
        inlet.take_socket();
        let (inlet, client) = self::inlet(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let _body = begin(&inlet, false).await;
        drop(client);
        poll_fn(|cx| inlet.poll_gone(cx)).await;
    }
}
