//! Reading the configuration again while everything runs: either all of it comes into force, or nothing does.

use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, watch};

use super::administration::{self, Administration};
use super::certificates;
use super::inherited::Inherited;
use super::listeners::{self, Listeners};
use super::{process, sealing, sink};
use crate::admin::{ReloadFault, ReloadRequest, Reloaded};
use crate::board::Affected;
use crate::config::{Config, LoadError, Loaded};
use crate::gateway::listen::Workers;
use crate::gateway::{Gateway, Settings};
use crate::telemetry::Output;
use crate::tls::{Resumption, Terminators};

/// Holds everything that a reload changes. There is one, so one reload is done after another.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) loaded: Loaded,
    /// What is in force, as the admin side knows it.
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) listeners: Listeners,
    pub(super) workers: Workers,
    pub(super) administration: Administration,
    /// Of all listeners, the admin side's too.
    pub(super) terminators: Arc<Terminators>,
    pub(super) inherited: Inherited,
    pub(super) resumption: Resumption,
}

/// Everything that a new configuration needs, got; nothing of it is in force yet.
struct Plan {
    loaded: Loaded,
    config: Config,
    settings: Settings,
    listeners: listeners::Plan,
    administration: administration::Plan,
    inherited: Inherited,
    /// `None`: the access log stays where it is.
    log: Option<Output>,
    reloaded: Reloaded,
}

impl Reloader {
    /// Does what is asked until `stop` is true or its sender is gone; gives back what it held.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<ReloadRequest>,
        mut stop: watch::Receiver<bool>,
    ) -> Self {
        loop {
            let request = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return self,
                request = requests.recv() => request,
            };
            let Some(request) = request else { return self };
            process::report(NotifyState::Reloading);
            let result = self.reload().await;
            process::report(NotifyState::Ready);
            tell(&result);
            if let Some(answer) = request.answer {
                // Whoever asked may have left.
                let _ = answer.send(result);
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, ReloadFault> {
        let before = self.loaded.clone();
        let read = tokio::task::spawn_blocking(move || before.again()).await;
        let loaded = match read.map_err(|error| ReloadFault::Impossible(error.to_string()))? {
            Ok(loaded) => loaded,
            Err(LoadError::Invalid(mistakes)) => return Err(ReloadFault::Invalid(mistakes)),
            Err(error @ LoadError::Unreadable { .. }) => {
                return Err(ReloadFault::Impossible(error.to_string()));
            }
        };
        let plan = self.plan(loaded).map_err(|error| ReloadFault::Impossible(format!("{error:#}")))?;
        Ok(self.apply(plan).await)
    }

    fn plan(&self, loaded: Loaded) -> Result<Plan> {
        let now = self.config.load_full();
        let mut config = loaded.config.clone();
        let mut reloaded = Reloaded {
            changed: loaded.changes(&self.loaded),
            restart_needed: keep_what_cannot_change(&mut config, &now),
            warnings: loaded.warnings.clone(),
        };
        let log = if config.gateway.access_log == now.gateway.access_log {
            None
        } else {
            let output = Output::open(sink(&config.gateway.access_log));
            Some(output.context("gateway.access_log.path")?)
        };
        let mut settings = Settings::new(
            &config,
            &self.gateway.index,
            &self.gateway.board,
            Some(&self.gateway.settings.load()),
        )?;
        sealing::provide(&mut settings, &config)?;
        // A plan that comes to nothing must not have used them up.
        let mut inherited = self.inherited.copy().context("inherited sockets")?;
        let resumption = &self.resumption;
        let listeners = self.listeners.plan(&config.gateway, &mut inherited, resumption)?;
        let administration = self.administration.plan(&config.admin, &mut inherited, resumption)?;
        listeners.name_ports(&mut config.gateway);
        config.admin.listen = administration.address();
        reloaded.changed.retain(|key| !reloaded.restart_needed.contains(key));
        let terminators = listeners.terminators().chain(administration.terminator());
        reloaded.changed.extend(certificates::replaced(&self.terminators.load(), terminators));
        Ok(Plan { loaded, config, settings, listeners, administration, inherited, log, reloaded })
    }

    async fn apply(&mut self, plan: Plan) -> Reloaded {
        let Plan { loaded, config, settings, listeners, administration, inherited, log, reloaded } = plan;
        // Addresses last: whoever comes to a new one finds what it is for.
        self.gateway.settings.replace(settings, &self.gateway.board);
        self.workers.capacity.resize(config.gateway.limits.connections);
        self.config.store(Arc::new(config));
        // A host may be gone, or closed: what it let in before goes as well.
        let everything = Affected { all: Some(self.gateway.index.revision()), ..Affected::default() };
        let _ = self.gateway.board.end(everything).await;
        if let Some(log) = log {
            self.gateway.log.switch(log);
        }
        self.listeners.apply(listeners, &self.workers);
        self.administration.apply(administration);
        self.inherited = inherited;
        let gateway = self.listeners.addresses();
        self.inherited.release_others(&[&gateway[..], &[self.administration.address()]].concat());
        self.note_terminators();
        // What needs a restart stays different from the file, and is named until there was one.
        self.loaded = loaded;
        reloaded
    }

    /// Has the files of all certificates in use followed.
    pub(super) fn note_terminators(&self) {
        let all = self.listeners.terminators().chain(self.administration.terminator());
        self.terminators.store(Arc::new(all.collect()));
    }
}

/// Puts back what only a restart can change; names it.
fn keep_what_cannot_change(config: &mut Config, now: &Config) -> Vec<String> {
    let mut kept = Vec::new();
    if config.gateway.workers != now.gateway.workers {
        config.gateway.workers = now.gateway.workers;
        kept.push("gateway.workers".to_owned());
    }
    if config.store.path != now.store.path {
        config.store.path.clone_from(&now.store.path);
        kept.push("store.path".to_owned());
    }
    if config.secrets.key_file != now.secrets.key_file {
        config.secrets = now.secrets.clone();
        kept.push("secrets.key_file".to_owned());
    }
    if config.admin.socket != now.admin.socket {
        config.admin.socket.clone_from(&now.admin.socket);
        kept.push("admin.socket".to_owned());
    }
    kept
}

/// Tells the operator what came of a reload.
fn tell(result: &Result<Reloaded, ReloadFault>) {
    match result {
        Ok(Reloaded { changed, restart_needed, warnings }) => {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
            tracing::info!("the configuration was read again; changed: {changed}");
            if !restart_needed.is_empty() {
                tracing::warn!("only a restart changes {}", restart_needed.join(", "));
            }
        }
        Err(fault) => {
            if let ReloadFault::Invalid(mistakes) = fault {
                for mistake in mistakes {
                    tracing::error!("{mistake}");
                }
            }
            tracing::error!("reload: {fault}");
        }
    }
}
