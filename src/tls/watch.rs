//! Notices that certificate files have changed. Renewals come by rename, by symbolic link and by plain writing, over
//! network file systems too: looking is the one way that sees them all.

use std::collections::HashMap;
use std::sync::Arc;

use super::certificate::{Certificate, Pair, Stamps};
use super::choice::Choice;
use super::terminator::Terminator;

/// What was seen of files that are not as they were when they were read.
#[derive(Debug, Default)]
pub struct Watch {
    pending: HashMap<Pair, Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    stamps: Stamps,
    /// They were read like this, and could not be used.
    refused: bool,
}

impl Watch {
    /// Looks at the files of all `terminators`, and replaces what has changed and can be used. A change is taken at
    /// the second look that finds it the same: by then both files are written. Blocks.
    pub fn look(&mut self, terminators: &[Arc<Terminator>]) {
        let mut seen = HashMap::new();
        for terminator in terminators {
            let certificates = terminator.certificates();
            let mut next = certificates.clone();
            for (current, next) in certificates.iter().zip(&mut next) {
                if let Some(fresh) = self.judge(current, &mut seen) {
                    *next = Arc::new(fresh);
                }
            }
            if certificates.iter().zip(&next).any(|(current, next)| !Arc::ptr_eq(current, next)) {
                terminator.show(Choice::new(next));
            }
        }
        self.pending = seen;
    }

    fn judge(&self, current: &Certificate, seen: &mut HashMap<Pair, Pending>) -> Option<Certificate> {
        let pair = &current.pair;
        let stamps = Stamps::take(pair);
        if stamps == current.stamps {
            return None;
        }
        let before = self.pending.get(pair).filter(|before| before.stamps == stamps);
        let already = seen.get(pair).copied();
        let mut pending = Pending { stamps, refused: before.is_some_and(|before| before.refused) };
        let mut fresh = None;
        if before.is_some() && !pending.refused {
            match Certificate::read(pair) {
                Ok(read) if read.equals(current) => fresh = Some(read),
                Ok(read) => {
                    if already.is_none() {
                        tracing::info!(
                            "the certificate in {} was replaced: it is good until {}",
                            pair.certificate.display(),
                            read.not_after
                        );
                    }
                    fresh = Some(read);
                }
                Err(flaw) => {
                    pending.refused = true;
                    if already.is_none_or(|already| !already.refused) {
                        tracing::error!("{flaw}: the certificate that was read before stays in use");
                    }
                }
            }
        }
        seen.insert(pair.clone(), pending);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::tls::{HTTP1, Resumption};

    /// A new certificate and its key, as PEM.
    fn issue() -> (String, String) {
        let issued = generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        (issued.cert.pem(), issued.signing_key.serialize_pem())
    }

    fn pair(folder: &Path) -> Pair {
        Pair { certificate: folder.join("a.pem"), private_key: folder.join("a-key.pem") }
    }

    #[test]
    fn a_change_is_taken_once_it_is_whole_and_rests() {
        let folder = tempfile::tempdir().unwrap();
        let pair = pair(folder.path());
        let (certificate, key) = issue();
        fs::write(&pair.certificate, &certificate).unwrap();
        fs::write(&pair.private_key, &key).unwrap();
        let choice = Choice::read(std::slice::from_ref(&pair)).unwrap();
        let (address, resumption) = (([127, 0, 0, 1], 1).into(), Resumption::new().unwrap());
        let terminator = Arc::new(Terminator::new(address, choice, &resumption, &[HTTP1]).unwrap());
        let all = [terminator.clone()];
        let mut watch = Watch::default();
        let mut look = || {
            let before = terminator.certificates();
            watch.look(&all);
            let after = terminator.certificates();
            !before[0].equals(&after[0])
        };
        assert!(!look());

        let (next_certificate, next_key) = issue();
        fs::write(&pair.certificate, &next_certificate).unwrap();
        assert!(!look() && !look() && !look(), "half of it is no pair");
        fs::write(&pair.private_key, &next_key).unwrap();
        assert!(!look(), "it may still be written to");
        assert!(look());
        assert!(!look());

        fs::remove_file(&pair.certificate).unwrap();
        assert!(!look() && !look());
        fs::write(&pair.certificate, &certificate).unwrap();
        fs::write(&pair.private_key, &key).unwrap();
        assert!(!look() && look());
        // Written anew with what it held.
        fs::write(&pair.certificate, &certificate).unwrap();
        assert!(!look() && !look());
        assert!(watch.pending.values().all(|pending| !pending.refused));
    }
}
