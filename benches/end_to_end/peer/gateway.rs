//! The gateway itself, with everything on.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::super::child::{Core, Process, pinned};
use super::super::site::{HOST, PARAMETER};
use super::{Ground, Started, free_address};

/// It answers both TLS and cleartext. Refusing strangers after so many tries would leave nothing of the workload that is
/// refused, and of 10,000 connections the clients' own make one too many.
pub(super) fn start(ground: &Ground<'_>) -> Result<Started> {
    let encrypted = free_address()?;
    let text = format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\nworkers = {workers}\n\n\
         [[gateway.tls]]\nlisten = \"{encrypted}\"\ncertificate = \"{certificate}\"\nprivate_key = \"{key}\"\n\n\
         [gateway.limits]\nauth_failures_per_minute = 0\nconnections = 16000\n\n\
         [gateway.access_log]\npath = \"access.log\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [tokens]\nquery_parameter = \"{PARAMETER}\"\n\n\
         [apps.shop.environments.production]\nhosts = [\"{HOST}\"]\nupstreams = [\"http://{app}\"]\n",
        workers = ground.plan.workers,
        certificate = ground.site.certificate().display(),
        key = ground.site.key().display(),
        app = ground.site.app,
    );
    ground.site.copy_store(ground.home)?;
    let (process, plain) = start_with(ground.home, ground.plan.core, &text)?;
    Ok(Started { process, plain, encrypted, log: ground.log("\"status\":") })
}

/// With a configuration of one's own; its store may be in `home` already.
pub(in super::super) fn start_with(
    home: &Path,
    core: Core,
    configuration: &str,
) -> Result<(Process, SocketAddr)> {
    let path = home.join("proxy.toml");
    std::fs::write(&path, configuration)?;
    let mut command = pinned(core, program());
    let mut process = Process::start(command.args(["serve", "--config"]).arg(path).stderr(Stdio::piped()))?;
    let stderr = process.child().stderr.take().context("no standard error")?;
    let address = Process::announced(stderr, |line| {
        line.strip_prefix("portcullis: gateway listens on http://")?.parse().ok()
    })?;
    Ok((process, address))
}

/// The one that was built with this benchmark, or another that is to be measured, or watched at work, in its place.
fn program() -> OsString {
    std::env::var_os("PORTCULLIS_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into())
}
