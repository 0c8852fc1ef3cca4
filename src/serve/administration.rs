//! The admin side's two listeners: the operator's socket, which stays, and the TCP address, which a reload may change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::inherited::Inherited;
use crate::admin::{self, BindError, Front, OperatorSocket, Site};
use crate::config;
use crate::tls::{Choice, HTTP1, Resumption, Terminator};

/// The admin side, open to callers.
#[derive(Debug)]
pub(super) struct Administration {
    site: Site,
    socket: PathBuf,
    operator: Background,
    street: Street,
    /// Addresses that were given up, with answers under way.
    leaving: Vec<Background>,
}

/// Both listeners before anybody is served.
#[derive(Debug)]
pub(super) struct Doors {
    operator: OperatorSocket,
    bound: Bound,
    front: Front,
}

/// What the TCP address is to become. Everything that can fail has been done; nothing that anybody notices.
#[derive(Debug)]
pub(super) struct Plan {
    /// `None`: the one that is there stays.
    bound: Option<Bound>,
    address: SocketAddr,
    front: Front,
}

#[derive(Debug)]
struct Bound {
    /// As the configuration has it, with port 0 where any will do.
    configured: SocketAddr,
    address: SocketAddr,
    listener: TcpListener,
}

#[derive(Debug)]
struct Street {
    configured: SocketAddr,
    address: SocketAddr,
    front: Arc<ArcSwap<Front>>,
    serving: Background,
}

/// A task that ends when it is told to.
#[derive(Debug)]
struct Background {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Doors {
    /// Must be called within the runtime that is to serve.
    pub(super) fn open(
        config: &config::Admin,
        inherited: &mut Inherited,
        resumption: &Resumption,
    ) -> Result<Self> {
        let bound = Bound::new(config.listen, inherited)?;
        let front = front(config, bound.address, resumption)?;
        let operator = match inherited.unix(&config.socket) {
            Some(listener) => OperatorSocket::adopt(listener, &config.socket)?,
            None => OperatorSocket::bind(&config.socket)?,
        };
        Ok(Self { operator, bound, front })
    }

    /// As it was given.
    pub(super) fn address(&self) -> SocketAddr {
        self.bound.address
    }
}

impl Plan {
    /// As it is given, or stays.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn terminator(&self) -> Option<&Arc<Terminator>> {
        self.front.terminator()
    }
}

impl Administration {
    /// Must be called within the runtime that is to serve.
    pub(super) fn start(doors: Doors, site: Site) -> Self {
        let Doors { operator, bound, front } = doors;
        let socket = operator.path().to_owned();
        let operator = Background::start(|stop| site.clone().serve_operator(operator, stop));
        let street = Street::open(&site, bound, front);
        Self { site, socket, operator, street, leaving: Vec::new() }
    }

    pub(super) fn plan(
        &self,
        config: &config::Admin,
        inherited: &mut Inherited,
        resumption: &Resumption,
    ) -> Result<Plan> {
        let stays = config.listen == self.street.configured;
        let bound = if stays { None } else { Some(Bound::new(config.listen, inherited)?) };
        let address = bound.as_ref().map_or(self.street.address, |bound| bound.address);
        Ok(Plan { bound, address, front: front(config, address, resumption)? })
    }

    pub(super) fn apply(&mut self, plan: Plan) {
        match plan.bound {
            None => self.street.front.store(Arc::new(plan.front)),
            Some(bound) => {
                let street = Street::open(&self.site, bound, plan.front);
                let before = std::mem::replace(&mut self.street, street);
                before.serving.stop.send_replace(true);
                self.leaving.retain(|leaving| !leaving.task.is_finished());
                self.leaving.push(before.serving);
                self.announce_address();
            }
        }
    }

    /// Tells the user where it listens.
    pub(super) fn announce(&self) {
        self.announce_address();
        eprintln!("portcullis: admin listens on {}", self.socket.display());
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.street.address
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn terminator(&self) -> Option<Arc<Terminator>> {
        self.street.front.load().terminator().cloned()
    }

    /// Takes no more calls, and lets answers under way finish.
    pub(super) async fn close(self) {
        let all: Vec<_> = self.leaving.into_iter().chain([self.operator, self.street.serving]).collect();
        for background in &all {
            background.stop.send_replace(true);
        }
        for background in all {
            let _ = background.task.await;
        }
    }

    fn announce_address(&self) {
        let scheme = if self.terminator().is_some() { "https" } else { "http" };
        eprintln!("portcullis: admin listens on {scheme}://{}", self.street.address);
    }
}

fn front(config: &config::Admin, address: SocketAddr, resumption: &Resumption) -> Result<Front> {
    let terminator = |pair| {
        let choice = Choice::read(std::slice::from_ref(pair))?;
        anyhow::Ok(Arc::new(Terminator::new(address, choice, resumption, &[HTTP1])?))
    };
    let terminator = config.tls.as_ref().map(terminator).transpose().context("admin.tls")?;
    Ok(Front::new(address, &config.hosts, terminator))
}

impl Bound {
    fn new(configured: SocketAddr, inherited: &mut Inherited) -> Result<Self, BindError> {
        let failed = |cause| BindError::Tcp { address: configured, cause };
        let listener = match inherited.tcp(configured).map_err(failed)? {
            Some(listener) => admin::adopt(listener).map_err(failed)?,
            None => admin::bind(configured)?,
        };
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { configured, address, listener })
    }
}

impl Street {
    fn open(site: &Site, bound: Bound, front: Front) -> Self {
        let Bound { configured, address, listener } = bound;
        let front = Arc::new(ArcSwap::from_pointee(front));
        let serving = Background::start(|stop| site.clone().serve_tcp(listener, front.clone(), stop));
        Self { configured, address, front, serving }
    }
}

impl Background {
    fn start<F>(task: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        Self { task: tokio::spawn(task(stopping)), stop }
    }
}
