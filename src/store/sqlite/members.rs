//! Rows of members.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::super::Act;
use super::audit;
use super::feed::Notice;
use super::work::Work;
use crate::model::MemberName;

/// The row of a member that is not removed.
pub(super) fn find(conn: &Connection, name: &MemberName) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM members WHERE name = ? AND removed_at IS NULL")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()
}

/// The row of a member, made if there is none.
pub(super) fn find_or_add(work: &mut Work<'_>, act: &Act, name: &MemberName) -> rusqlite::Result<i64> {
    if let Some(id) = find(work.conn, name)? {
        return Ok(id);
    }
    work.conn
        .prepare_cached("INSERT INTO members (name, created_at) VALUES (?, ?)")?
        .execute((name.as_str(), act.at.as_millisecond()))?;
    let id = work.conn.last_insert_rowid();
    audit::note(work.conn, act, "member.add", name.as_str(), json!({}))?;
    work.announce(Notice::Member(name))?;
    Ok(id)
}
