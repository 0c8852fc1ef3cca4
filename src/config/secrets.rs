//! `[secrets]`: the key that seals upstream secrets. This version keeps none, so that the path has no effect yet.

use super::section::Section;
use super::value::path;

pub(super) fn read(section: &mut Section<'_>) {
    section.read("key_file", path);
}
