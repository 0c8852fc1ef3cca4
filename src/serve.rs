//! The composition root: builds everything from a configuration, starts it, and drains it.
//!
//! Phases: bind what may be taken, open the store, load the index, start the admin side, start the workers, accept.
//! A failure in one of them ends the start; nothing is left behind.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::admin::Listeners;
use crate::board::Board;
use crate::config::{AccessLog, Config, Loaded};
use crate::control::Control;
use crate::gateway::listen::{self, Door};
use crate::gateway::throttle::Throttle;
use crate::gateway::wall::WallClock;
use crate::gateway::{Drain, Gateway, Settings, worker};
use crate::index::Index;
use crate::store::Store;
use crate::sync::Follower;
use crate::telemetry::{self, LogThread, Sink};

/// How long the admin side and the follower may take to finish once nothing more can come.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long the access log may take for the lines that it was handed.
const LAST_LINES: Duration = Duration::from_secs(5);

/// A running gateway with its admin side.
#[derive(Debug)]
pub struct Server {
    config: Config,
    runtime: Runtime,
    board: Arc<Board>,
    store: Store,
    addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    admin_socket: PathBuf,
    gateway: Arc<Gateway>,
    drain: watch::Sender<Drain>,
    accepting: Vec<Task>,
    admin: Background,
    /// The follower, and what keeps the house: the admin side's last answers still wait for them.
    rest: Vec<Task>,
    stop_rest: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    log: LogThread,
}

type Task = tokio::task::JoinHandle<()>;

/// A task that ends when it is told to.
#[derive(Debug)]
struct Background {
    task: Task,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Starts everything; returns once requests are served.
    ///
    /// # Errors
    /// When an address, the store, the log or a thread cannot be had; the message names which.
    pub fn start(loaded: Loaded) -> Result<Self> {
        telemetry::start_own_log();
        let config = loaded.config;
        prepare_process(&config);
        let sockets = bind(&config)?;
        let addresses = sockets.iter().map(TcpListener::local_addr).collect::<std::io::Result<Vec<_>>>()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("admin")
            .enable_all()
            .build()
            .context("no threads for the admin side")?;
        // The store first: its lock settles whose the admin socket is, should two start at once.
        let store = Store::open(&config.store.path)?;
        let admin = runtime.block_on(Listeners::bind(&config.admin))?;
        let (admin_address, admin_socket) = (admin.tcp_address(), admin.socket().to_owned());
        let (log, log_thread) = telemetry::AccessLog::start(sink(&config.gateway.access_log))
            .context("gateway.access_log.path")?;

        let (index, writer) = Index::new();
        let (board, mailboxes) = Board::new(config.gateway.workers);
        let follower = Follower::load(&store, writer, board.clone())?;
        let settings = ArcSwap::from_pointee(Settings::new(&config, &index));
        let gateway = Arc::new(Gateway {
            index: index.clone(),
            board: board.clone(),
            settings,
            log,
            throttle: Throttle::default(),
            wall_clock: WallClock::default(),
        });
        let control =
            Control::new(store.clone(), index.reached(), Arc::new(ArcSwap::from_pointee(config.clone())));

        let (drain, draining) = watch::channel(Drain::No);
        let (stop_admin, admin_stopping) = watch::channel(false);
        let (stop_rest, rest_stopping) = watch::channel(false);
        let Workers { doors, threads: workers } = start_workers(&gateway, mailboxes, &draining)?;
        let limit = Arc::new(Semaphore::new(config.gateway.limits.connections.min(Semaphore::MAX_PERMITS)));
        let rest = vec![
            runtime.spawn(follower.run(rest_stopping.clone())),
            runtime.spawn(control.clone().keep_house(rest_stopping)),
        ];
        let admin = Background {
            task: runtime.spawn(admin.run(control, board.clone(), admin_stopping)),
            stop: stop_admin,
        };
        let accepting = runtime.block_on(async {
            sockets
                .into_iter()
                .map(|socket| {
                    let listener = tokio::net::TcpListener::from_std(socket)?;
                    Ok(tokio::spawn(listen::accept(listener, doors.clone(), limit.clone())))
                })
                .collect::<std::io::Result<Vec<_>>>()
        })?;
        for address in &addresses {
            eprintln!("portcullis: gateway listens on http://{address}");
        }
        eprintln!("portcullis: admin listens on http://{admin_address}");
        eprintln!("portcullis: admin listens on {}", admin_socket.display());
        Ok(Self {
            config,
            runtime,
            board,
            store,
            addresses,
            admin_address,
            admin_socket,
            gateway,
            drain,
            accepting,
            admin,
            rest,
            stop_rest,
            workers,
            log: log_thread,
        })
    }

    /// Where the gateway listens, in the configuration's order, with the ports that were given.
    #[must_use]
    pub fn gateway_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    #[must_use]
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// Serves until SIGINT or SIGTERM, then drains; a second signal ends at once. SIGHUP reopens the access log.
    ///
    /// # Errors
    /// When signals cannot be waited for.
    pub fn run_until_signal(mut self) -> Result<()> {
        let config = self.config.gateway.clone();
        let accepting = std::mem::take(&mut self.accepting);
        self.runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hangup = signal(SignalKind::hangup())?;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    _ = hangup.recv() => self.gateway.log.reopen(),
                }
            }
            let drained = async {
                self.board.draining.store(true, Ordering::Release);
                self.drain.send_replace(Drain::Begun);
                tracing::info!("draining");
                tokio::time::sleep(config.drain_delay).await;
                for accepting in accepting {
                    accepting.abort();
                }
                let deadline = Instant::now() + config.drain_timeout;
                while self.connections() > 0 && Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                () = drained => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            anyhow::Ok(())
        })?;
        self.end();
        Ok(())
    }

    fn connections(&self) -> usize {
        self.board.posts().iter().map(|post| post.connections.load(Ordering::Acquire)).sum()
    }

    /// Ends what still runs, in an order that loses no line and no last use.
    fn end(self) {
        let open = self.connections();
        if open > 0 {
            tracing::warn!("{open} connections were still open at the end of the drain");
        }
        self.drain.send_replace(Drain::Over);
        for worker in self.workers {
            let _ = worker.join();
        }
        self.runtime.block_on(async {
            let last_words = async {
                self.admin.stop.send_replace(true);
                let _ = self.admin.task.await;
                self.stop_rest.send_replace(true);
                for task in self.rest {
                    let _ = task.await;
                }
                self.store.close().await;
            };
            if tokio::time::timeout(LAST_WORDS, last_words).await.is_err() {
                tracing::warn!("the admin side did not finish in time");
            }
        });
        drop(self.gateway);
        self.runtime.shutdown_timeout(LAST_WORDS);
        self.log.join(LAST_LINES);
    }
}

/// Everything that `serve` would read and judge before its first side effect.
///
/// # Errors
/// When what the configuration names cannot be used.
pub fn check(loaded: &Loaded) -> Result<()> {
    let config = &loaded.config;
    for (key, path) in
        [("store.path", Some(&config.store.path)), ("admin.socket", Some(&config.admin.socket))]
    {
        folder_of(key, path)?;
    }
    if let AccessLog::File(path) = &config.gateway.access_log {
        folder_of("gateway.access_log.path", Some(path))?;
    }
    Store::inspect(&config.store.path)?;
    Ok(())
}

fn folder_of(key: &str, path: Option<&PathBuf>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { Err(anyhow!("{key}: there is no folder {}", folder.display())) }
}

/// Asks the operating system for what many connections need, and for silence about what passes through memory.
fn prepare_process(config: &Config) {
    // A core dump would hold tokens.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    // Each request may hold a client's and an upstream's socket; next to those, what else is open is few.
    let wanted = config.gateway.limits.connections.saturating_mul(2);
    if let Some(files) =
        files.maximum.filter(|files| usize::try_from(*files).is_ok_and(|files| files < wanted))
    {
        tracing::warn!("at most {files} files may be open, and gateway.limits.connections may need {wanted}");
    }
}

fn bind(config: &Config) -> Result<Vec<TcpListener>> {
    let bind = |address: &SocketAddr| {
        listen::bind(*address).with_context(|| format!("gateway.listen: cannot listen on {address}"))
    };
    config.gateway.listen.iter().map(bind).collect()
}

fn sink(log: &AccessLog) -> Sink {
    match log {
        AccessLog::Stdout => Sink::Stdout,
        AccessLog::Off => Sink::Off,
        AccessLog::File(path) => Sink::File(path.clone()),
    }
}

/// The worker threads and the ways to them.
struct Workers {
    doors: Arc<[Door]>,
    threads: Vec<JoinHandle<()>>,
}

type Mailbox = mpsc::UnboundedReceiver<crate::board::Ending>;

fn start_workers(
    gateway: &Arc<Gateway>,
    mailboxes: Vec<Mailbox>,
    draining: &watch::Receiver<Drain>,
) -> Result<Workers> {
    let mut doors = Vec::new();
    let mut threads = Vec::new();
    for (number, (post, mailbox)) in gateway.board.posts().iter().zip(mailboxes).enumerate() {
        let (connections, accepted) = mpsc::unbounded_channel();
        doors.push(Door { post: post.clone(), connections });
        let (gateway, post, draining) = (gateway.clone(), post.clone(), draining.clone());
        let serve = move || {
            if let Err(error) = worker::run(gateway, post, accepted, mailbox, draining) {
                tracing::error!("worker {number}: {error}");
            }
        };
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(serve);
        threads.push(thread.context("no thread for a worker")?);
    }
    Ok(Workers { doors: doors.into(), threads })
}
