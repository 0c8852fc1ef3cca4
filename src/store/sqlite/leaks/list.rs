//! Leaks and warnings as they are listed and counted.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::super::super::LeakFilter;
use super::super::{Unreadable, moment, parsed, reads, time};
use crate::model::{Leak, LeakDone, LeakId, LeakKind};

const SELECT: &str =
    "SELECT l.id, l.kind, l.subject, l.source, l.place, m.name AS member, l.app, l.environment, l.label,
    l.hint, l.done, l.ends_at, l.client, l.agent, l.count, l.first_at, l.last_at
    FROM leaks l LEFT JOIN members m ON m.id = l.member";

pub(in crate::store) fn list(conn: &Connection, filter: &LeakFilter) -> rusqlite::Result<Vec<Leak>> {
    let mut sql = format!("{SELECT} WHERE true");
    let mut values: Vec<Value> = Vec::new();
    let mut and = |clause: &str, value: Value| {
        sql.push_str(" AND ");
        sql.push_str(clause);
        values.push(value);
    };
    if let Some(owner) = &filter.owner {
        and("m.removed_at IS NULL AND m.name = ?", owner.to_string().into());
    }
    if let Some(app) = &filter.within {
        and("l.app = ?", app.to_string().into());
    }
    if let Some(subject) = &filter.subject {
        and("l.subject = ?", subject.clone().into());
    }
    if let Some(before) = filter.before {
        and("l.id < ?", before.to_string().into());
    }
    sql.push_str(" ORDER BY l.id DESC");
    let mut question = conn.prepare_cached(&sql)?;
    let rows = question.query_map(params_from_iter(values), leak)?;
    rows.filter(reads).take(filter.limit).collect()
}

/// How many were noted of each kind.
pub(in crate::store) fn count(conn: &Connection) -> rusqlite::Result<Vec<(LeakKind, u64)>> {
    conn.prepare_cached("SELECT kind, count(*) AS count FROM leaks GROUP BY kind")?
        .query_map([], |row| Ok((kind(row)?, row.get::<_, i64>("count")?.unsigned_abs())))?
        .filter(reads)
        .collect()
}

fn kind(row: &Row<'_>) -> rusqlite::Result<LeakKind> {
    parsed(row, "kind", |name| LeakKind::parse(name).ok_or(Unreadable("kind of leak")))
}

fn leak(row: &Row<'_>) -> rusqlite::Result<Leak> {
    Ok(Leak {
        id: parsed(row, "id", |id| LeakId::parse(id).ok_or(Unreadable("leak id")))?,
        kind: kind(row)?,
        subject: row.get("subject")?,
        source: row.get("source")?,
        place: row.get("place")?,
        member: row.get("member")?,
        app: row.get("app")?,
        environment: row.get("environment")?,
        label: row.get("label")?,
        hint: row.get("hint")?,
        done: parsed(row, "done", |name| LeakDone::parse(name).ok_or(Unreadable("outcome")))?,
        ends_at: time(row, "ends_at")?,
        client: row.get("client")?,
        agent: row.get("agent")?,
        count: row.get::<_, i64>("count")?.unsigned_abs(),
        first_at: moment(row, "first_at")?,
        last_at: moment(row, "last_at")?,
    })
}
