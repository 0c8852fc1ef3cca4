//! Rows of management keys.

use std::net::IpAddr;
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::json;

use super::super::{Act, KeyFilter, NewKey, Refused, Revocation, Use};
use super::feed::Notice;
use super::networks::Users;
use super::repeats::{begin, made};
use super::tokens::upkeep::first_of_one;
use super::work::{Halt, Work};
use super::writer::Bulk;
use super::{Unreadable, audit, members, moment, parsed, parsed_if, time};
use crate::credential::Digest;
use crate::model::{AppName, Key, KeyId, MemberName, Scope, Scopes};

const SELECT: &str =
    "SELECT k.id, m.name AS member, m.removed_at IS NOT NULL AS orphaned, k.scopes, k.app, k.label,
    k.hint, k.created_at, k.expires_at, nullif(judged_at(k.id, 0), 0) AS seen_ended, coalesce(k.revoked_at, m.removed_at) AS revoked_at,
    coalesce(k.revoked_by, m.removed_by) AS revoked_by, k.last_used_at, k.last_used_from
    FROM keys k JOIN members m ON m.id = k.member";

pub(in crate::store) fn mint(work: &mut Work<'_>, act: &Act, new: &NewKey) -> Result<(Key, u64), Halt> {
    begin(work, act)?;
    let member = members::find_or_add(work, act, &new.member)?;
    let id = work.next_key(act.at);
    let scopes = new.scopes.iter().map(Scope::as_str).collect::<Vec<_>>();
    work.conn
        .prepare_cached(
            "INSERT INTO keys (id, digest, hint, label, member, scopes, app, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            id.to_string(),
            new.digest.as_bytes(),
            &new.hint,
            new.label.as_str(),
            member,
            scopes.join(","),
            new.app.as_ref().map(AppName::as_str),
            act.at.as_millisecond(),
            new.expires_at.map(|end| end.as_millisecond()),
        ))?;
    let detail = json!({
        "member": new.member.as_str(), "scopes": scopes, "app": new.app.as_ref().map(AppName::as_str),
        "label": new.label.as_str(), "hint": new.hint, "expires_at": new.expires_at,
    });
    audit::note(work.conn, act, "key.mint", &id.to_string(), detail)?;
    let revision = work.announce(Notice::Key(id))?;
    made(work, act, &id.to_string(), 0)?;
    Ok((get(work.conn, id)?.ok_or(Refused::Missing)?, revision))
}

pub(in crate::store) fn revoke(
    work: &mut Work<'_>,
    act: &Act,
    id: KeyId,
    keep_an_admin: bool,
) -> Result<Revocation<Key>, Halt> {
    begin(work, act)?;
    let before = get(work.conn, id)?.ok_or(Refused::Missing)?;
    if before.revoked_at.is_some() {
        return Ok(Revocation { of: before, revision: work.revision(), fresh: false });
    }
    if keep_an_admin {
        members::keep_an_admin(work, act, |key, _| key == id.to_string())?;
    }
    let revision = end(work, act, &before)?;
    let of = get(work.conn, id)?.ok_or(Refused::Missing)?;
    Ok(Revocation { of, revision, fresh: true })
}

/// Writes that a key is revoked; the revision at which that holds.
pub(super) fn end(work: &mut Work<'_>, act: &Act, before: &Key) -> rusqlite::Result<u64> {
    let id = before.id.to_string();
    work.conn.prepare_cached("UPDATE keys SET revoked_at = ?, revoked_by = ? WHERE id = ?")?.execute((
        act.at.as_millisecond(),
        &act.actor,
        &id,
    ))?;
    let detail = json!({
        "member": before.member.as_str(), "app": before.app.as_ref().map(AppName::as_str), "label": before.label,
        "hint": before.hint,
    });
    audit::note(work.conn, act, "key.revoke", &id, detail)?;
    work.announce(Notice::Key(before.id))
}

/// Notes when and from where keys were last used.
#[derive(Debug)]
pub(in crate::store) struct LastUses(std::vec::IntoIter<Use<KeyId>>);

impl LastUses {
    /// Those of one key stand together, the last one last.
    pub(in crate::store) fn new(uses: Vec<Use<KeyId>>) -> Self {
        Self(uses.into_iter())
    }
}

impl Bulk for LastUses {
    fn piece(&mut self, work: &mut Work<'_>, until: Instant) -> rusqlite::Result<bool> {
        while let Some(uses) = first_of_one(&self.0) {
            note_uses(work.conn, uses)?;
            let same = uses.len();
            self.0.by_ref().take(same).for_each(drop);
            if Instant::now() >= until {
                break;
            }
        }
        Ok(self.0.len() > 0)
    }

    fn done(&self) -> u64 {
        0
    }
}

/// Notes when and from where a key was last used, and its networks. `uses` are of one key, the last one last.
pub(super) fn note_uses(conn: &Connection, uses: &[Use<KeyId>]) -> rusqlite::Result<()> {
    let Some(last) = uses.last() else { return Ok(()) };
    let of = last.of.to_string();
    conn.prepare_cached("UPDATE keys SET last_used_at = ?, last_used_from = ? WHERE id = ?")?.execute((
        last.at,
        last.from.to_string(),
        &of,
    ))?;
    uses.iter().try_for_each(|used| Users::Keys.note(conn, &of, used.from, used.at))
}

pub(in crate::store) fn get(conn: &Connection, id: KeyId) -> rusqlite::Result<Option<Key>> {
    conn.prepare_cached(&format!("{SELECT} WHERE k.id = ?"))?.query_row([id.to_string()], key).optional()
}

pub(in crate::store) fn by_digest(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<Key>> {
    conn.prepare_cached(&format!("{SELECT} WHERE k.digest = ?"))?
        .query_row([digest.as_bytes()], key)
        .optional()
}

pub(in crate::store) fn list(conn: &Connection, filter: &KeyFilter) -> rusqlite::Result<Vec<Key>> {
    let mut sql = format!("{SELECT} WHERE true");
    let mut values = Vec::new();
    let mut and = |clause: &str, value: String| {
        sql.push_str(" AND ");
        sql.push_str(clause);
        values.push(Value::from(value));
    };
    if let Some(owner) = &filter.owner {
        and("m.removed_at IS NULL AND m.name = ?", owner.to_string());
    }
    if let Some(app) = &filter.within {
        and("k.app = ?", app.to_string());
    }
    if let Some(before) = filter.before {
        and("k.id < ?", before.to_string());
    }
    sql.push_str(" ORDER BY k.id DESC LIMIT ?");
    values.push(Value::from(i64::try_from(filter.limit).unwrap_or(i64::MAX)));
    conn.prepare_cached(&sql)?.query_map(params_from_iter(values), key)?.collect()
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: parsed(row, "id", |id| KeyId::parse(id).ok_or(Unreadable("key id")))?,
        member: parsed(row, "member", MemberName::parse)?,
        orphaned: row.get("orphaned")?,
        scopes: parsed(row, "scopes", scopes)?,
        app: parsed_if(row, "app", AppName::parse)?,
        label: row.get("label")?,
        hint: row.get("hint")?,
        created_at: moment(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        seen_ended: time(row, "seen_ended")?,
        revoked_at: time(row, "revoked_at")?,
        revoked_by: row.get("revoked_by")?,
        last_used_at: time(row, "last_used_at")?,
        last_used_from: parsed_if(row, "last_used_from", str::parse::<IpAddr>)?,
    })
}

/// Scopes as they are stored.
pub(super) fn scopes(text: &str) -> Result<Scopes, Unreadable> {
    text.split(',').map(|name| Scope::parse(name).ok_or(Unreadable("scope"))).collect()
}
