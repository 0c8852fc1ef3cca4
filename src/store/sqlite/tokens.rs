//! Rows of tokens.

use std::time::Instant;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde_json::json;

use super::super::{Act, NewToken, Revocation, TokenFilter};
use super::feed::Notice;
use super::work::Work;
use super::writer::Bulk;
use super::{Unreadable, audit, environments, members, moment, parsed, time};
use crate::credential::Digest;
use crate::model::{
    Ended, EnvironmentName, Label, MemberName, OnPublish, Status, Text, Token, TokenApp, TokenId,
};

const SELECT: &str = "SELECT t.id, t.label, t.description, t.app, t.environment, t.deployment, t.on_publish,
    t.hint, t.created_at, m.name AS member, t.expires_at, t.last_used_at, t.revoked_at, t.revoked_by,
    t.revoke_reason FROM tokens t LEFT JOIN members m ON m.id = t.member";
/// Tokens deleted in one piece of work.
const FORGOTTEN_AT_ONCE: usize = 64;

pub(in crate::store) fn mint(
    work: &mut Work<'_>,
    act: &Act,
    new: NewToken,
) -> rusqlite::Result<Option<(Token, u64)>> {
    let member = match &new.created_by {
        Some(name) => match members::find(work.conn, name)? {
            Some(member) => Some(member),
            None => return Ok(None),
        },
        None => None,
    };
    let id = work.next_token(act.at);
    work.conn
        .prepare_cached(
            "INSERT INTO tokens (id, digest, hint, label, description, app, environment, deployment, on_publish,
             member, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            id.to_string(),
            new.digest.as_bytes(),
            &new.hint,
            new.label.as_str(),
            new.description.as_str(),
            new.app.as_str(),
            new.environment.as_str(),
            &new.deployment,
            new.on_publish.to_string(),
            member,
            act.at.as_millisecond(),
            new.expires_at.map(|end| end.as_millisecond()),
        ))?;
    environments::open(work, act, &new.app, &new.environment)?;
    let detail = json!({
        "app": new.app.as_str(), "environment": new.environment.as_str(), "label": new.label.as_str(),
        "hint": new.hint, "expires_at": new.expires_at,
    });
    audit::note(work.conn, act, "token.mint", &id.to_string(), detail)?;
    let revision = work.announce(Notice::Token(id))?;
    let token = Token {
        id,
        label: new.label,
        description: new.description,
        app: new.app,
        environment: new.environment,
        deployment: new.deployment,
        on_publish: new.on_publish,
        hint: new.hint,
        created_at: act.at,
        created_by: new.created_by,
        expires_at: new.expires_at,
        last_used_at: None,
        revoked: None,
    };
    Ok(Some((token, revision)))
}

pub(in crate::store) fn revoke(
    work: &mut Work<'_>,
    act: &Act,
    id: TokenId,
    reason: Option<&str>,
) -> rusqlite::Result<Option<Revocation<Token>>> {
    let fresh = work
        .conn
        .prepare_cached(
            "UPDATE tokens SET revoked_at = ?, revoked_by = ?, revoke_reason = ?
             WHERE id = ? AND revoked_at IS NULL",
        )?
        .execute((act.at.as_millisecond(), &act.actor, reason, id.to_string()))?
        > 0;
    let Some(of) = get(work.conn, id)? else { return Ok(None) };
    let mut revision = work.revision();
    if fresh {
        let detail = json!({
            "app": of.app.as_str(), "environment": of.environment.as_str(), "label": of.label.as_str(),
            "hint": of.hint, "reason": reason,
        });
        audit::note(work.conn, act, "token.revoke", &id.to_string(), detail)?;
        revision = work.announce(Notice::Token(id))?;
    }
    Ok(Some(Revocation { of, revision, fresh }))
}

pub(in crate::store) fn get(conn: &Connection, id: TokenId) -> rusqlite::Result<Option<Token>> {
    conn.prepare_cached(&format!("{SELECT} WHERE t.id = ?"))?.query_row([id.to_string()], token).optional()
}

pub(in crate::store) fn list(conn: &Connection, filter: &TokenFilter) -> rusqlite::Result<Vec<Token>> {
    let (sql, values) = query(filter);
    conn.prepare_cached(&sql)?.query_map(params_from_iter(values), token)?.collect()
}

/// The query for `filter`: only the clauses it needs, so that an index can serve it.
fn query(filter: &TokenFilter) -> (String, Vec<Value>) {
    let mut sql = format!("{SELECT} WHERE true");
    let mut values = Vec::new();
    let mut and = |clause: &str, value: Option<Value>| {
        sql.push_str(" AND ");
        sql.push_str(clause);
        values.extend(value);
    };
    if let Some(owner) = &filter.owner {
        and("m.removed_at IS NULL AND m.name = ?", Some(owner.to_string().into()));
    }
    if let Some(app) = &filter.within {
        and("t.app = ?", Some(app.to_string().into()));
    }
    if let Some(app) = &filter.app {
        and("t.app = ?", Some(app.clone().into()));
    }
    if let Some(environment) = &filter.environment {
        and("t.environment = ?", Some(environment.clone().into()));
    }
    match filter.member.as_deref() {
        None => {}
        Some(TokenFilter::OPERATOR) => and("t.member IS NULL", None),
        Some(member) => and("m.name = ?", Some(member.to_owned().into())),
    }
    let now = Some(filter.now.as_millisecond().into());
    match filter.status {
        None => {}
        Some(Status::Active) => {
            and("t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?)", now);
        }
        Some(Status::Expired) => and("t.revoked_at IS NULL AND t.expires_at <= ?", now),
        Some(Status::Revoked) => and("t.revoked_at IS NOT NULL", None),
        // Nothing is published yet, so nothing is replaced.
        Some(Status::Replaced) => and("false", None),
    }
    if let Some(q) = &filter.q {
        let mut escaped = String::with_capacity(q.len() + 2);
        for c in q.chars() {
            if matches!(c, '%' | '_' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        and(
            "(t.label || char(10) || t.description || char(10) || t.hint || char(10) || t.id) LIKE ? ESCAPE '\\'",
            Some(format!("%{escaped}%").into()),
        );
    }
    if let Some(before) = filter.before {
        and("t.id < ?", Some(before.to_string().into()));
    }
    sql.push_str(" ORDER BY t.id DESC LIMIT ?");
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
    (sql, values)
}

/// Deletes the tokens that ended long ago.
#[derive(Debug)]
pub(in crate::store) struct Forget {
    cutoff: Timestamp,
    done: u64,
}

impl Forget {
    pub(in crate::store) fn new(cutoff: Timestamp) -> Self {
        Self { cutoff, done: 0 }
    }
}

impl Bulk for Forget {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        let ended: Vec<(TokenId, Digest)> = work
            .conn
            .prepare_cached(
                "SELECT id, digest FROM tokens WHERE revoked_at <= ?1 OR expires_at <= ?1 LIMIT ?2",
            )?
            .query_map((self.cutoff.as_millisecond(), FORGOTTEN_AT_ONCE as i64), |row| {
                let id = parsed(row, "id", |id| TokenId::parse(id).ok_or(Unreadable("token id")))?;
                Ok((id, Digest::from_bytes(row.get("digest")?)))
            })?
            .collect::<rusqlite::Result<_>>()?;
        if ended.is_empty() {
            return Ok(false);
        }
        let mut names = Vec::with_capacity(ended.len());
        for (id, digest) in &ended {
            work.conn.prepare_cached("DELETE FROM tokens WHERE id = ?")?.execute([id.to_string()])?;
            work.announce(Notice::Forgotten(*id, digest))?;
            names.push(id.to_string());
        }
        let act = Act { at: Timestamp::now(), actor: "portcullis".to_owned(), key: None };
        audit::note(work.conn, &act, "token.forget", "tokens.keep_ended", json!({ "tokens": names }))?;
        self.done += ended.len() as u64;
        Ok(ended.len() == FORGOTTEN_AT_ONCE)
    }

    fn done(&self) -> u64 {
        self.done
    }
}

/// Notes when tokens were last used.
#[derive(Debug)]
pub(in crate::store) struct LastUses(std::vec::IntoIter<(TokenId, i64)>);

impl LastUses {
    pub(in crate::store) fn new(uses: Vec<(TokenId, i64)>) -> Self {
        Self(uses.into_iter())
    }
}

impl Bulk for LastUses {
    fn piece(&mut self, work: &mut Work<'_>, until: Instant) -> rusqlite::Result<bool> {
        let mut update = work.conn.prepare_cached(
            "UPDATE tokens SET last_used_at = ?1 WHERE id = ?2 AND (last_used_at IS NULL OR last_used_at < ?1)",
        )?;
        for (id, at) in self.0.by_ref() {
            update.execute((at, id.to_string()))?;
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

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: parsed(row, "id", |id| TokenId::parse(id).ok_or(Unreadable("token id")))?,
        label: parsed(row, "label", Label::parse)?,
        description: parsed(row, "description", Text::parse)?,
        app: parsed(row, "app", TokenApp::parse)?,
        environment: parsed(row, "environment", EnvironmentName::parse)?,
        deployment: row.get("deployment")?,
        on_publish: parsed(row, "on_publish", |rule| OnPublish::parse(rule).ok_or(Unreadable("rule")))?,
        hint: row.get("hint")?,
        created_at: moment(row, "created_at")?,
        created_by: match row.get::<_, Option<String>>("member")? {
            Some(_) => Some(parsed(row, "member", MemberName::parse)?),
            None => None,
        },
        expires_at: time(row, "expires_at")?,
        last_used_at: time(row, "last_used_at")?,
        revoked: match time(row, "revoked_at")? {
            Some(at) => Some(Ended { at, by: row.get("revoked_by")?, reason: row.get("revoke_reason")? }),
            None => None,
        },
    })
}
