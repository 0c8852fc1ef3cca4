//! Rows of members.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::super::{Act, MemberEdit, Outlets, Refused, Removal};
use super::feed::Notice;
use super::outbox::{About, enqueue};
use super::repeats::{begin, made};
use super::tokens::standing;
use super::work::{Halt, Work};
use super::{audit, moment, parsed, parsed_if};
use crate::model::{Email, Event, KeyId, Member, MemberName, Scope};

const SELECT: &str = "SELECT id, name, email, created_at, revision FROM members";
const KEY_IN_FORCE: &str =
    "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > judged_at(k.id, ?))";

/// The row of a member that is not removed.
pub(super) fn find(conn: &Connection, name: &MemberName) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM members WHERE name = ? AND removed_at IS NULL")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()
}

/// The row of a member, made if there is none.
pub(super) fn find_or_add(work: &mut Work<'_>, act: &Act, name: &MemberName) -> rusqlite::Result<i64> {
    match find(work.conn, name)? {
        Some(id) => Ok(id),
        None => insert(work, act, name, None),
    }
}

pub(in crate::store) fn add(
    work: &mut Work<'_>,
    act: &Act,
    name: &MemberName,
    email: Option<&Email>,
) -> Result<(Member, u64), Halt> {
    begin(work, act)?;
    if find(work.conn, name)?.is_some() {
        return Err(Refused::Taken.into());
    }
    insert(work, act, name, email)?;
    made(work, act, name.as_str(), 0)?;
    Ok((get(work.conn, name)?.ok_or(Refused::Missing)?, work.revision()))
}

pub(in crate::store) fn edit(
    work: &mut Work<'_>,
    act: &Act,
    name: &MemberName,
    edit: MemberEdit,
) -> Result<(Member, u64), Halt> {
    begin(work, act)?;
    let before = get(work.conn, name)?.ok_or(Refused::Missing)?;
    if edit.expected.is_some_and(|expected| !expected.contains(&before.revision)) {
        return Err(Refused::Stale.into());
    }
    let mut after = before.clone();
    after.name = edit.name.unwrap_or(after.name);
    after.email = edit.email.unwrap_or(after.email);
    if after.name != before.name && find(work.conn, &after.name)?.is_some() {
        return Err(Refused::Taken.into());
    }
    if after.name == before.name && after.email == before.email {
        return Ok((before, work.revision()));
    }
    work.conn
        .prepare_cached("UPDATE members SET name = ?, email = ?, revision = revision + 1 WHERE id = ?")?
        .execute((after.name.as_str(), after.email.as_ref().map(Email::as_str), after.number))?;
    let detail = json!({
        "name": after.name.as_str(), "email": after.email.as_ref().map(Email::as_str),
        "email_before": before.email.as_ref().map(Email::as_str),
    });
    audit::note(work.conn, act, "member.edit", before.name.as_str(), detail)?;
    after.revision += 1;
    Ok((after, work.announce(Notice::Member(name))?))
}

/// Removes a member, and with it all that they made. `keep_an_admin`: not the last who may do everything.
pub(in crate::store) fn remove(
    work: &mut Work<'_>,
    act: &Act,
    name: &MemberName,
    keep_an_admin: bool,
    outlets: Outlets,
) -> Result<Removal, Halt> {
    begin(work, act)?;
    let member = find(work.conn, name)?.ok_or(Refused::Missing)?;
    if keep_an_admin {
        self::keep_an_admin(work, act, |_, of| of == member)?;
    }
    let now = act.at.as_millisecond();
    let tokens = standing::of_member(work, act.at, member)?;
    let keys = work
        .conn
        .prepare_cached(&format!("SELECT count(*) FROM keys k WHERE {KEY_IN_FORCE} AND k.member = ?"))?
        .query_row((now, member), |row| row.get::<_, i64>(0))?
        .unsigned_abs();
    let detail = json!({ "tokens_ended": tokens, "keys_ended": keys });
    // Before the removal: whoever removes themselves is still somebody while they do it.
    audit::note(work.conn, act, "member.remove", name.as_str(), detail)?;
    if tokens + keys > 0 {
        let told = json!({ "by": act.actor, "tokens_ended": tokens, "keys_ended": keys });
        enqueue(work, act.at, Event::MemberRemoved, &About::Member(member, name), told, outlets, true)?;
    }
    work.conn
        .prepare_cached(
            "UPDATE members SET removed_at = ?, removed_by = ?, revision = revision + 1 WHERE id = ?",
        )?
        .execute((now, &act.actor, member))?;
    Ok(Removal { tokens, keys, revision: work.announce(Notice::Removed(member))? })
}

/// Refuses what takes from everyone the keys that may do everything everywhere, or leaves only such as expire where one
/// goes that does not; `goes` tells of a key and its member whether it would.
pub(super) fn keep_an_admin(
    work: &Work<'_>,
    act: &Act,
    goes: impl Fn(&str, i64) -> bool,
) -> Result<(), Halt> {
    let (going, staying) = admins(work, act, goes)?;
    if going.0 && !staying.0 || going.1 && !staying.1 {
        return Err(Refused::LastAdmin.into());
    }
    Ok(())
}

/// Whether no other key may do everything everywhere, as this one may.
pub(super) fn is_last_admin(work: &Work<'_>, act: &Act, key: KeyId) -> rusqlite::Result<bool> {
    let (going, staying) = admins(work, act, |id, _| id == key.to_string())?;
    Ok(going.0 && !staying.0)
}

/// Of the keys that go and those that stay and may do everything everywhere: whether there is one, and whether one lasts.
fn admins(
    work: &Work<'_>,
    act: &Act,
    goes: impl Fn(&str, i64) -> bool,
) -> rusqlite::Result<((bool, bool), (bool, bool))> {
    let sql = format!(
        "SELECT k.id, k.member, k.scopes, k.expires_at IS NULL AS lasts FROM keys k
         JOIN members m ON m.id = k.member WHERE m.removed_at IS NULL AND k.app IS NULL AND {KEY_IN_FORCE}"
    );
    let (mut going, mut staying) = ((false, false), (false, false));
    let mut query = work.conn.prepare_cached(&sql)?;
    let mut rows = query.query([act.at.as_millisecond()])?;
    while let Some(row) = rows.next()? {
        if !parsed(row, "scopes", super::keys::scopes)?.allow(Scope::Admin) {
            continue;
        }
        let side =
            if goes(&row.get::<_, String>("id")?, row.get("member")?) { &mut going } else { &mut staying };
        *side = (true, side.1 || row.get("lasts")?);
    }
    Ok((going, staying))
}

pub(in crate::store) fn get(conn: &Connection, name: &MemberName) -> rusqlite::Result<Option<Member>> {
    conn.prepare_cached(&format!("{SELECT} WHERE name = ? AND removed_at IS NULL"))?
        .query_row([name.as_str()], member)
        .optional()
}

/// The members, newest first, from below a number.
pub(in crate::store) fn list(
    conn: &Connection,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<Member>> {
    conn.prepare_cached(&format!("{SELECT} WHERE removed_at IS NULL AND id < ? ORDER BY id DESC LIMIT ?"))?
        .query_map((before.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)), member)?
        .collect()
}

fn insert(work: &mut Work<'_>, act: &Act, name: &MemberName, email: Option<&Email>) -> rusqlite::Result<i64> {
    work.conn.prepare_cached("INSERT INTO members (name, email, created_at) VALUES (?, ?, ?)")?.execute((
        name.as_str(),
        email.map(Email::as_str),
        act.at.as_millisecond(),
    ))?;
    let id = work.conn.last_insert_rowid();
    let detail = json!({ "email": email.map(Email::as_str) });
    audit::note(work.conn, act, "member.add", name.as_str(), detail)?;
    work.announce(Notice::Member(name))?;
    Ok(id)
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        number: row.get("id")?,
        name: parsed(row, "name", MemberName::parse)?,
        email: parsed_if(row, "email", Email::parse)?,
        created_at: moment(row, "created_at")?,
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
    })
}
