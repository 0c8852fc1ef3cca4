//! Rows of upstream secrets: their values are sealed before they come here.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::super::{Act, NewSecret, Refused, Reseal, Revocation, SealedSecret, SecretEdit};
use super::feed::Notice;
use super::repeats::{begin, made};
use super::work::{Halt, Work, meta, set_meta};
use super::{Unreadable, audit, moment, parsed, parsed_if, time};
use crate::model::{
    AppName, ClientAuth, Ended, EnvironmentName, Grant, Sealed, Secret, SecretKind, SecretName, SecretScope,
    Text, TokenUrl,
};

const SELECT: &str = "SELECT number, name, kind, description, apps, products, environments, grant_terms, sealed_with,
    sealed, created_at, created_by, set_at, set_by, expires_at, revoked_at, revoked_by, revision FROM secrets";
/// Under which name `meta` keeps the key that everything is sealed with.
const SEALING_KEY: &str = "sealing_key";

/// Gives a name a value: a new one, or another in the place of that which the caller has seen.
pub(in crate::store) fn put(
    work: &mut Work<'_>,
    act: &Act,
    new: &NewSecret,
) -> Result<(SealedSecret, u64), Halt> {
    begin(work, act)?;
    let before = get(work.conn, &new.name)?;
    if before.as_ref().map(|before| before.secret.revision) != new.seen {
        return Err(Refused::Stale.into());
    }
    seal_with(work, &new.sealed)?;
    let (at, by) = (act.at.as_millisecond(), act.actor.as_str());
    work.conn
        .prepare_cached(
            "INSERT INTO secrets (name, kind, description, apps, products, environments, grant_terms, sealed_with, sealed,
                 created_at, created_by, set_at, set_by, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?10, ?11, ?12)
             ON CONFLICT (name) DO UPDATE SET kind = ?2, description = ?3, apps = ?4, products = ?5, environments = ?6,
                 grant_terms = ?7, sealed_with = ?8, sealed = ?9, set_at = ?10, set_by = ?11, expires_at = ?12,
                 revoked_at = NULL, revoked_by = NULL, revision = revision + 1",
        )?
        .execute((
            new.name.as_str(),
            new.kind.as_str(),
            new.description.as_str(),
            names(new.scope.apps.iter().map(AppName::as_str)),
            names(new.scope.products.iter().map(AppName::as_str)),
            names(new.scope.environments.iter().map(EnvironmentName::as_str)),
            new.grant.as_ref().map(|grant| terms(grant).to_string()),
            &new.sealed.key,
            &new.sealed.bytes,
            at,
            by,
            new.expires_at.map(Timestamp::as_millisecond),
        ))?;
    let stored = get(work.conn, &new.name)?.ok_or(Refused::Missing)?;
    let mut detail = told(&stored.secret);
    detail["new"] = before.is_none().into();
    finish(work, act, "secret.set", stored, detail)
}

pub(in crate::store) fn edit(
    work: &mut Work<'_>,
    act: &Act,
    name: &SecretName,
    edit: &SecretEdit,
) -> Result<(SealedSecret, u64), Halt> {
    begin(work, act)?;
    let before = get(work.conn, name)?.ok_or(Refused::Missing)?;
    if before.secret.revision != edit.seen {
        return Err(Refused::Stale.into());
    }
    seal_with(work, &edit.sealed)?;
    work.conn
        .prepare_cached(
            "UPDATE secrets SET description = ?2, apps = ?3, products = ?4, environments = ?5, sealed_with = ?6,
                 sealed = ?7, expires_at = ?8, revision = revision + 1 WHERE name = ?1",
        )?
        .execute((
            name.as_str(),
            edit.description.as_str(),
            names(edit.scope.apps.iter().map(AppName::as_str)),
            names(edit.scope.products.iter().map(AppName::as_str)),
            names(edit.scope.environments.iter().map(EnvironmentName::as_str)),
            &edit.sealed.key,
            &edit.sealed.bytes,
            edit.expires_at.map(Timestamp::as_millisecond),
        ))?;
    let stored = get(work.conn, name)?.ok_or(Refused::Missing)?;
    let detail = told(&stored.secret);
    finish(work, act, "secret.edit", stored, detail)
}

/// Revokes the value that is there, once.
pub(in crate::store) fn revoke(
    work: &mut Work<'_>,
    act: &Act,
    name: &SecretName,
) -> Result<Revocation<SealedSecret>, Halt> {
    begin(work, act)?;
    let before = get(work.conn, name)?.ok_or(Refused::Missing)?;
    if before.secret.revoked.is_some() {
        return Ok(Revocation { of: before, revision: work.revision(), fresh: false });
    }
    work.conn
        .prepare_cached(
            "UPDATE secrets SET revoked_at = ?, revoked_by = ?, revision = revision + 1 WHERE name = ?",
        )?
        .execute((act.at.as_millisecond(), &act.actor, name.as_str()))?;
    let stored = get(work.conn, name)?.ok_or(Refused::Missing)?;
    let (of, revision) = finish(work, act, "secret.revoke", stored, json!({}))?;
    Ok(Revocation { of, revision, fresh: true })
}

/// Deletes a secret; returns it as it was.
pub(in crate::store) fn delete(
    work: &mut Work<'_>,
    act: &Act,
    name: &SecretName,
) -> Result<(SealedSecret, u64), Halt> {
    begin(work, act)?;
    let before = get(work.conn, name)?.ok_or(Refused::Missing)?;
    work.conn.prepare_cached("DELETE FROM secrets WHERE name = ?")?.execute([name.as_str()])?;
    finish(work, act, "secret.delete", before, json!({}))
}

/// Seals everything under another key; returns how much that was.
pub(in crate::store) fn rekey(
    work: &mut Work<'_>,
    act: &Act,
    key: &str,
    reseal: &mut Reseal,
) -> Result<u64, Halt> {
    begin(work, act)?;
    // All of it first: what cannot be opened must be found before anything is written.
    let mut resealed = Vec::new();
    for row in all(work.conn)? {
        let sealed = reseal(&row).map_err(|why| Refused::Unopened(row.secret.name.clone(), why))?;
        resealed.push((row.secret.name, sealed));
    }
    for (name, sealed) in &resealed {
        work.conn
            .prepare_cached("UPDATE secrets SET sealed_with = ?, sealed = ? WHERE name = ?")?
            .execute((&sealed.key, &sealed.bytes, name.as_str()))?;
    }
    set_meta(work.conn, SEALING_KEY, key)?;
    let count = resealed.len() as u64;
    audit::note(work.conn, act, "secret.rekey", key, json!({ "secrets": count }))?;
    made(work, act, key, count)?;
    Ok(count)
}

pub(in crate::store) fn get(conn: &Connection, name: &SecretName) -> rusqlite::Result<Option<SealedSecret>> {
    conn.prepare_cached(&format!("{SELECT} WHERE name = ?"))?.query_row([name.as_str()], secret).optional()
}

/// The secrets, newest first, from below a number, those that are for an app where one is named; each with its number.
pub(in crate::store) fn list(
    conn: &Connection,
    within: Option<&AppName>,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Secret)>> {
    let sql = format!(
        "{SELECT} WHERE number < ?1 AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(apps) WHERE value = ?2))
         ORDER BY number DESC LIMIT ?3"
    );
    let (before, limit) = (before.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    conn.prepare_cached(&sql)?
        .query_map((before, within.map(AppName::as_str), limit), |row| {
            Ok((row.get("number")?, secret(row)?.secret))
        })?
        .collect()
}

/// All of them, in no order that matters.
pub(in crate::store) fn all(conn: &Connection) -> rusqlite::Result<Vec<SealedSecret>> {
    conn.prepare_cached(SELECT)?.query_map([], secret)?.collect()
}

/// The key that everything is sealed with, once anything was.
pub(in crate::store) fn sealing_key(conn: &Connection) -> rusqlite::Result<Option<String>> {
    meta(conn, SEALING_KEY)
}

/// Everything is sealed with one key: while the key is changed, whoever sealed with the one before tries again.
fn seal_with(work: &Work<'_>, sealed: &Sealed) -> Result<(), Halt> {
    let current = sealing_key(work.conn)?;
    if current.as_ref() == Some(&sealed.key) {
        return Ok(());
    }
    if work.conn.prepare_cached("SELECT 1 FROM secrets")?.exists([])? {
        return Err(Refused::Stale.into());
    }
    Ok(set_meta(work.conn, SEALING_KEY, &sealed.key)?)
}

fn finish(
    work: &mut Work<'_>,
    act: &Act,
    action: &str,
    stored: SealedSecret,
    detail: Value,
) -> Result<(SealedSecret, u64), Halt> {
    audit::note(work.conn, act, action, stored.secret.name.as_str(), detail)?;
    let revision = work.announce(Notice::Secret(&stored.secret.name))?;
    Ok((stored, revision))
}

/// What the audit log says of a secret.
fn told(secret: &Secret) -> Value {
    json!({
        "type": secret.kind.as_str(),
        "apps": secret.scope.apps.iter().map(AppName::as_str).collect::<Vec<_>>(),
        "products": secret.scope.products.iter().map(AppName::as_str).collect::<Vec<_>>(),
        "environments": secret.scope.environments.iter().map(EnvironmentName::as_str).collect::<Vec<_>>(),
        "expires_at": secret.expires_at,
        "grant": secret.grant.as_ref().map(terms),
    })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    json!(names.collect::<Vec<_>>()).to_string()
}

fn terms(grant: &Grant) -> Value {
    json!({
        "token_url": grant.token_url.to_string(), "client_id": grant.client_id, "scopes": grant.scopes,
        "auth": grant.auth.as_str(),
    })
}

fn secret(row: &Row<'_>) -> rusqlite::Result<SealedSecret> {
    let revoked =
        time(row, "revoked_at")?.map(|at| row.get("revoked_by").map(|by| Ended { at, by, reason: None }));
    let secret = Secret {
        name: parsed(row, "name", SecretName::parse)?,
        kind: parsed(row, "kind", |kind| SecretKind::parse(kind).ok_or(Unreadable("type of secret")))?,
        description: parsed(row, "description", Text::parse)?,
        scope: SecretScope {
            apps: listed(row, "apps", |name| AppName::parse(name).ok())?,
            products: listed(row, "products", |name| AppName::parse(name).ok())?,
            environments: listed(row, "environments", |name| EnvironmentName::parse(name).ok())?,
        },
        grant: parsed_if(row, "grant_terms", |text| grant(text).ok_or(Unreadable("grant")))?,
        created_at: moment(row, "created_at")?,
        created_by: row.get("created_by")?,
        set_at: moment(row, "set_at")?,
        set_by: row.get("set_by")?,
        expires_at: time(row, "expires_at")?,
        revoked: revoked.transpose()?,
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
    };
    Ok(SealedSecret { secret, sealed: Sealed { key: row.get("sealed_with")?, bytes: row.get("sealed")? } })
}

fn listed<T>(row: &Row<'_>, column: &str, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<Vec<T>> {
    parsed(row, column, |text| {
        let names: Vec<String> = serde_json::from_str(text).map_err(|_| Unreadable("list of names"))?;
        names.iter().map(|name| parse(name).ok_or(Unreadable("name"))).collect::<Result<_, _>>()
    })
}

fn grant(text: &str) -> Option<Grant> {
    let terms: Value = serde_json::from_str(text).ok()?;
    let scopes = terms["scopes"].as_array()?.iter().map(|scope| scope.as_str().map(str::to_owned));
    Some(Grant {
        token_url: TokenUrl::parse(terms["token_url"].as_str()?).ok()?,
        client_id: terms["client_id"].as_str()?.to_owned(),
        scopes: scopes.collect::<Option<_>>()?,
        auth: ClientAuth::parse(terms["auth"].as_str()?)?,
    })
}
