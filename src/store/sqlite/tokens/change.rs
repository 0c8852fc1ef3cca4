//! Changes to rows of tokens: edited, revoked, deleted.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::super::{Act, Outlets, Refused, Revocation, TokenEdit, TokenFilter};
use super::super::audit;
use super::super::feed::Notice;
use super::super::outbox::{About, enqueue};
use super::super::repeats::{begin, made};
use super::super::work::{Halt, Work};
use super::{FOR_EVER, by_id, get, listed};
use crate::credential::Digest;
use crate::model::{Ended, Event, Lifetime, MemberName, Token, TokenId};

pub(in crate::store) fn revoke(
    work: &mut Work<'_>,
    act: &Act,
    id: TokenId,
    reason: Option<&str>,
    outlets: Outlets,
) -> Result<Revocation<Token>, Halt> {
    begin(work, act)?;
    let before = by_id(work.conn, id)?.ok_or(Refused::Missing)?;
    if before.revoked.is_some() {
        made(work, act, &id.to_string(), 0)?;
        return Ok(Revocation { of: before, revision: work.revision(), fresh: false });
    }
    let revision = end(work, act, &before, reason)?;
    tell(work, act, &before, reason, outlets)?;
    // What it ends is not known yet: that is kept by the revision.
    made(work, act, &id.to_string(), revision)?;
    let of = by_id(work.conn, id)?.ok_or(Refused::Missing)?;
    Ok(Revocation { of, revision, fresh: true })
}

/// Writes that a token is revoked; the revision at which that holds.
pub(in crate::store::sqlite) fn end(
    work: &mut Work<'_>,
    act: &Act,
    before: &Token,
    reason: Option<&str>,
) -> rusqlite::Result<u64> {
    let id = before.id.to_string();
    work.conn
        .prepare_cached(
            "UPDATE tokens SET revoked_at = ?, revoked_by = ?, revoke_reason = ?, revision = revision + 1
             WHERE id = ?",
        )?
        .execute((act.at.as_millisecond(), &act.actor, reason, &id))?;
    audit::note(work.conn, act, "token.revoke", &id, told(before, reason))?;
    work.announce(Notice::Token(before.id))
}

/// Writes that a token ends at `end`, which is sooner than it would have. One in its place is to live as long as it was
/// to.
pub(in crate::store::sqlite) fn shorten(
    work: &mut Work<'_>,
    before: &Token,
    end: Timestamp,
) -> rusqlite::Result<u64> {
    work.conn
        .prepare_cached("UPDATE tokens SET expires_at = ?, revision = revision + 1 WHERE id = ?")?
        .execute((end.as_millisecond(), before.id.to_string()))?;
    work.announce(Notice::Token(before.id))
}

/// Has the owner told that a token was revoked; by mail only where it was somebody else who did.
fn tell(
    work: &Work<'_>,
    act: &Act,
    before: &Token,
    reason: Option<&str>,
    outlets: Outlets,
) -> rusqlite::Result<()> {
    let owner = before.created_by.as_ref().map_or(TokenFilter::OPERATOR, MemberName::as_str);
    let own = owner == act.actor;
    let told = json!({ "done": "revoked", "by": act.actor, "reason": reason });
    enqueue(work, act.at, Event::TokenRevoked, &About::Token(before), told, outlets, !own)
}

/// Revokes a token and forgets it.
pub(in crate::store) fn delete(
    work: &mut Work<'_>,
    act: &Act,
    id: TokenId,
    outlets: Outlets,
) -> Result<Revocation<Token>, Halt> {
    begin(work, act)?;
    let mut of = get(work.conn, id)?.ok_or(Refused::Missing)?;
    if of.revoked.is_none() {
        audit::note(work.conn, act, "token.revoke", &id.to_string(), told(&of, None))?;
        tell(work, act, &of, None, outlets)?;
        of.revoked = Some(Ended { at: act.at, by: act.actor.clone(), reason: None });
    }
    let digest: [u8; 32] = work
        .conn
        .prepare_cached("DELETE FROM tokens WHERE id = ? RETURNING digest")?
        .query_row([id.to_string()], |row| row.get(0))?;
    audit::note(work.conn, act, "token.delete", &id.to_string(), told(&of, None))?;
    let revision = work.announce(Notice::Forgotten(id, &Digest::from_bytes(digest)))?;
    Ok(Revocation { of, revision, fresh: true })
}

pub(in crate::store) fn edit(
    work: &mut Work<'_>,
    act: &Act,
    id: TokenId,
    edit: TokenEdit,
) -> Result<(Token, u64), Halt> {
    begin(work, act)?;
    let before = get(work.conn, id)?.ok_or(Refused::Missing)?;
    if edit.expected.is_some_and(|expected| !expected.contains(&before.revision)) {
        return Err(Refused::Stale.into());
    }
    let mut after = before.clone();
    if let Some(end) = edit.expires_at {
        if before.expires_at.is_some_and(|now| now < end) {
            return Err(Refused::Later.into());
        }
        after.expires_at = Some(end);
        if after.expires_at != before.expires_at {
            after.lifetime = Some(Lifetime::between(before.created_at, end));
        }
    }
    after.label = edit.label.unwrap_or(after.label);
    after.description = edit.description.unwrap_or(after.description);
    after.rules.scopes = edit.scopes.unwrap_or(after.rules.scopes);
    after.rules.networks = edit.networks.unwrap_or(after.rules.networks);
    after.rules.rate = edit.rate.unwrap_or(after.rules.rate);
    let changes = changes(&before, &after);
    if changes.is_empty() {
        return Ok((before, work.revision()));
    }
    work.conn
        .prepare_cached(
            "UPDATE tokens SET label = ?, description = ?, scopes = ?, allowed_addresses = ?, rate_limit = ?,
             expires_at = ?, lifetime = ?, minted_for = ?, revision = revision + 1 WHERE id = ?",
        )?
        .execute((
            after.label.as_str(),
            after.description.as_str(),
            listed(&after.rules.scopes),
            listed(&after.rules.networks),
            after.rules.rate.map(|rate| rate.to_string()),
            after.expires_at.map(Timestamp::as_millisecond),
            after.lifetime.as_ref().map(Lifetime::to_string),
            after.minted_for.as_ref().map_or_else(|| FOR_EVER.to_owned(), Lifetime::to_string),
            id.to_string(),
        ))?;
    let detail = json!({
        "app": before.app.as_str(), "environment": before.environment.as_str(), "changes": changes,
    });
    audit::note(work.conn, act, "token.edit", &id.to_string(), detail)?;
    let revision = work.announce(Notice::Token(id))?;
    after.revision += 1;
    Ok((after, revision))
}

/// What differs, as it was and as it is.
fn changes(before: &Token, after: &Token) -> Map<String, Value> {
    let shown = |token: &Token| {
        let texts = |items: Vec<String>| Value::from(items);
        [
            ("label", token.label.as_str().into()),
            ("description", token.description.as_str().into()),
            ("scopes", texts(token.rules.scopes.iter().map(ToString::to_string).collect())),
            ("allowed_addresses", texts(token.rules.networks.iter().map(ToString::to_string).collect())),
            ("rate_limit", token.rules.rate.map(|rate| rate.to_string()).into()),
            ("expires_at", token.expires_at.map(|end| end.to_string()).into()),
        ]
    };
    let pairs = shown(before).into_iter().zip(shown(after));
    pairs
        .filter(|((_, from), (_, to))| from != to)
        .map(|((name, from), (_, to))| (name.to_owned(), json!({ "from": from, "to": to })))
        .collect()
}

fn told(token: &Token, reason: Option<&str>) -> Value {
    json!({
        "app": token.app.as_str(), "environment": token.environment.as_str(), "label": token.label.as_str(),
        "hint": token.hint, "reason": reason,
    })
}
