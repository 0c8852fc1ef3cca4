//! New rows of tokens: minted, or as the successor of another.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, named_params};
use serde_json::json;

use super::super::super::{Act, Limits, NewToken, Refused, Rotation};
use super::super::feed::Notice;
use super::super::repeats::{begin, made};
use super::super::work::{Halt, Work};
use super::super::{audit, environments, shares};
use super::standing::{is_in_place, keep_within};
use super::{get, listed};
use crate::model::{KeyId, Lifetime, Status, Token, TokenApp, TokenId};

pub(in crate::store) fn mint(
    work: &mut Work<'_>,
    act: &Act,
    new: &NewToken,
    limits: Limits,
) -> Result<(Token, u64), Halt> {
    begin(work, act)?;
    let member = act.key.map(|key| member_of(work, key)).transpose()?.flatten();
    keep_within(work, act.at, member, limits)?;
    let (seq, deployment) = match &new.app {
        // What opens every app is pinned to no app's deployment.
        TokenApp::Every => (0, None),
        TokenApp::One(app) => {
            let (seq, id) = environments::current(work.conn, app, &new.environment)?;
            (seq, Some(id))
        }
    };
    let id = work.next_token(act.at);
    work.conn
        .prepare_cached(
            "INSERT INTO tokens (id, digest, hint, label, description, app, environment, deployment, deployment_seq,
             on_publish, scopes, allowed_addresses, rate_limit, member, created_at, expires_at, lifetime)
             VALUES (:id, :digest, :hint, :label, :description, :app, :environment, :deployment, :deployment_seq,
             :on_publish, :scopes, :allowed_addresses, :rate_limit, :member, :created_at, :expires_at, :lifetime)",
        )?
        .execute(named_params! {
            ":id": id.to_string(),
            ":digest": new.digest.as_bytes(),
            ":hint": new.hint,
            ":label": new.label.as_str(),
            ":description": new.description.as_str(),
            ":app": new.app.as_str(),
            ":environment": new.environment.as_str(),
            ":deployment": deployment.as_ref().map(|id| id.as_str()),
            ":deployment_seq": seq,
            ":on_publish": new.on_publish.to_string(),
            ":scopes": listed(&new.rules.scopes),
            ":allowed_addresses": listed(&new.rules.networks),
            ":rate_limit": new.rules.rate.map(|rate| rate.to_string()),
            ":member": member,
            ":created_at": act.at.as_millisecond(),
            ":expires_at": new.expires_at.map(Timestamp::as_millisecond),
            ":lifetime": new.lifetime.as_ref().map(Lifetime::to_string),
        })?;
    environments::open(work, act, &new.app, &new.environment)?;
    let mut detail = json!({
        "app": new.app.as_str(), "environment": new.environment.as_str(), "label": new.label.as_str(),
        "hint": new.hint, "expires_at": new.expires_at,
    });
    if let Some(share) = &new.share {
        shares::insert(work, id, share)?;
        detail["share"] = json!({ "uses": share.uses });
    }
    audit::note(work.conn, act, "token.mint", &id.to_string(), detail)?;
    let revision = work.announce(Notice::Token(id))?;
    made(work, act, &id.to_string(), 0)?;
    Ok((get(work.conn, id)?.ok_or(Refused::Missing)?, revision))
}

/// Mints a successor with the same bindings, and lets the old value live on for a while.
pub(in crate::store) fn rotate(
    work: &mut Work<'_>,
    act: &Act,
    new: &Rotation,
    limits: Limits,
) -> Result<(Token, u64), Halt> {
    begin(work, act)?;
    let old = get(work.conn, new.of)?.ok_or(Refused::Missing)?;
    if let Some(successor) = old.successor {
        return Err(Refused::Rotated(successor).into());
    }
    match old.status(act.at) {
        Status::Active => {}
        ended => return Err(Refused::Ended(ended).into()),
    }
    // A successor has the same bindings: it would end with the same deployment, whatever it was told.
    if let Some(end) = old.grace_ends_at() {
        return Err(Refused::Graced(end).into());
    }
    if old.revision != new.seen {
        return Err(Refused::Stale.into());
    }
    let ends = old.expires_at.map_or(new.overlap_ends, |end| end.min(new.overlap_ends));
    // The old value holds the place of both. One that is itself in another's place has none to share: a chain of
    // overlaps would hold any number of live tokens in one place.
    let in_place = is_in_place(work, act.at, old.counts_from, old.predecessor)?;
    if in_place {
        keep_within(work, act.at, owner_of(work, old.id)?, limits)?;
    }
    let counts_from = (!in_place).then_some(ends);
    let id = work.next_token(act.at);
    work.conn
        .prepare_cached(
            "INSERT INTO tokens (id, digest, hint, label, description, app, environment, deployment, deployment_seq,
             on_publish, scopes, allowed_addresses, rate_limit, member, created_at, expires_at, lifetime, counts_from,
             predecessor)
             SELECT :id, :digest, :hint, label, description, app, environment, deployment, deployment_seq,
             on_publish, scopes, allowed_addresses, rate_limit, member, :created_at, :expires_at, :lifetime,
             :counts_from, id FROM tokens WHERE id = :old",
        )?
        .execute(named_params! {
            ":id": id.to_string(),
            ":digest": new.digest.as_bytes(),
            ":hint": new.hint,
            ":created_at": act.at.as_millisecond(),
            ":expires_at": new.expires_at.map(Timestamp::as_millisecond),
            ":lifetime": new.lifetime.as_ref().map(Lifetime::to_string),
            ":counts_from": counts_from.map(Timestamp::as_millisecond),
            ":old": old.id.to_string(),
        })?;
    work.conn
        .prepare_cached(
            "UPDATE tokens SET expires_at = ?, successor = ?, revision = revision + 1 WHERE id = ?",
        )?
        .execute((ends.as_millisecond(), id.to_string(), old.id.to_string()))?;
    let detail = json!({
        "app": old.app.as_str(), "environment": old.environment.as_str(), "label": old.label.as_str(),
        "successor": id.to_string(), "hint": new.hint, "expires_at": new.expires_at, "overlap_ends": ends,
    });
    audit::note(work.conn, act, "token.rotate", &old.id.to_string(), detail)?;
    work.announce(Notice::Token(old.id))?;
    let revision = work.announce(Notice::Token(id))?;
    made(work, act, &id.to_string(), 0)?;
    Ok((get(work.conn, id)?.ok_or(Refused::Missing)?, revision))
}

fn member_of(work: &Work<'_>, key: KeyId) -> rusqlite::Result<Option<i64>> {
    work.conn
        .prepare_cached("SELECT member FROM keys WHERE id = ?")?
        .query_row([key.to_string()], |row| row.get(0))
        .optional()
}

fn owner_of(work: &Work<'_>, id: TokenId) -> rusqlite::Result<Option<i64>> {
    work.conn
        .prepare_cached("SELECT member FROM tokens WHERE id = ?")?
        .query_row([id.to_string()], |row| row.get(0))
}
