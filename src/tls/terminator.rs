//! The end of TLS on one address.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::choice::Choice;
use super::resumption::Resumption;

/// Protocols as ALPN names them.
pub const HTTP1: &[u8] = b"http/1.1";
pub const OLD_HTTP: &[u8] = b"http/1.0";
pub const HTTP2: &[u8] = b"h2";

/// Every open address that speaks TLS.
pub type Terminators = ArcSwap<Vec<Arc<Terminator>>>;

/// TLS 1.2 and 1.3 with certificates that can be replaced at any time; connections that are open keep theirs.
#[derive(Debug)]
pub struct Terminator {
    pub address: SocketAddr,
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

impl Terminator {
    /// Offers `protocols`, the preferred one first: a client that knows none of them is refused.
    ///
    /// # Errors
    /// When the cryptographic library cannot do what TLS needs.
    pub fn new(
        address: SocketAddr,
        choice: Choice,
        resumption: &Resumption,
        protocols: &[&[u8]],
    ) -> Result<Self, rustls::Error> {
        let shown = Arc::new(Shown(ArcSwap::from_pointee(choice)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        resumption.apply(&mut config);
        Ok(Self { address, config: Arc::new(config), shown })
    }

    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What clients are shown now.
    #[must_use]
    pub fn certificates(&self) -> Vec<Arc<Certificate>> {
        self.shown.0.load().certificates().to_vec()
    }

    /// Shows new clients these certificates.
    pub fn show(&self, choice: Choice) {
        self.shown.0.store(Arc::new(choice));
    }
}

#[derive(Debug)]
struct Shown(ArcSwap<Choice>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().choose(&hello)
    }
}
