//! The audit log: one entry for each change, in the same transaction.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};
use serde_json::{Value, json};

use super::super::{Act, EntryFilter, Side};
use super::work::{Halt, Work};
use super::{moment, parsed};
use crate::model::Entry;

/// Who acts where nobody asked.
pub(super) const PROGRAM: &str = "portcullis";

/// Appends an entry. `detail` is an object and holds no credential.
pub(super) fn note(
    conn: &Connection,
    act: &Act,
    action: &str,
    subject: &str,
    mut detail: Value,
) -> rusqlite::Result<()> {
    let key = act.key.map(|key| key.to_string());
    if let Some(detail) = detail.as_object_mut() {
        if let Some(key) = &key {
            detail.insert("key".to_owned(), key.as_str().into());
        }
        detail.insert("from".to_owned(), act.from.as_str().into());
    }
    conn.prepare_cached(
        "INSERT INTO audit (at, actor, action, subject, detail, member)
         VALUES (?, ?, ?, ?, ?, (SELECT member FROM keys WHERE id = ?))",
    )?
    .execute((act.at.as_millisecond(), &act.actor, action, subject, detail.to_string(), key))?;
    Ok(())
}

/// Appends the entry of a reload, which changes no row and has happened already, whatever its caller may now.
pub(in crate::store) fn reload(work: &mut Work<'_>, act: &Act, changed: &[String]) -> Result<(), Halt> {
    Ok(note(work.conn, act, "config.reload", "", json!({ "changed": changed }))?)
}

/// Appends the entry of somebody who has begun to use the dashboard.
pub(in crate::store) fn sign_in(work: &mut Work<'_>, act: &Act) -> Result<(), Halt> {
    Ok(note(work.conn, act, "session.begin", "", json!({}))?)
}

/// Appends the entry of somebody who has ended all use of the dashboard.
pub(in crate::store) fn signed_out(work: &mut Work<'_>, act: &Act, sessions: u64) -> Result<(), Halt> {
    Ok(note(work.conn, act, "session.end_all", "", json!({ "sessions": sessions }))?)
}

pub(in crate::store) fn list(conn: &Connection, filter: &EntryFilter) -> rusqlite::Result<Vec<Entry>> {
    let (beyond, order, from) = match filter.side {
        Side::After(seq) => (">", "ASC", seq),
        Side::Before(seq) => ("<", "DESC", seq),
    };
    let mut sql = format!("SELECT seq, at, actor, action, subject, detail FROM audit WHERE seq {beyond} ?");
    let mut values = vec![Sql::from(i64::try_from(from).unwrap_or(i64::MAX))];
    let named = [("actor", &filter.actor), ("action", &filter.action), ("subject", &filter.subject)];
    for (column, wanted) in named {
        if let Some(wanted) = wanted {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(wanted.clone().into());
        }
    }
    if let Some(key) = filter.own {
        sql.push_str(" AND member = (SELECT member FROM keys WHERE id = ?)");
        values.push(key.to_string().into());
    }
    if let Some(app) = &filter.within {
        sql.push_str(" AND detail ->> '$.app' = ?");
        values.push(app.to_string().into());
    }
    sql.push_str(&format!(" ORDER BY seq {order} LIMIT ?"));
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
    conn.prepare_cached(&sql)?.query_map(params_from_iter(values), entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        seq: row.get::<_, i64>("seq")?.unsigned_abs(),
        at: moment(row, "at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        detail: parsed(row, "detail", |text| serde_json::from_str(text))?,
    })
}
