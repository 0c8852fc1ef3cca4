//! `[secrets]`: the key that seals upstream secrets. This version keeps none, so that the path has no effect yet.

use super::section::Section;
use super::value::path;

pub(super) fn read(section: &mut Section<'_>) {
    match section.read("key_file", path) {
        Some(read) => section.claim("key_file", &read.value, Some(read.place)),
        None => section.claim("key_file", "portcullis.key", None),
    };
}
