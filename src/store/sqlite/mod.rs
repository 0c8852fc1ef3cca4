//! The store in SQLite: one file per family of rows, and the machinery that writes and reads them.

pub(super) mod audit;
pub(super) mod backup;
pub(super) mod deployments;
pub(super) mod environments;
mod feed;
mod file;
pub(super) mod keys;
pub(super) mod leaks;
pub(super) mod members;
mod migrate;
pub(super) mod networks;
pub(super) mod outbox;
mod reader;
pub(super) mod repeats;
mod search;
pub(super) mod secrets;
pub(super) mod shares;
pub(super) mod sightings;
pub(super) mod tokens;
mod work;
mod writer;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use rusqlite::RowIndex;
use rusqlite::types::Type;

pub use feed::{Binding, Changed, Feed, Followed, Loaded};
pub(super) use file::{Opened, Verdict, inspect, open};
pub(super) use reader::Reader;
pub use tokens::list::{Prospect, ProspectFilter, Sighted};
pub(super) use writer::Writer;

/// Whether the store answered when it was last asked.
#[derive(Debug, Default)]
pub(super) struct Health {
    read_failed: AtomicBool,
    write_failed: AtomicBool,
}

impl Health {
    pub(super) fn good(&self) -> bool {
        !self.read_failed.load(Ordering::Relaxed) && !self.write_failed.load(Ordering::Relaxed)
    }
}

/// A stored text that reads as `T`, or an error that names the column.
fn parsed<T, E: Error + Send + Sync + 'static>(
    row: &rusqlite::Row<'_>,
    column: impl RowIndex,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let index = column.idx(row.as_ref())?;
    let text = row.get_ref(index)?.as_str()?;
    parse(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(e)))
}

/// The same of a text that may not be there.
fn parsed_if<T, E: Error + Send + Sync + 'static>(
    row: &rusqlite::Row<'_>,
    column: impl RowIndex,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<Option<T>> {
    let index = column.idx(row.as_ref())?;
    if row.get_ref(index)? == rusqlite::types::ValueRef::Null {
        Ok(None)
    } else {
        parsed(row, index, parse).map(Some)
    }
}

/// Whether a row reads as what it must be. One that another version wrote, or nobody can read, takes no other along.
fn reads<T>(row: &rusqlite::Result<T>) -> bool {
    !matches!(row, Err(rusqlite::Error::FromSqlConversionFailure(..)))
}

/// The same of one row alone: one that does not read is none.
pub(super) fn readable<T>(row: rusqlite::Result<Option<T>>) -> rusqlite::Result<Option<T>> {
    if reads(&row) {
        return row;
    }
    if let Err(e) = &row {
        tracing::error!("a row of the store is passed over: {e}");
    }
    Ok(None)
}

/// A stored text that does not read as what it must be.
#[derive(Debug, thiserror::Error)]
#[error("a stored {0} does not read as one")]
struct Unreadable(&'static str);

/// A stored time.
fn time(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let index = row.as_ref().column_index(column)?;
    row.get::<_, Option<i64>>(index)?
        .map(Timestamp::from_millisecond)
        .transpose()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(index, Type::Integer, Box::new(e)))
}

/// A stored time that is always there.
fn moment(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    time(row, column)?.ok_or_else(|| rusqlite::Error::InvalidColumnName(column.to_owned()))
}
