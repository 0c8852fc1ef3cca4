//! `portcullis check`: what `serve` would read and judge before its first side effect.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::board::Board;
use crate::config::{AccessLog, Loaded};
use crate::gateway::Settings;
use crate::index::Index;
use crate::store::Store;

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
    // Upstreams are judged by certificates that the system may not have.
    Settings::new(config, &Index::new().0, &Board::new(0).0, None)?;
    Ok(())
}

fn folder_of(key: &str, path: Option<&PathBuf>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { Err(anyhow!("{key}: there is no folder {}", folder.display())) }
}
