//! How a store fails.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::Repeat;
use crate::model::{SecretName, Status, TokenId};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// A read that was broken off, so that others get their turn.
    #[error("the store took too long to answer: ask for less at once")]
    Slow,
}

/// Why a command changed nothing, though the store would have let it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the caller's key or member is no longer in force")]
    Caller,
    #[error("there is no such thing")]
    Missing,
    #[error("it was changed since the caller looked")]
    Stale,
    #[error("{live} tokens live already")]
    Limit { per_member: bool, limit: u64, live: u64 },
    #[error("the token is {}", .0.as_str())]
    Ended(Status),
    #[error("the token lives by a grace until {0}")]
    Graced(Timestamp),
    #[error("the token has the successor {0}")]
    Rotated(TokenId),
    #[error("an expiry can only be brought forward")]
    Later,
    #[error("the name is taken")]
    Taken,
    #[error("there is no other admin")]
    LastAdmin,
    #[error("the deployment is the current one")]
    Current,
    #[error("the secret {0} does not open: {1}")]
    Unopened(SecretName, String),
    #[error("the same call was made before")]
    Repeated(Repeat),
    #[error("another call was made under the same name")]
    Reused,
}

/// Why a command was not carried out. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotDone {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::Slow,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl StoreError {
    /// For a read whose thread was lost.
    pub(crate) fn gave_up(error: &tokio::task::JoinError) -> Self {
        Self::Unavailable(format!("a read was given up: {error}"))
    }
}
