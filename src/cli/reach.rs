//! Which gateway a command speaks to, and the configuration in reach.

use std::io;
use std::path::{Path, PathBuf};

use super::client::Client;
use super::failure::Failure;
use super::screen::Screen;
use crate::config::{self, LoadError, Loaded};
use crate::credential::{Digest, Kind};

const CONFIG: &str = "proxy.toml";

/// Where a management command finds the admin side.
// No `Debug`: it holds a management key.
#[derive(clap::Args)]
pub(super) struct Reach {
    /// The configuration file
    #[arg(
        long,
        global = true,
        env = "PORTCULLIS_CONFIG",
        value_name = "FILE",
        default_value = CONFIG,
        help_heading = "Reach"
    )]
    pub(super) config: PathBuf,
    /// An admin address such as https://gateway.example.com:9180, instead of the socket that the configuration names
    #[arg(long, global = true, env = "PORTCULLIS_ADMIN", value_name = "URL", help_heading = "Reach")]
    pub(super) admin: Option<String>,
    /// The management key for --admin; as PORTCULLIS_KEY it stays out of the process list
    #[arg(
        long,
        global = true,
        env = "PORTCULLIS_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Reach"
    )]
    pub(super) key: Option<String>,
    /// A PEM file with the authorities to trust for an https:// --admin, instead of this machine's
    #[arg(long, global = true, env = "PORTCULLIS_ADMIN_CA", value_name = "FILE", help_heading = "Reach")]
    pub(super) ca: Option<PathBuf>,
}

impl Reach {
    pub(super) fn client(&self, screen: &Screen) -> Result<Client, Failure> {
        let Some(url) = self.admin.as_deref().filter(|url| !url.is_empty()) else {
            let config = load(&self.config)?.config;
            return Ok(Client::socket(&config.admin.socket)?);
        };
        let key = self.key.as_deref().filter(|key| !key.is_empty()).ok_or_else(|| {
            Failure::Usage(
                "--admin needs a management key: give it with --key or PORTCULLIS_KEY; `portcullis key create`, \
                 run on the gateway's own machine, makes one"
                    .to_owned(),
            )
        })?;
        let client = Client::url(url, key, self.ca.as_deref())?;
        if client.is_exposed() {
            screen.note(&format!(
                "warning: the management key travels to {} in the clear; use https://, an SSH tunnel or the socket",
                client.place()
            ));
        }
        Ok(client)
    }

    /// The same for a command that can do without: why there is none, unless one was named that cannot be had.
    pub(super) fn client_if_any(&self, screen: &Screen) -> Result<Result<Client, String>, Failure> {
        let remote = self.admin.as_deref().is_some_and(|url| !url.is_empty());
        match self.client(screen) {
            Err(failure) if !remote && self.config == Path::new(CONFIG) => {
                let why = failure.message().unwrap_or_default();
                Ok(Err(why.trim_start_matches("error: ").to_owned()))
            }
            client => client.map(Ok),
        }
    }

    /// The digest of the management key that is used, if one is.
    pub(super) fn key_digest(&self) -> Option<Digest> {
        Digest::of(Kind::Key, self.key.as_deref()?.as_bytes())
    }

    /// What `--expires` may be, as far as can be known from here.
    pub(super) fn expiry_choices(&self) -> String {
        let remote = self.admin.as_deref().is_some_and(|url| !url.is_empty());
        let tokens = if remote { None } else { load(&self.config).ok().map(|loaded| loaded.config.tokens) };
        let (lifetimes, never) = tokens.map_or_else(
            || ("a lifetime such as 7d".to_owned(), ", or `never` where it is allowed"),
            |tokens| {
                let lifetimes: Vec<_> = tokens.lifetimes.iter().map(ToString::to_string).collect();
                (
                    format!("one of {}", lifetimes.join(", ")),
                    if tokens.allow_never { ", or `never`" } else { "" },
                )
            },
        );
        format!(
            "{lifetimes}, a date such as 2026-12-31 (the end of that day, UTC), \
             an RFC 3339 time such as 2026-12-31T18:00:00Z{never}"
        )
    }
}

/// Loads the configuration at `path`, with the overrides of this process's environment.
pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    config::load(path, variables()).map_err(failure)
}

/// The same with all that serving needs.
pub(super) fn load_to_serve(path: &Path) -> Result<Loaded, Failure> {
    config::load_to_serve(path, variables()).map_err(failure)
}

/// Names that are not UTF-8 are none of ours; a value that is not is judged as what is left of it.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let here = if path.is_relative() { " here" } else { "" };
            Failure::Usage(format!(
                "there is no {}{here}: name the configuration with --config FILE or PORTCULLIS_CONFIG \
                 (`portcullis demo` needs none)",
                path.display()
            ))
        }
        error @ LoadError::Unreadable { .. } => Failure::Usage(error.to_string()),
        error @ LoadError::Invalid(_) => Failure::Configuration(error.to_string()),
    }
}
