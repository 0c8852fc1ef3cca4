//! The certificates of one address, and which of them a client is shown.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustls::SignatureScheme;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, Flaw, Pair};

/// Certificates by the names that they are for. An exact name goes before a wildcard, an earlier entry before a later.
#[derive(Debug, Default)]
pub struct Choice {
    certificates: Vec<Arc<Certificate>>,
    exact: HashMap<Box<str>, Keys, RandomState>,
    /// By the part after `*.`.
    wildcard: HashMap<Box<str>, Keys, RandomState>,
}

type Keys = Vec<Arc<CertifiedKey>>;

impl Choice {
    /// Reads the files of all `pairs`. Blocks.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn read(pairs: &[Pair]) -> Result<Self, Flaw> {
        let certificates = pairs.iter().map(|pair| Certificate::read(pair).map(Arc::new));
        Ok(Self::new(certificates.collect::<Result<_, _>>()?))
    }

    pub(super) fn new(certificates: Vec<Arc<Certificate>>) -> Self {
        let mut choice = Self::default();
        for certificate in &certificates {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut choice.wildcard, rest.into()),
                    None => (&mut choice.exact, name.clone()),
                };
                names.entry(name).or_default().push(certificate.key.clone());
            }
        }
        choice.certificates = certificates;
        choice
    }

    /// In the order of the configuration.
    #[must_use]
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// The certificate for a client; the first of all where it names no host, or one that none is for.
    pub(super) fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| can_sign(key, hello.signature_schemes());
        let keys = hello.server_name().and_then(|name| self.find(name));
        // Several for one name are of different kinds, for clients that know only the older one.
        let named = keys.and_then(|keys| keys.iter().find(fits).or_else(|| keys.first()));
        named.or_else(|| self.certificates.first().map(|first| &first.key)).cloned()
    }

    fn find(&self, name: &str) -> Option<&Keys> {
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let rest = || name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, rest)| rest);
        self.exact.get(name.as_ref()).or_else(|| self.wildcard.get(rest()?))
    }
}

fn can_sign(key: &CertifiedKey, schemes: &[SignatureScheme]) -> bool {
    key.key.choose_scheme(schemes).is_some()
}
