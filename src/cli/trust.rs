//! Whom a command believes that it speaks to the admin side, over TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls;

/// The authorities whose certificates are taken.
#[derive(Clone, Debug)]
pub(super) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities in the PEM file `ca`; without one those of this machine, or of `SSL_CERT_FILE`.
    pub(super) fn new(ca: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(ca) => {
                for authority in tls::read_authorities(ca).map_err(io::Error::other)? {
                    roots.add(authority).map_err(io::Error::other)?;
                }
            }
            // What cannot be read of the machine's own is not trusted, and that is all.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let config = tls::client(roots).map_err(io::Error::other)?;
        Ok(Self(Arc::new(config)))
    }

    /// Connects to `host`, and makes sure that it is who it should be.
    pub(super) async fn connect(&self, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect((host, port)).await?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}

/// Whether a connection failed for want of trust.
pub(super) fn is_distrust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
