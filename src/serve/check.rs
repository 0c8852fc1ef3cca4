//! `portcullis check`: what `serve` would read and judge before its first side effect.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::board::Board;
use crate::config::{AccessLog, Config, GithubKeys, Loaded};
use crate::gateway::Settings;
use crate::gateway::memory::Most;
use crate::index::Index;
use crate::secrets::{KeyFile, Lack, Place, Safe};
use crate::store::{Inspected, SealedSecret, Store};

/// What is worth knowing about a configuration that would serve.
#[derive(Clone, Debug)]
pub struct Checked {
    pub warnings: Vec<String>,
    pub note: String,
}

/// Everything that `serve` would read and judge before its first side effect.
///
/// # Errors
/// When what the configuration names cannot be used.
pub fn check(loaded: &Loaded) -> Result<Checked> {
    let config = &loaded.config;
    for (key, path) in
        [("store.path", Some(&config.store.path)), ("admin.socket", Some(&config.admin.socket))]
    {
        folder_of(key, path)?;
    }
    if let AccessLog::File(path) = &config.gateway.access_log {
        folder_of("gateway.access_log.path", Some(path))?;
    }
    folder_of("secrets.key_file", Some(&config.secrets.key_file))?;
    let names: Vec<_> = loaded.graced.iter().map(|named| named.name.as_str()).collect();
    let stored = Store::inspect(&config.store.path, &names)?;
    let safe = Safe::open(KeyFile::find(&config.secrets.key_file, config.secrets.named));
    let safe = safe.context("secrets.key_file")?;
    let (mut warnings, mut note) = (Vec::new(), memory(config));
    if let Some(Inspected { secrets, living }) = stored {
        let all = secrets.iter().map(|stored| (&stored.secret, &stored.sealed));
        safe.judge(all).context("secrets.key_file")?;
        warnings = lacking(loaded, &safe, secrets);
        graced(loaded, &living.unwrap_or_default(), &mut warnings, &mut note);
    }
    // Upstreams are judged by certificates that the system may not have.
    Settings::new(config, &Index::new().0, &Board::new(0).0, None)?;
    Ok(Checked { warnings, note })
}

/// How many tokens live that are to live on for a while when they leak.
fn graced(loaded: &Loaded, living: &[u64], warnings: &mut Vec<String>, note: &mut String) {
    for (named, living) in loaded.graced.iter().zip(living) {
        let name = named.name.escape_debug();
        let tokens = if *living == 1 { "token that lives" } else { "tokens that live" };
        if *living == 0 {
            let doubt = format!("`leaks.grace` names \"{name}\", and no token lives that is called so");
            warnings.push(named.remark(doubt).to_string());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(note, "\nleaks.grace: \"{name}\" names {living} {tokens}");
        }
    }
}

/// What the store cannot give that the configuration needs. Access tokens are asked for by a gateway that runs.
fn lacking(loaded: &Loaded, safe: &Safe, stored: Vec<SealedSecret>) -> Vec<String> {
    for SealedSecret { secret, sealed } in stored {
        safe.put(secret, &sealed);
    }
    let now = jiff::Timestamp::now().as_millisecond();
    let lacking = loaded.lacking(|name, needed| {
        let place = needed.map(|(app, environment)| {
            let (product, environment) = (app.product.clone(), environment.name.clone());
            Place { app: app.name.clone(), product, environment }
        });
        let lack = safe.vault.lack(name, place.as_ref(), now).filter(|lack| *lack != Lack::NoToken);
        lack.map(Lack::told)
    });
    lacking.iter().map(ToString::to_string).collect()
}

fn memory(config: &Config) -> String {
    let limits = &config.gateway.limits;
    let Most { http1, http2, reports } = Most::of(limits);
    let all = |each: u64| size(each.saturating_mul(limits.connections as u64));
    let more = match config.leaks.github_keys {
        GithubKeys::Off => String::new(),
        GithubKeys::Url(_) | GithubKeys::File(_) => {
            format!("; reports of leaks hold at most {} more", size(reports))
        }
    };
    format!(
        "memory: if each of gateway.limits.connections = {} fills all its buffers, they hold {} over HTTP/1.1 ({} each) \
         or {} over HTTP/2 ({} each){more}",
        limits.connections,
        all(http1),
        size(http1),
        all(http2),
        size(http2)
    )
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    // Three digits, as far as they go.
    let decimals = usize::from(size < 100.0 && size.fract() > 0.0);
    format!("{size:.decimals$} {}", UNITS[unit])
}

fn folder_of(key: &str, path: Option<&PathBuf>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { Err(anyhow!("{key}: there is no folder {}", folder.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (bytes, text) in [
            (65_536, "64 KiB"),
            (1_572_864, "1.5 MiB"),
            (2_621_440_000, "2.4 GiB"),
            (262_144_000_000, "244 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
