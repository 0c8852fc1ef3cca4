//! Whose word on other ends is taken: certificate authorities as files hold them, and clients that go by them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Far above any bundle of certificates.
const LONGEST: u64 = 4 << 20;

/// The certificates in the PEM file at `path`, each fit to vouch for others.
///
/// # Errors
/// What is wrong, as the end of a sentence that the key begins.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: std::io::Error| format!("names a file that cannot be read: {error}");
    // Looked at first: to open a pipe would be to wait for whoever writes to it.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("names something that is not a file".to_owned());
    }
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut pem)).map_err(unreadable)?;
    if pem.len() as u64 > LONGEST {
        return Err(format!("names a file of more than {} MiB", LONGEST >> 20));
    }
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("names a file that is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("names a file without a certificate: it wants `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for (number, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|error| {
            format!("names a file whose certificate number {} cannot be used: {error}", number + 1)
        })?;
    }
    Ok(certificates)
}

/// The settings of a client that takes the word of `roots` and of nobody else.
///
/// # Errors
/// When the library cannot be set up so.
pub fn client(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
