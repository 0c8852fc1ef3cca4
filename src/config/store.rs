//! `[store]`: where tokens are kept.

use super::section::Section;
use super::value::{Given, path};
use super::{AccessLog, Admin, Gateway, Store};

pub(super) fn read(section: &mut Section<'_>, gateway: &Gateway, admin: &Admin) -> Store {
    let Some(read) = section.read("path", database) else {
        return Store { path: section.resolve("portcullis.db") };
    };
    let path = section.resolve(&read.value);
    // A stale socket is replaced at the start, and a log is appended to: neither must happen to the database.
    if path == admin.socket {
        section.mistake(&read.place, "path", "is also `admin.socket`: take another file");
    }
    if gateway.access_log == AccessLog::File(path.clone()) {
        section.mistake(&read.place, "path", "is also `gateway.access_log.path`: take another file");
    }
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
