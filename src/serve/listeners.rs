//! The gateway's listeners, kept by address: a reload touches only those that it is about.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::inherited::Inherited;
use crate::config;
use crate::gateway::listen::{self, Task, Terminates, Workers};
use crate::gateway::tls::PROTOCOLS;
use crate::tls::{Choice, Pair, Resumption, Terminator};

/// The open listeners, in the configuration's order.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: Vec<Listener>,
    /// Those that were given up and have yet to hand over what they accepted.
    leaving: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Listener {
    /// As the configuration has it, with port 0 where any will do.
    configured: SocketAddr,
    address: SocketAddr,
    inherited: bool,
    terminates: Arc<Terminates>,
    task: watch::Sender<Task>,
    accepting: JoinHandle<()>,
}

/// What the listeners are to become. Everything that can fail has been done; nothing that anybody notices.
#[derive(Debug)]
pub(super) struct Plan(Vec<Step>);

#[derive(Debug)]
struct Step {
    configured: SocketAddr,
    /// With the port that was given.
    address: SocketAddr,
    /// The listener that stays, by its place among the open ones.
    kept: Option<usize>,
    bound: Option<Bound>,
    /// `None`: plain HTTP.
    terminator: Option<Arc<Terminator>>,
}

#[derive(Debug)]
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    inherited: bool,
}

impl Plan {
    /// Puts the ports that were given in the place of port 0, so that nobody is sent there.
    pub(super) fn name_ports(&self, config: &mut config::Gateway) {
        let plain = self.0.iter().filter(|step| step.terminator.is_none());
        config.listen = plain.map(|step| step.address).collect();
        for entry in &mut config.tls {
            let mut encrypted = self.0.iter().filter(|step| step.terminator.is_some());
            if let Some(step) = encrypted.find(|step| step.configured == entry.listen) {
                entry.listen = step.address;
            }
        }
    }

    pub(super) fn terminators(&self) -> impl Iterator<Item = &Arc<Terminator>> {
        self.0.iter().filter_map(|step| step.terminator.as_ref())
    }
}

impl Listeners {
    /// Prepares what `config` wants: binds what is new, reads all certificates. Must be called within the runtime that
    /// is to accept.
    pub(super) fn plan(
        &self,
        config: &config::Gateway,
        inherited: &mut Inherited,
        resumption: &Resumption,
    ) -> Result<Plan> {
        let mut steps: Vec<Step> = Vec::new();
        for (configured, pairs) in wanted(config) {
            let taken = |place: usize| steps.iter().any(|step| step.kept == Some(place));
            let encrypted = pairs.is_some();
            let kept = (0..self.open.len()).find(|place| {
                self.open.get(*place).is_some_and(|listener| listener.is(configured, encrypted))
                    && !taken(*place)
            });
            let key = if encrypted { "gateway.tls.listen" } else { "gateway.listen" };
            let bound = match kept {
                Some(_) => None,
                None => Some(
                    Bound::new(configured, inherited)
                        .with_context(|| format!("{key}: cannot listen on {configured}"))?,
                ),
            };
            let open = kept.and_then(|place| self.open.get(place)).map(|listener| listener.address);
            let address = bound.as_ref().map(|bound| bound.address).or(open).unwrap_or(configured);
            let terminator = pairs
                .map(|pairs| terminator(address, &pairs, resumption))
                .transpose()
                .context("gateway.tls")?;
            steps.push(Step { configured, address, kept, bound, terminator });
        }
        Ok(Plan(steps))
    }

    /// Makes it so. Connections of listeners that go live on; addresses that came are told to the user.
    pub(super) fn apply(&mut self, plan: Plan, workers: &Workers) {
        let mut before: Vec<Option<Listener>> =
            std::mem::take(&mut self.open).into_iter().map(Some).collect();
        for step in plan.0 {
            let kept = step.kept.and_then(|place| before.get_mut(place)?.take());
            match (kept, step.bound) {
                (Some(kept), _) => {
                    kept.terminates.store(step.terminator);
                    self.open.push(kept);
                }
                (None, Some(bound)) => {
                    let listener = bound.open(step.configured, step.terminator, workers);
                    let scheme = if listener.is_encrypted() { "https" } else { "http" };
                    eprintln!("portcullis: gateway listens on {scheme}://{}", listener.address);
                    self.open.push(listener);
                }
                // Every step has one or the other.
                (None, None) => {}
            }
        }
        self.leaving.retain(|leaving| !leaving.is_finished());
        self.leaving.extend(before.into_iter().flatten().map(Listener::leave));
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|listener| listener.address).collect()
    }

    pub(super) fn terminators(&self) -> impl Iterator<Item = Arc<Terminator>> {
        self.open.iter().filter_map(|listener| listener.terminates.load_full())
    }

    /// Stops accepting. Returns when what was accepted is in the workers' hands.
    pub(super) async fn close(self) {
        let leaving: Vec<_> = self.open.into_iter().map(Listener::leave).collect();
        for task in self.leaving.into_iter().chain(leaving) {
            let _ = task.await;
        }
    }
}

fn terminator(address: SocketAddr, pairs: &[Pair], resumption: &Resumption) -> Result<Arc<Terminator>> {
    Ok(Arc::new(Terminator::new(address, Choice::read(pairs)?, resumption, PROTOCOLS)?))
}

/// Each address once: plain ones, then encrypted ones with their certificates.
fn wanted(config: &config::Gateway) -> Vec<(SocketAddr, Option<Vec<Pair>>)> {
    let mut wanted: Vec<_> = config.listen.iter().map(|address| (*address, None)).collect();
    for entry in &config.tls {
        let shared = wanted
            .iter_mut()
            .find_map(|(address, pairs)| pairs.as_mut().filter(|_| *address == entry.listen));
        match shared {
            Some(pairs) => Vec::push(pairs, entry.pair.clone()),
            None => wanted.push((entry.listen, Some(vec![entry.pair.clone()]))),
        }
    }
    wanted
}

impl Listener {
    /// Whether it is the one that is wanted. Any free port is another one each time, so there the kind decides too.
    fn is(&self, configured: SocketAddr, encrypted: bool) -> bool {
        self.configured == configured && (configured.port() != 0 || self.is_encrypted() == encrypted)
    }

    fn is_encrypted(&self) -> bool {
        self.terminates.load().is_some()
    }

    fn leave(self) -> JoinHandle<()> {
        // What waits in an inherited socket is for whoever has it next.
        self.task.send_replace(if self.inherited { Task::HandOn } else { Task::Leave });
        self.accepting
    }
}

impl Bound {
    fn new(configured: SocketAddr, inherited: &mut Inherited) -> std::io::Result<Self> {
        let given = inherited.tcp(configured)?;
        let is_inherited = given.is_some();
        let listener = match given {
            Some(listener) => {
                listen::adopt(&listener)?;
                listener
            }
            None => listen::bind(configured)?,
        };
        let address = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address, inherited: is_inherited })
    }

    fn open(
        self,
        configured: SocketAddr,
        terminator: Option<Arc<Terminator>>,
        workers: &Workers,
    ) -> Listener {
        let terminates = Arc::new(Terminates::new(terminator));
        let (task, told) = watch::channel(Task::Accept);
        let accepting = listen::accept(self.listener, terminates.clone(), workers.clone(), told);
        Listener {
            configured,
            address: self.address,
            inherited: self.inherited,
            terminates,
            task,
            accepting: tokio::spawn(accepting),
        }
    }
}
