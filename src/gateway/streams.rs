//! The streams of one HTTP/2 connection: notes that guard, driver and exchange share, and the tasks that serve them.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Sleep, sleep};

use super::clock;
use super::connection::{Connection, Phase};
use super::frames::Frames;

/// How long nothing is read where small pieces of bodies wait and nobody takes them. After that the HTTP library may
/// well end the connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a connection's streams.
#[derive(Debug)]
pub(super) struct Streams {
    connection: Rc<Connection>,
    frames: RefCell<Frames>,
    open: Cell<usize>,
    /// Nothing more is read.
    shut: Cell<bool>,
    /// Whose task the HTTP library spawns next. Should it spawn none, this keeps no stream open.
    next: RefCell<Weak<Stream>>,
    /// Where nothing is read until there is room: who waits for that, and for how long yet.
    held: RefCell<Option<(Waker, Pin<Box<Sleep>>)>>,
}

/// One stream, from its request to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Rc<Streams>,
    cut: Cell<bool>,
    task: RefCell<Option<Waker>>,
    body_watch: RefCell<Option<Waker>>,
    /// Where the client may want a tunnel.
    tunnel: RefCell<Option<OnUpgrade>>,
}

/// Runs what the HTTP library spawns for a connection's streams, so that each can be dropped when it is cut. Its body
/// would not do: the library stops asking for more of it once the client's window is full.
#[derive(Clone, Debug)]
pub(super) struct Spawner(pub Rc<Streams>);

impl Streams {
    pub(super) fn new(connection: Rc<Connection>) -> Rc<Self> {
        let frames = RefCell::new(Frames::new(clock::now()));
        Rc::new(Self {
            connection,
            frames,
            open: Cell::new(0),
            shut: Cell::new(false),
            next: RefCell::default(),
            held: RefCell::default(),
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    // What the guard tells and asks.

    /// Returns how many of the bytes may be passed on; the others are to be told again once there is room for them.
    pub(super) fn heard(&self, bytes: &[u8]) -> usize {
        let passed = self.frames.borrow_mut().feed(bytes, clock::look());
        if self.is_misbegun() {
            self.shut();
        }
        self.settle();
        passed
    }

    /// Waits until there is room for more, but not for ever: who takes no piece of a body may wait for something else
    /// that the client has sent.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (mut held, mut frames) = (self.held.borrow_mut(), self.frames.borrow_mut());
        let has_room = if held.is_some() { frames.has_room() } else { !frames.is_full() };
        if !has_room {
            let (waker, patience) =
                held.get_or_insert_with(|| (cx.waker().clone(), Box::pin(sleep(PATIENCE))));
            waker.clone_from(cx.waker());
            ready!(patience.as_mut().poll(cx));
            frames.forget_waiting();
        }
        *held = None;
        Poll::Ready(())
    }

    fn release(&self) {
        if let Some((waker, _)) = &*self.held.borrow()
            && self.frames.borrow().has_room()
        {
            waker.wake_by_ref();
        }
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut.get()
    }

    // What the driver asks and tells.

    pub(super) fn is_misbegun(&self) -> bool {
        self.frames.borrow().is_misbegun()
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.frames.borrow().is_flood()
    }

    /// From now on nothing more is read.
    pub(super) fn shut(&self) {
        self.shut.set(true);
    }

    /// Takes in a request, whose task is the next that is spawned.
    pub(super) fn open(self: &Rc<Self>, tunnel: Option<OnUpgrade>) -> Rc<Stream> {
        let stream = Rc::new(Stream {
            streams: self.clone(),
            cut: Cell::new(false),
            task: RefCell::default(),
            body_watch: RefCell::default(),
            tunnel: RefCell::new(tunnel),
        });
        self.open.set(self.open.get() + 1);
        self.frames.borrow_mut().served();
        self.settle();
        self.next.replace(Rc::downgrade(&stream));
        stream
    }

    /// Brings the connection's phase in line with what is under way.
    fn settle(&self) {
        let phase = match (self.frames.borrow().awaited(), self.connection.phase()) {
            // While a head has not ended, no other frame may come.
            (Some(since), _) => Phase::Head(since),
            (None, _) if self.open.get() > 0 => Phase::Busy,
            (None, idle @ Phase::Idle(_)) => idle,
            (None, _) => Phase::Idle(clock::now()),
        };
        self.connection.enter(phase);
    }
}

impl Stream {
    pub(super) fn connection(&self) -> &Connection {
        &self.streams.connection
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.streams.frames.borrow_mut().answered(bytes);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.streams.frames.borrow_mut().taken(bytes);
        self.streams.release();
    }

    pub(super) fn watch_body(&self, waker: &Waker) {
        self.body_watch.replace(Some(waker.clone()));
    }

    pub(super) fn wake_body(&self) {
        if let Some(waker) = self.body_watch.take() {
            waker.wake();
        }
    }

    /// Resets the stream as soon as nothing holds on to it any more.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The client's end of a tunnel, to be called right before the answer that opens it: the task that sends its bytes
    /// is spawned then, and belongs to this stream too.
    pub(super) fn open_tunnel(self: &Rc<Self>) -> Option<OnUpgrade> {
        self.streams.next.replace(Rc::downgrade(self));
        self.tunnel.take()
    }

    fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        if self.cut.get() {
            return Poll::Ready(());
        }
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.open.set(self.streams.open.get() - 1);
        // What of its body was not taken is not waited for any more.
        self.streams.frames.borrow_mut().forget_waiting();
        self.streams.release();
        self.streams.settle();
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        let stream = self.0.next.take().upgrade();
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| match &stream {
                Some(stream) if stream.poll_cut(cx).is_ready() => Poll::Ready(()),
                _ => task.as_mut().poll(cx),
            })
            .await;
        });
    }
}
