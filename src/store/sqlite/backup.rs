//! A copy of the whole store, as it is at one moment, while it goes on being used.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use serde_json::json;
use tempfile::{Builder, NamedTempFile};

use super::super::{Act, StoreError};
use super::repeats::begin;
use super::work::{Halt, Work};
use super::{audit, file};

/// Copies the store into a file beside it that is gone once the returned handle is. Blocks.
pub(in crate::store) fn copy(path: &Path) -> Result<NamedTempFile, StoreError> {
    let copied = attempt(path);
    if let Err(e) = &copied {
        tracing::error!(error = %e, "the store could not be copied");
    }
    copied
}

fn attempt(path: &Path) -> Result<NamedTempFile, StoreError> {
    let io = |e: io::Error| StoreError::Unavailable(format!("a copy could not be made: {e}"));
    // Readable by its owner alone from the first byte on.
    let target = Builder::new().prefix(&prefix(path)).tempfile_in(folder(path)).map_err(io)?;
    let name =
        target.path().to_str().ok_or_else(|| StoreError::Unavailable("its path is not UTF-8".to_owned()))?;
    file::connect(path, &Arc::default())?.execute("VACUUM INTO ?", [name])?;
    Ok(target)
}

/// What the names of a store's copies begin with, so that those which a kill left behind can be told.
fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".backup-");
    prefix
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Notes who takes a copy of everything.
pub(in crate::store) fn note(work: &mut Work<'_>, act: &Act) -> Result<(), Halt> {
    begin(work, act)?;
    Ok(audit::note(work.conn, act, "store.backup", "store.path", json!({}))?)
}

/// Removes the copies that a kill left behind.
pub(super) fn sweep(path: &Path) {
    let (Ok(entries), prefix) = (fs::read_dir(folder(path)), prefix(path)) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes())
            && let Err(e) = fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), error = %e, "an unfinished backup could not be removed");
        }
    }
}
