//! One thread that serves its share of the connections, with everything those need in reach and nothing shared that
//! would have to be waited for.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slab::Slab;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::authorize::{self, Pass};
use super::clock::{self, Moment};
use super::connection::Connection;
use super::date::Date;
use super::slots::Slots;
use super::stamp::Stamp;
use super::upstream::pool::Pool;
use super::{Drain, Gateway, http, tls};
use crate::board::client::Clients;
use crate::board::{Affected, Cells, Count, Denial, Ending, LastUse, Post, Stopped, Traffic};
use crate::model::{Agent, LeakKind, TokenId};
use crate::tls::Terminator;

/// How often what may end by itself is looked at, and lines are handed to the log.
const TICK: Duration = Duration::from_millis(50);
/// Log lines gathered before they are handed over early.
const LINES: usize = 32 * 1024;

/// A connection as the listener hands it over.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TcpStream,
    pub client: SocketAddr,
    pub local: SocketAddr,
    pub since: Instant,
    /// `None`: the connection is not encrypted.
    pub terminator: Option<Arc<Terminator>>,
    pub place: Place,
}

/// A connection's place among those that may be open, given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    post: Arc<Post>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    #[must_use]
    pub fn take(post: Arc<Post>, permit: OwnedSemaphorePermit) -> Self {
        post.connections.fetch_add(1, Ordering::Relaxed);
        Self { post, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.post.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the connections of one worker share.
#[derive(Debug)]
pub(super) struct Worker {
    pub gateway: Arc<Gateway>,
    pub slots: Rc<Slots>,
    pub pool: Pool,
    /// For the costly part of a handshake.
    pub turns: Semaphore,
    post: Arc<Post>,
    connections: RefCell<Slab<Rc<Connection>>>,
    /// Those that may be idle, looked through on each tick.
    restless: RefCell<Vec<Weak<Connection>>>,
    draining: Cell<bool>,
    /// The drain is over: what is still open is dropped.
    over: Cell<bool>,
    lines: RefCell<Vec<u8>>,
    pub stamp: RefCell<Stamp>,
    pub date: Date,
    asleep: Cell<bool>,
    stir: Notify,
}

/// Serves connections on this thread until the drain is over.
///
/// # Errors
/// When the operating system refuses what an event loop needs.
pub fn run(
    gateway: Arc<Gateway>,
    post: Arc<Post>,
    mut accepted: mpsc::UnboundedReceiver<Accepted>,
    mut mailbox: mpsc::UnboundedReceiver<Ending>,
    mut drain: watch::Receiver<Drain>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(gateway, post));
        tokio::task::spawn_local(worker.clone().tick());
        loop {
            tokio::select! {
                // Endings first: a request accepted after one must not slip past it.
                biased;
                Some(ending) = mailbox.recv() => {
                    let _ = ending.done.send(worker.end(&ending.of));
                }
                changed = drain.changed() => {
                    let state = if changed.is_ok() { *drain.borrow_and_update() } else { Drain::Over };
                    match state {
                        Drain::No => {}
                        Drain::Begun => worker.drain(),
                        Drain::Over => {
                            worker.over.set(true);
                            break;
                        }
                    }
                }
                Some(accepted) = accepted.recv() => {
                    tokio::task::spawn_local(http::drive(worker.clone(), accepted));
                }
                else => break,
            }
        }
        worker.flush();
    });
    // Dropping the runtime drops the connections that outlived the drain; each writes its line on the way.
    drop(runtime);
    Ok(())
}

impl Worker {
    fn new(gateway: Arc<Gateway>, post: Arc<Post>) -> Self {
        Self {
            gateway,
            slots: Rc::default(),
            pool: Pool::default(),
            turns: Semaphore::new(tls::TURNS),
            post,
            connections: RefCell::default(),
            restless: RefCell::default(),
            draining: Cell::new(false),
            over: Cell::new(false),
            lines: RefCell::default(),
            stamp: RefCell::default(),
            date: Date::default(),
            asleep: Cell::new(false),
            stir: Notify::new(),
        }
    }

    /// What this worker counts of `traffic`.
    pub(super) fn cells<'a>(&self, traffic: &'a Traffic) -> Option<&'a Cells> {
        traffic.cells(self.post.number)
    }

    /// Where this worker counts what clients do.
    pub(super) fn clients(&self) -> &Clients {
        &self.post.clients
    }

    /// Reads the wall clock; the other was read where bytes arrived.
    pub(super) fn now(&self) -> Moment {
        let wall = clock::wall().div_euclid(1000);
        self.gateway.index.hindsight().tell(wall);
        let steady = clock::now().saturating_duration_since(self.gateway.since).as_millis();
        Moment { wall, steady: i64::try_from(steady).unwrap_or(i64::MAX) }
    }

    /// Ends what is in flight and would no longer be let in.
    fn end(&self, affected: &Affected) -> Vec<Stopped> {
        let (settings, now) = (self.gateway.settings.load(), self.now());
        let judge = |pass: &Pass| authorize::again(&settings.routes, &self.gateway.index, pass, now.wall);
        self.slots.judge(affected, judge)
    }

    /// Remembers a refusal, for whoever asks why.
    pub(super) fn denied(&self, denial: Denial) {
        self.post.denied(denial);
    }

    /// Notes the use of a token.
    pub(super) fn used(&self, token: TokenId, last: LastUse) {
        self.post.used(token, last);
    }

    /// Notes a sign that a token may have leaked.
    pub(super) fn suspected(&self, token: TokenId, kind: LeakKind, client: IpAddr, agent: Option<Agent>) {
        self.gateway.board.suspicions.note(token, kind, client, agent);
    }

    /// Counts a request with a token that was not let in, or failed.
    pub(super) fn fell_short(&self, token: TokenId, count: Count) {
        self.post.fell_short(token, count);
    }

    /// Makes a connection known for as long as the returned registration lives.
    pub(super) fn register(self: &Rc<Self>, connection: &Rc<Connection>) -> Registration {
        if self.draining.get() {
            connection.drain();
        }
        Registration { worker: self.clone(), key: self.connections.borrow_mut().insert(connection.clone()) }
    }

    /// Has an idle connection told when to put away its buffers.
    pub(super) fn watch(&self, connection: &Rc<Connection>) {
        if connection.begins_to_rest() {
            self.restless.borrow_mut().push(Rc::downgrade(connection));
            self.stir();
        }
    }

    /// Appends to the access log.
    pub(super) fn log(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.gateway.log.is_on() {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        write(&mut lines);
        let full = lines.len() >= LINES;
        drop(lines);
        if full {
            self.flush();
        }
        self.stir();
    }

    /// Sees to it that the ticker runs.
    pub(super) fn stir(&self) {
        if self.asleep.replace(false) {
            self.stir.notify_one();
        }
    }

    /// Whether connections end because we go, not because their clients did.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    fn drain(&self) {
        self.draining.set(true);
        for (_, connection) in self.connections.borrow().iter() {
            connection.drain();
        }
    }

    fn flush(&self) {
        let mut lines = self.lines.borrow_mut();
        if !lines.is_empty() {
            let room = Vec::with_capacity(lines.len().next_power_of_two());
            self.gateway.log.write(std::mem::replace(&mut *lines, room));
        }
    }

    async fn tick(self: Rc<Self>) {
        loop {
            self.flush();
            if self.slots.is_empty() && self.pool.is_empty() && self.restless.borrow().is_empty() {
                self.asleep.set(true);
                self.stir.notified().await;
            }
            tokio::time::sleep(TICK).await;
            let now = clock::look();
            self.slots.sweep(self.gateway.index.hindsight(), self.now().wall, now);
            self.pool.sweep(now);
            let stays =
                |connection: &Weak<Connection>| connection.upgrade().is_some_and(|it| it.watch_rest(now));
            self.restless.borrow_mut().retain(stays);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A connection's entry in its worker's list.
#[derive(Debug)]
pub(super) struct Registration {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().try_remove(self.key);
    }
}
