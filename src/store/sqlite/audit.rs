//! The audit log: one entry for each change, in the same transaction.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::Act;
use super::work::Work;

/// Appends an entry. `detail` is an object and holds no credential.
pub(super) fn note(
    conn: &Connection,
    act: &Act,
    action: &str,
    subject: &str,
    mut detail: Value,
) -> rusqlite::Result<()> {
    if let (Some(key), Some(detail)) = (act.key, detail.as_object_mut()) {
        detail.insert("key".to_owned(), key.to_string().into());
    }
    conn.prepare_cached("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)")?
        .execute((act.at.as_millisecond(), &act.actor, action, subject, detail.to_string()))?;
    Ok(())
}

/// Appends the entry of a reload, which changes no row.
pub(in crate::store) fn reload(work: &mut Work<'_>, act: &Act, changed: &[String]) -> rusqlite::Result<()> {
    note(work.conn, act, "config.reload", "", json!({ "changed": changed }))
}
