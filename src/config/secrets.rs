//! `[secrets]`: the key that upstream secrets and browser sessions are sealed under.

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
