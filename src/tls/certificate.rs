//! A certificate chain with its private key, as two PEM files hold them.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

/// Far above any chain or key.
const LONGEST: u64 = 1 << 20;

/// The two files of a certificate. They may be one and the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

/// A certificate with the key that belongs to it.
pub struct Certificate {
    pub pair: Pair,
    /// DNS names in lower case, those with a wildcard as `*.example.com`.
    pub names: Vec<Box<str>>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) stamps: Stamps,
}

/// What is wrong with one of the two files.
#[derive(Debug, thiserror::Error)]
#[error("{} {why}", path.display())]
pub struct Flaw {
    pub part: Part,
    pub path: PathBuf,
    why: Why,
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Certificate,
    PrivateKey,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("is longer than {} KiB: is it the right file?", LONGEST >> 10)]
    TooLong,
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    #[error("holds a certificate that cannot be used: {0}")]
    BadCertificate(String),
    #[error("holds no private key in PEM form; one that is encrypted cannot be used")]
    NoKey,
    #[error("holds a private key that cannot be used: {0}")]
    BadKey(rustls::Error),
    #[error("holds a private key that does not belong to the certificate in {}", .0.display())]
    Mismatch(PathBuf),
}

impl Certificate {
    /// Reads both files. Blocks.
    ///
    /// # Errors
    /// When either cannot be used, or they do not belong together.
    pub fn read(pair: &Pair) -> Result<Self, Flaw> {
        let flaw = |part, why| Flaw { part, path: pair.file(part).to_owned(), why };
        let of_certificate = |why| flaw(Part::Certificate, why);
        let of_key = |why| flaw(Part::PrivateKey, why);
        // Before the contents: what is written meanwhile is seen as a change next time.
        let stamps = Stamps::take(pair);
        let chain = read(&pair.certificate).map_err(of_certificate)?;
        let chain = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of_certificate(Why::BadCertificate(error.to_string())))?;
        let leaf = chain.first().ok_or_else(|| of_certificate(Why::NoCertificate))?;
        let Facts { names, not_before, not_after } = Facts::of(leaf).map_err(of_certificate)?;
        let key = read(&pair.private_key).map_err(of_key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| of_key(Why::NoKey))?;
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| of_key(Why::BadKey(error)))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(of_key(Why::Mismatch(pair.certificate.clone())));
            }
            Err(error) => return Err(of_certificate(Why::BadCertificate(error.to_string()))),
        }
        Ok(Self { pair: pair.clone(), names, not_before, not_after, key: Arc::new(key), stamps })
    }

    /// Whether clients are shown the same, and prove themselves to by the same key.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.key.key.public_key() == other.key.key.public_key()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("pair", &self.pair).finish_non_exhaustive()
    }
}

impl Pair {
    fn file(&self, part: Part) -> &Path {
        match part {
            Part::Certificate => &self.certificate,
            Part::PrivateKey => &self.private_key,
        }
    }
}

/// Whether every user of this machine may read the file.
#[must_use]
pub fn is_readable_by_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0)
}

/// Which versions of the two files were looked at, symbolic links followed; `None` for one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps([Option<Stamp>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    pub(super) fn take(pair: &Pair) -> Self {
        Self([&pair.certificate, &pair.private_key].map(|path| fs::metadata(path).ok().map(Stamp::from)))
    }
}

impl From<Metadata> for Stamp {
    fn from(found: Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// What a certificate says of itself.
struct Facts {
    names: Vec<Box<str>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Facts {
    fn of(leaf: &CertificateDer<'_>) -> Result<Self, Why> {
        let (_, leaf) =
            X509Certificate::from_der(leaf).map_err(|error| Why::BadCertificate(error.to_string()))?;
        let alternative =
            leaf.subject_alternative_name().map_err(|error| Why::BadCertificate(error.to_string()))?;
        let names = alternative.map_or_else(Vec::new, |extension| {
            let names = extension.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
                _ => None,
            });
            names.collect()
        });
        let moment = |seconds: i64| {
            Timestamp::from_second(seconds).map_err(|error| Why::BadCertificate(error.to_string()))
        };
        Ok(Self {
            names,
            not_before: moment(leaf.validity().not_before.timestamp())?,
            not_after: moment(leaf.validity().not_after.timestamp())?,
        })
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Why> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| {
            // Reserved at once: growing would leave copies of a key behind.
            bytes.reserve(usize::try_from(file.metadata()?.len().min(LONGEST)).unwrap_or(0) + 1);
            file.take(LONGEST + 1).read_to_end(&mut bytes)
        })
        .map_err(Why::Unreadable)?;
    if bytes.len() as u64 > LONGEST { Err(Why::TooLong) } else { Ok(bytes) }
}
