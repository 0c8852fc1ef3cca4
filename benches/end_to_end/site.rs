//! The ground on which all proxies stand: a folder, the app, the tokens that open it, and a certificate.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use portcullis::credential::{Kind, Plaintext};
use portcullis::model::{AppName, EnvironmentName, Label, OnPublish, Rules, Text, TokenApp};
use portcullis::store::{Act, Limits, NewToken, Store};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::child::{Core, Process, pinned};

/// Tokens that every proxy knows.
const TOKENS: usize = 10_000;
/// The app's name, and its host.
const APP: &str = "shop";
pub(super) const HOST: &str = "shop.example.com";
/// The query parameter that presents a token. nginx has no variables with hyphens, so all get a short name.
pub(super) const PARAMETER: &str = "token";

/// The gateway's file for them.
pub(super) const STORE: &str = "portcullis.db";

/// What the proxies have in common.
pub(super) struct Site {
    folder: TempDir,
    pub app: SocketAddr,
    pub tokens: Vec<Plaintext>,
    /// As well formed, and never minted.
    pub unknown: Plaintext,
    /// In DER.
    certificate: CertificateDer<'static>,
    _app: Process,
}

impl Site {
    pub(super) fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
        let tokens = (0..TOKENS).map(|_| Plaintext::generate(Kind::Token)).collect::<Result<Vec<_>, _>>()?;
        let (process, app) = own(Core::Others, &["app"])?;
        let issued = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
        let unknown = Plaintext::generate(Kind::Token)?;
        let der = issued.cert.der().clone();
        let site = Self { folder, app, tokens, unknown, certificate: der, _app: process };
        fs::write(site.certificate(), &certificate)?;
        fs::write(site.key(), &key)?;
        // HAProxy wants both in one file.
        fs::write(site.pair(), certificate + &key)?;
        mint(&site.scratch(STORE), &site.tokens, APP)?;
        Ok(site)
    }

    /// A folder of its own for each proxy that is started.
    pub(super) fn home(&self, name: &str) -> Result<PathBuf> {
        let home = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(self.folder.path())?;
        Ok(home.keep())
    }

    /// A file that is nobody's for long.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.scratch("tls.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.scratch("tls-key.pem")
    }

    pub(super) fn pair(&self) -> PathBuf {
        self.scratch("tls-pair.pem")
    }

    /// The token that requests are made with: one in the middle of the others.
    pub(super) fn token(&self) -> &Plaintext {
        &self.tokens[TOKENS / 2]
    }

    /// A client that trusts the certificate and takes every handshake in full, with the one group that all proxies have.
    pub(super) fn client(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let client =
            ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let mut client = client?.with_root_certificates(roots).with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        Ok(client)
    }

    /// A store of the gateway's that holds the tokens, in a folder.
    pub(super) fn copy_store(&self, home: &Path) -> Result<()> {
        fs::copy(self.scratch(STORE), home.join(STORE))?;
        Ok(())
    }
}

/// Mints tokens for an app into a store.
pub(super) fn mint(store: &Path, tokens: &[Plaintext], app: &str) -> Result<()> {
    let store = Store::open(store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut minting = JoinSet::new();
        for token in tokens {
            let (store, new) = (store.clone(), new_token(token, app)?);
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

/// This program in another role, and the address that it announces.
pub(super) fn own(core: Core, role: &[&str]) -> Result<(Process, SocketAddr)> {
    let program = std::env::current_exe()?;
    let mut process = Process::start(pinned(core, program).args(role).stdout(Stdio::piped()))?;
    let stdout = process.child().stdout.take().context("no standard output")?;
    let address = Process::announced(stdout, |line| line.parse().ok())?;
    Ok((process, address))
}

fn new_token(token: &Plaintext, app: &str) -> Result<NewToken> {
    Ok(NewToken {
        share: None,
        digest: token.digest(),
        hint: token.hint().to_owned(),
        label: Label::parse("partner sync")?,
        description: Text::default(),
        app: TokenApp::One(AppName::parse(app)?),
        environment: EnvironmentName::parse("production")?,
        on_publish: OnPublish::Keep,
        rules: Rules::default(),
        expires_at: None,
        lifetime: None,
    })
}
