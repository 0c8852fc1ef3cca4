//! The ground on which all proxies stand: a folder, the app, and the tokens that open it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use jiff::Timestamp;
use portcullis::credential::{Kind, Plaintext};
use portcullis::model::{AppName, EnvironmentName, Label, OnPublish, Rules, Text, TokenApp};
use portcullis::store::{Act, Limits, NewToken, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::child::{Core, Process, pinned};

/// Tokens that every proxy knows.
const TOKENS: usize = 10_000;
/// The app's host.
pub(super) const HOST: &str = "shop.example.com";

/// What the proxies have in common.
pub(super) struct Site {
    folder: TempDir,
    pub app: SocketAddr,
    pub tokens: Vec<Plaintext>,
    _app: Process,
}

impl Site {
    pub(super) fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
        let tokens = (0..TOKENS).map(|_| Plaintext::generate(Kind::Token)).collect::<Result<Vec<_>, _>>()?;
        let (process, app) = own(Core::Others, &["app"])?;
        Ok(Self { folder, app, tokens, _app: process })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder().join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// The token that requests are made with: one in the middle of the others.
    pub(super) fn token(&self) -> &Plaintext {
        &self.tokens[TOKENS / 2]
    }

    /// Stores the tokens where the gateway will read them.
    pub(super) fn fill_store(&self, name: &str) -> Result<()> {
        let store = Store::open(&self.folder().join(name))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut minting = JoinSet::new();
            for token in &self.tokens {
                let (store, new) = (store.clone(), new_token(token)?);
                let act = Act {
                    at: Timestamp::now(),
                    actor: "bench".to_owned(),
                    key: None,
                    from: "bench".to_owned(),
                    once: None,
                };
                minting.spawn(async move { store.mint_token(act, new, Limits::default()).await });
            }
            for minted in minting.join_all().await {
                minted?;
            }
            store.close().await;
            Ok(())
        })
    }
}

/// This program in another role, and the address that it announces.
pub(super) fn own(core: Core, role: &[&str]) -> Result<(Process, SocketAddr)> {
    let program = std::env::current_exe()?;
    let program = program.to_str().context("this program's path is not UTF-8")?;
    let mut process = Process::start(pinned(core, program).args(role).stdout(Stdio::piped()))?;
    let stdout = process.child().stdout.take().context("no standard output")?;
    let address = Process::announced(stdout, |line| line.parse().ok())?;
    Ok((process, address))
}

fn new_token(token: &Plaintext) -> Result<NewToken> {
    Ok(NewToken {
        share: None,
        digest: token.digest(),
        hint: token.hint().to_owned(),
        label: Label::parse("partner sync")?,
        description: Text::default(),
        app: TokenApp::One(AppName::parse("shop")?),
        environment: EnvironmentName::parse("production")?,
        on_publish: OnPublish::Keep,
        rules: Rules::default(),
        expires_at: None,
        lifetime: None,
    })
}
