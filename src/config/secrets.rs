//! `[secrets]`: the key that browser sessions are sealed with.

use super::Secrets;
use super::section::Section;
use super::value::path;

pub(super) fn read(section: &mut Section<'_>) -> Secrets {
    let key_file = match section.read("key_file", path) {
        Some(read) => section.claim("key_file", &read.value, Some(read.place)),
        None => section.claim("key_file", "portcullis.key", None),
    };
    Secrets { key_file }
}
