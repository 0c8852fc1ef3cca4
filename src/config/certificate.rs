//! The files of a certificate, wherever a section names them.

use jiff::Timestamp;

use super::report::{Place, Placed};
use super::section::Section;
use super::value::path;
use crate::tls::{Certificate, Pair, Part, is_readable_by_all};

const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private_key";

/// `None` where one of the two is missing or wrong, which is then reported, or where neither is given at all.
pub(super) fn pair(section: &mut Section<'_>) -> Option<Pair> {
    let certificate = section.read(CERTIFICATE, path);
    let private_key = section.read(PRIVATE_KEY, path);
    if section.is_given() || certificate.is_some() || private_key.is_some() {
        section.missing(CERTIFICATE, "the path of a PEM file that holds the chain, the server's own first");
        section.missing(PRIVATE_KEY, "the path of a PEM file that holds the private key");
    }
    let (certificate, private_key) = (certificate?, private_key?);
    let pair = Pair {
        certificate: section.resolve(&certificate.value),
        private_key: section.resolve(&private_key.value),
    };
    if section.looks_into_files() {
        judge(section, &pair, [&certificate, &private_key].map(|given: &Placed<String>| &given.place));
    }
    Some(pair)
}

fn judge(section: &mut Section<'_>, pair: &Pair, [certificate_at, key_at]: [&Place; 2]) {
    match Certificate::read(pair) {
        Ok(certificate) => {
            let now = Timestamp::now();
            if certificate.not_after <= now {
                let doubt = format!("has expired: it was good until {}", certificate.not_after);
                section.warning(certificate_at, CERTIFICATE, &doubt);
            } else if certificate.not_before > now {
                let doubt = format!("is not good before {}", certificate.not_before);
                section.warning(certificate_at, CERTIFICATE, &doubt);
            }
        }
        Err(flaw) => {
            let (place, key) = match flaw.part {
                Part::Certificate => (certificate_at, CERTIFICATE),
                Part::PrivateKey => (key_at, PRIVATE_KEY),
            };
            section.mistake(place, key, &format!("cannot be used: {flaw}"));
        }
    }
    if is_readable_by_all(&pair.private_key) {
        let doubt =
            format!("can be read by every user of this machine: chmod o-r {}", pair.private_key.display());
        section.warning(key_at, PRIVATE_KEY, &doubt);
    }
}
