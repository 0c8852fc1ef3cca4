//! How a store fails.

use std::io;
use std::path::PathBuf;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store `{path}` cannot be opened: {cause}")]
    Io { path: PathBuf, cause: io::Error },
    #[error(
        "the store `{0}` is in use by another portcullis: stop that one, or give this one a `store.path` of its own"
    )]
    InUse(PathBuf),
    #[error(
        "the store `{path}` was written by a newer portcullis (schema version {found}; this one knows up to {known}): use the newer program, or another `store.path`"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("`{0}` is a database, but not a portcullis store: give `store.path` another name")]
    Foreign(PathBuf),
    #[error(
        "the store `{path}` is damaged or not a database ({detail}): restore it from a backup, or move it away to begin with an empty one"
    )]
    Corrupt { path: PathBuf, detail: String },
    #[error("the store `{path}` cannot be used: {cause}")]
    Sqlite { path: PathBuf, cause: rusqlite::Error },
}

impl OpenError {
    /// Tells damage apart from what may pass.
    pub(super) fn of(path: PathBuf, cause: rusqlite::Error) -> Self {
        match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Corrupt { path, detail: cause.to_string() }
            }
            _ => Self::Sqlite { path, cause },
        }
    }
}

/// Why a read or a write did not happen. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store is not available: {0}")]
pub struct StoreError(pub(super) String);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl StoreError {
    /// For a read whose thread was lost.
    pub(crate) fn gave_up(error: &tokio::task::JoinError) -> Self {
        Self(format!("a read was given up: {error}"))
    }
}
