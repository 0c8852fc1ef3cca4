//! A copy of the whole store, as it is at one moment, while it goes on being used.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::{Builder, NamedTempFile};

use super::super::{Act, StoreError};
use super::repeats::begin;
use super::work::{Halt, Work};
use super::{audit, file};

/// What the names of copies begin with, so that those which a kill left behind can be told.
const PREFIX: &str = ".portcullis-backup-";

/// Copies the store into a file beside it that is gone once the returned handle is. Blocks.
pub(in crate::store) fn copy(path: &Path) -> Result<NamedTempFile, StoreError> {
    let io = |e: std::io::Error| StoreError(format!("a copy could not be made: {e}"));
    let folder = path.parent().unwrap_or(Path::new("."));
    // Readable by its owner alone from the first byte on.
    let target = Builder::new().prefix(PREFIX).tempfile_in(folder).map_err(io)?;
    let name = target.path().to_str().ok_or_else(|| StoreError("its path is not UTF-8".to_owned()))?;
    file::connect(path)?.execute("VACUUM INTO ?", [name])?;
    Ok(target)
}

/// Notes who takes a copy of everything.
pub(in crate::store) fn note(work: &mut Work<'_>, act: &Act) -> Result<(), Halt> {
    begin(work, act)?;
    Ok(audit::note(work.conn, act, "store.backup", "store.path", json!({}))?)
}

/// Removes the copies that a kill left behind.
pub(super) fn sweep(path: &Path) {
    let Ok(entries) = fs::read_dir(path.parent().unwrap_or(Path::new("."))) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Err(e) = fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), error = %e, "an unfinished backup could not be removed");
        }
    }
}
