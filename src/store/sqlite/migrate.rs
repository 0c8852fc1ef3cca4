//! From any earlier schema to this program's, one step at a time.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::super::OpenError;

/// Step `n` makes version `n + 1` out of version `n`. Steps that were released never change.
const STEPS: &[&str] = &[
    include_str!("../schema/1.sql"),
    include_str!("../schema/2.sql"),
    include_str!("../schema/3.sql"),
    include_str!("../schema/4.sql"),
    include_str!("../schema/5.sql"),
    include_str!("../schema/6.sql"),
    include_str!("../schema/7.sql"),
    include_str!("../schema/8.sql"),
    include_str!("../schema/9.sql"),
];
/// Marks a database as a store of this program ("PCLS").
const APPLICATION: i64 = 0x5043_4C53;

/// Brings a database of this version to the newest schema.
pub(super) fn bring_up(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    for (step, version) in STEPS.iter().zip(1..).skip(usize::try_from(from).unwrap_or(0)) {
        apply(connection, step, version)?;
    }
    Ok(())
}

/// Whether the schema is this program's.
pub(super) fn is_current(version: i64) -> bool {
    usize::try_from(version).is_ok_and(|version| version == STEPS.len())
}

/// Whether this program can use the database; returns the version of its schema.
pub(super) fn judge(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let failed = |e| OpenError::of(path.to_owned(), e);
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found = pragma(connection, "user_version").map_err(failed)?;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    let application = pragma(connection, "application_id").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let fresh = tables == 0 && application == 0 && found == 0;
    if application != APPLICATION && !fresh {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    Ok(found)
}

/// Looks for damage in every page.
pub(super) fn look_through(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |e| OpenError::of(path.to_owned(), e);
    // What these guard is judged by whoever reads it, and for each row they take as long as all else.
    connection.pragma_update(None, "ignore_check_constraints", true).map_err(failed)?;
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    connection.pragma_update(None, "ignore_check_constraints", false).map_err(failed)?;
    if verdict != "ok" {
        return Err(OpenError::Corrupt { path: path.to_owned(), detail: verdict });
    }
    Ok(())
}

fn apply(connection: &mut Connection, step: &str, version: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
