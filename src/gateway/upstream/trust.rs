//! Whom https upstreams are believed by: certificates, and the TLS settings that all connections under them share.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::tls;

/// TLS sessions remembered, so that a reconnect need not begin from nothing.
const SESSIONS: usize = 1024;

/// Why no https upstream could ever be believed.
#[derive(Debug, thiserror::Error)]
pub enum NoTrust {
    #[error(
        "the system has no certificates that an https upstream could be judged by: install its ca-certificates, or \
         set `upstream_ca`{}", reasons(.0)
    )]
    NoRoots(Vec<rustls_native_certs::Error>),
    #[error("https upstreams cannot be judged: {0}")]
    Unusable(#[from] rustls::Error),
}

/// One set of certificates that are believed.
#[derive(Debug)]
pub(crate) struct Trust {
    roots: RootCertStore,
    config: Arc<ClientConfig>,
}

/// Every set in use, so that equals are one: what is shared keeps its sessions.
#[derive(Debug, Default)]
pub(super) struct Trusts {
    known: Vec<Arc<Trust>>,
    system: Option<Arc<Trust>>,
}

impl Trust {
    /// The settings of a connection, but for the protocols that are offered.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

impl Trusts {
    /// Takes over what is in use already.
    pub(super) fn know(&mut self, trust: &Arc<Trust>) {
        if !self.known.iter().any(|known| Arc::ptr_eq(known, trust)) {
            self.known.push(trust.clone());
        }
    }

    /// The trust in these certificates and no others, or in the system's.
    pub(super) fn of(&mut self, only: Option<&[CertificateDer<'static>]>) -> Result<Arc<Trust>, NoTrust> {
        let mut roots = RootCertStore::empty();
        match (only, &self.system) {
            (Some(certificates), _) => {
                for certificate in certificates {
                    roots.add(certificate.clone())?;
                }
            }
            (None, Some(system)) => return Ok(system.clone()),
            (None, None) => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(NoTrust::NoRoots(found.errors));
                }
            }
        }
        let trust = match self.known.iter().find(|known| known.roots.roots == roots.roots) {
            Some(known) => known.clone(),
            None => Arc::new(Trust { config: Arc::new(config(roots.clone())?), roots }),
        };
        self.know(&trust);
        if only.is_none() {
            self.system = Some(trust.clone());
        }
        Ok(trust)
    }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let mut config = tls::client(roots)?;
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

fn reasons(errors: &[rustls_native_certs::Error]) -> String {
    errors.iter().map(|error| format!("; {error}")).collect()
}
