//! Rows of management keys.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::json;

use super::super::{Act, KeyFilter, NewKey, Revocation};
use super::feed::Notice;
use super::work::Work;
use super::{Unreadable, audit, members, moment, parsed, time};
use crate::credential::Digest;
use crate::model::{AppName, Key, KeyId, MemberName, Scope, Scopes};

const SELECT: &str =
    "SELECT k.id, m.name AS member, k.scopes, k.app, k.label, k.hint, k.created_at, k.expires_at,
    k.revoked_at FROM keys k JOIN members m ON m.id = k.member";

pub(in crate::store) fn mint(work: &mut Work<'_>, act: &Act, new: NewKey) -> rusqlite::Result<(Key, u64)> {
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
    let key = Key {
        id,
        member: new.member,
        scopes: new.scopes,
        app: new.app,
        label: new.label.as_str().to_owned(),
        hint: new.hint,
        created_at: act.at,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    Ok((key, revision))
}

pub(in crate::store) fn revoke(
    work: &mut Work<'_>,
    act: &Act,
    id: KeyId,
) -> rusqlite::Result<Option<Revocation<Key>>> {
    let fresh = work
        .conn
        .prepare_cached("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")?
        .execute((act.at.as_millisecond(), id.to_string()))?
        > 0;
    let Some(of) = get(work.conn, id)? else { return Ok(None) };
    let mut revision = work.revision();
    if fresh {
        let detail = json!({ "member": of.member.as_str(), "label": of.label, "hint": of.hint });
        audit::note(work.conn, act, "key.revoke", &id.to_string(), detail)?;
        revision = work.announce(Notice::Key(id))?;
    }
    Ok(Some(Revocation { of, revision, fresh }))
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
        scopes: parsed(row, "scopes", |scopes| {
            let scope = |name| Scope::parse(name).ok_or(Unreadable("scope"));
            scopes.split(',').map(scope).collect::<Result<Scopes, _>>()
        })?,
        app: match row.get::<_, Option<String>>("app")? {
            Some(_) => Some(parsed(row, "app", AppName::parse)?),
            None => None,
        },
        label: row.get("label")?,
        hint: row.get("hint")?,
        created_at: moment(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: time(row, "revoked_at")?,
    })
}
