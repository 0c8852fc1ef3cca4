//! The composition root: builds everything from a configuration, starts it, and drains it.
//!
//! Phases: bind what may be taken, open the store, load the index, start the admin side, start the workers, accept.
//! A failure in one of them ends the start; nothing is left behind.

mod administration;
mod certificates;
mod check;
mod inherited;
mod listeners;
mod process;
mod questions;
mod reload;
mod sealing;
mod signals;
mod workers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use self::administration::{Administration, Doors};
use self::inherited::Inherited;
use self::listeners::Listeners;
use self::reload::Reloader;
use self::signals::Signals;
use self::workers::Workers;
use crate::admin::{ReloadDoor, ReloadRequest, Site, Sources};
use crate::board::Board;
use crate::config::{self, AccessLog, Config, Loaded};
use crate::control::{Control, Needed};
use crate::gateway::capacity::Capacity;
use crate::gateway::throttle::Throttle;
use crate::gateway::upstream::supervisor;
use crate::gateway::{Drain, Gateway, InForce, Settings, listen};
use crate::index::Index;
use crate::leaks::github::Desk;
use crate::leaks::{notify, warnings};
use crate::secrets::{KeyFile, Safe, keeper};
use crate::store::{Store, Use};
use crate::sync::Follower;
use crate::telemetry::{self, LogThread, Output, Sink};
use crate::tls::{Resumption, Terminators};

pub use check::{Checked, check};

/// How long the admin side and the follower may take to finish once nothing more can come.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long the access log may take for the lines that it was handed.
const LAST_LINES: Duration = Duration::from_secs(5);
/// Reloads that may wait for the one under way.
const RELOADS: usize = 16;

/// A running gateway with its admin side.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    config: Arc<ArcSwap<Config>>,
    board: Arc<Board>,
    store: Store,
    addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    admin_socket: PathBuf,
    gateway: Arc<Gateway>,
    drain: watch::Sender<Drain>,
    reloads: ReloadDoor,
    reloading: tokio::task::JoinHandle<Reloader>,
    stop_reloads: watch::Sender<bool>,
    /// The reloader holds it until the drain.
    administration: Option<Administration>,
    /// The follower, and what keeps the house: the admin side's last answers still wait for them.
    rest: Vec<Task>,
    stop_rest: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    log: LogThread,
}

type Task = tokio::task::JoinHandle<()>;

impl Server {
    /// Starts everything; returns once requests are served.
    ///
    /// # Errors
    /// When an address, the store, the log or a thread cannot be had; the message names which.
    pub fn start(loaded: Loaded) -> Result<Self> {
        telemetry::start_own_log();
        let mut config = loaded.config.clone();
        process::prepare(&config);
        let mut inherited = Inherited::take();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("admin")
            .enable_all()
            .build()
            .context("no threads for the admin side")?;
        // Listeners belong to the runtime that accepts.
        let within = runtime.enter();
        let resumption = Resumption::new().context("TLS")?;
        let mut listeners = Listeners::default();
        let plan = listeners.plan(&config.gateway, &mut inherited, &resumption)?;
        plan.name_ports(&mut config.gateway);
        // The store first: its lock settles whose the admin socket is, should two start at once.
        let store = Store::open(&config.store.path)?;
        let safe = open_safe(&config.secrets, &store)?;
        let doors = Doors::open(&config.admin, &mut inherited, &resumption)?;
        // In the place of port 0, so that nobody is sent there.
        config.admin.listen = doors.address();
        inherited.warn_of_rest();
        let output = Output::open(sink(&config.gateway.access_log)).context("gateway.access_log.path")?;
        let (log, log_thread) =
            telemetry::AccessLog::start(output).context("no thread for the access log")?;

        let (index, writer) = Index::with(store.hindsight());
        let (board, mailboxes) = Board::new(config.gateway.workers);
        let told = board.clone();
        store.uses_told_by(move |of| {
            told.uses(of).into_iter().map(|used| Use { of, at: used.at, from: used.client }).collect()
        });
        let follower = Follower::load(&store, writer, board.clone(), safe.clone());
        // Before anything is decided by it, or changed in it; and where it is damaged, that says more than what reading
        // it came upon.
        store.sound()?;
        let unread = || format!("the store `{}` cannot be loaded", config.store.path.display());
        let follower = follower.with_context(unread)?;
        let mut settings = Settings::new(&config, &index, &board, None)?;
        sealing::provide(&mut settings, &config)?;
        let settings = InForce::new(settings);
        let terminators = Arc::new(Terminators::default());
        let sources = Sources {
            board: board.clone(),
            index: index.clone(),
            log: log.counts(),
            store: store.operations(),
            committed: store.revisions(),
            terminators: terminators.clone(),
        };
        let gateway = Arc::new(Gateway {
            index: index.clone(),
            board: board.clone(),
            settings,
            vault: safe.vault.clone(),
            log,
            throttle: Throttle::default(),
            since: Instant::now(),
        });
        let connections = config.gateway.limits.connections;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let control = Control::new(store.clone(), index.reached(), config.clone(), safe.clone());
        warn_of_needs(&control);

        let (drain, draining) = watch::channel(Drain::No);
        let (stop_rest, rest_stopping) = watch::channel(false);
        let (wrote_uses, uses_written) = watch::channel(());
        let Workers { doors: ways, threads: workers } = Workers::start(&gateway, mailboxes, &draining)?;
        let capacity = Arc::new(Capacity::new(connections));
        let ways = listen::Workers { doors: ways, capacity, board: board.clone() };
        let (releases, questions) = (board.releases.attend(), board.questions.attend());
        let desk = Arc::new(Desk::new(control.clone()));
        let rest = vec![
            runtime.spawn({
                let following = follower.run(rest_stopping.clone());
                async move {
                    following.await;
                    drop(wrote_uses);
                }
            }),
            runtime.spawn(control.clone().keep_house(rest_stopping.clone())),
            runtime.spawn(keeper::run(safe.vault, rest_stopping.clone())),
            runtime.spawn(notify::run(control.clone(), rest_stopping.clone())),
            runtime.spawn(warnings::run(control.clone(), board.clone(), uses_written)),
            runtime.spawn(questions::answer(control.clone(), desk, questions, rest_stopping.clone())),
            runtime.spawn(supervisor::run(gateway.clone(), releases, rest_stopping)),
        ];
        let (reloads, wishes) = mpsc::channel(RELOADS);
        let site = Site::new(control, sources, reloads.clone());
        let administration = Administration::start(doors, site);
        listeners.apply(plan, &ways);
        administration.announce();
        let (addresses, admin_address) = (listeners.addresses(), administration.address());
        let admin_socket = administration.socket().to_owned();
        let reloader = Reloader {
            loaded,
            config: config.clone(),
            gateway: gateway.clone(),
            listeners,
            workers: ways,
            administration,
            terminators: terminators.clone(),
            inherited,
            resumption,
        };
        reloader.note_terminators();
        runtime.spawn(certificates::follow(terminators));
        let (stop_reloads, stopping) = watch::channel(false);
        let reloading = runtime.spawn(reloader.run(wishes, stopping));
        drop(within);
        Ok(Self {
            runtime,
            config,
            board,
            store,
            addresses,
            admin_address,
            admin_socket,
            gateway,
            drain,
            reloads,
            reloading,
            stop_reloads,
            administration: None,
            rest,
            stop_rest,
            workers,
            log: log_thread,
        })
    }

    /// Where the gateway listened when it started, in the configuration's order, with the ports that were given.
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

    /// Serves until SIGINT or SIGTERM, then drains; a second signal ends at once. SIGHUP reopens the access log and
    /// reads the configuration again.
    ///
    /// # Errors
    /// When signals cannot be waited for.
    pub fn run_until_signal(mut self) -> Result<()> {
        let runtime = self.runtime.handle().clone();
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            process::report(NotifyState::Ready);
            signals
                .until_end(|| {
                    self.gateway.log.reopen();
                    // Where so many wait already, the last of them will see the file as it is now.
                    let _ = self.reloads.try_send(ReloadRequest::default());
                })
                .await;
            process::report(NotifyState::Stopping);
            tokio::select! {
                () = self.drain() => {}
                () = signals.until_end(|| {}) => {}
            }
            anyhow::Ok(())
        })?;
        self.end();
        Ok(())
    }

    /// Takes nothing new any more, and waits for what runs.
    async fn drain(&mut self) {
        self.board.draining.store(true, Ordering::Release);
        self.drain.send_replace(Drain::Begun);
        tracing::info!("draining");
        self.stop_reloads.send_replace(true);
        let Ok(Reloader { listeners, administration, .. }) = (&mut self.reloading).await else { return };
        self.administration = Some(administration);
        let config = self.config.load().gateway.clone();
        tokio::time::sleep(config.drain_delay).await;
        let deadline = Instant::now() + config.drain_timeout;
        let _ = timeout_at(deadline, listeners.close()).await;
        while self.board.connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends what still runs, in an order that loses no line and no last use.
    fn end(self) {
        let open = self.board.connections();
        if open > 0 {
            tracing::warn!("{open} connections were still open at the end of the drain");
        }
        self.drain.send_replace(Drain::Over);
        for worker in self.workers {
            let _ = worker.join();
        }
        self.runtime.block_on(async {
            let last_words = async {
                if let Some(administration) = self.administration {
                    administration.close().await;
                }
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

/// The keys, and whether they open everything that is stored.
fn open_safe(config: &config::Secrets, store: &Store) -> Result<Safe> {
    let file = KeyFile::find(&config.key_file, config.named);
    // Of two keys one is about to go, and not on the word of a store that may be damaged.
    if !matches!(file.read_next(), Ok(None)) {
        store.sound()?;
    }
    let safe = Safe::open(file).context("secrets.key_file")?;
    let stored = store.feed().secrets();
    if stored.is_err() {
        store.sound()?;
    }
    let (stored, sealed_under) = stored?;
    let all = stored.iter().map(|stored| (&stored.secret, &stored.sealed));
    safe.unlock(sealed_under.as_deref(), all).context("secrets.key_file")?;
    Ok(safe)
}

/// Tells the operator which requests will be refused for want of a secret.
fn warn_of_needs(control: &Control) {
    // Access tokens have not been asked for yet.
    let lacking = control.needs().unmet().into_iter().filter(|needed| needed.reason != "no_token");
    for Needed { app, environment, secret, told, .. } in lacking {
        tracing::warn!("requests to {app} in {environment} are refused: $Secret{{{secret}}} {told}");
    }
}

fn sink(log: &AccessLog) -> Sink {
    match log {
        AccessLog::Stdout => Sink::Stdout,
        AccessLog::Off => Sink::Off,
        AccessLog::File(path) => Sink::File(path.clone()),
    }
}
