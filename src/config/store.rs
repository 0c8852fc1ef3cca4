//! `[store]`: where tokens are kept.

use super::Store;
use super::section::Section;
use super::value::{Given, path};

pub(super) fn read(section: &mut Section<'_>) -> Store {
    let path = match section.read("path", database) {
        Some(read) => section.claim("path", &read.value, Some(read.place)),
        None => section.claim("path", "portcullis.db", None),
    };
    Store { path }
}

/// A path that SQLite takes for a file, not for one of its special names.
fn database(given: &Given<'_>) -> Result<String, String> {
    let path = path(given)?;
    if path == ":memory:" || path.starts_with("file:") {
        return Err("wants the path of a file: tokens must survive a restart".to_owned());
    }
    Ok(path)
}
