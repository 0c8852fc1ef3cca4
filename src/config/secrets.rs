//! `[secrets]`: the key that seals upstream secrets.

use super::Secrets;
use super::section::Section;
use super::value::path;

pub(super) fn read(section: &mut Section<'_>) -> Secrets {
    match section.read("key_file", path) {
        Some(read) => {
            Secrets { key_file: section.claim("key_file", &read.value, Some(read.place)), named: true }
        }
        None => Secrets { key_file: section.claim("key_file", "portcullis.key", None), named: false },
    }
}
