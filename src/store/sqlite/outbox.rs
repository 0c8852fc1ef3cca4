//! Rows of notices that others are still to be sent. They are written with what they tell of: one is lost only where
//! the other is.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::super::{Outlets, Settlement, Use};
use super::tokens::upkeep::note_use;
use super::tokens::{ALL, live};
use super::work::{Halt, Work};
use super::writer::Bulk;
use super::{Unreadable, moment, networks, parsed, time};
use crate::model::{Channel, Event, Key, Notice, NoticeId, Token, TokenId};

/// Other live tokens of an owner that a notice names.
const OTHERS: usize = 20;
/// How long a notice may wait, and how long one that was given up is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Nothing waits longer from one attempt to the next: what seems to was written before the clock was set back.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// How long a leak is, after it was last told of.
const LEAKS_KEPT: SignedDuration = SignedDuration::from_hours(366 * 24);
const SELECT: &str =
    "SELECT id, channel, event, subject, recipient, data, created_at, due_at, attempts, last_error,
    dead_at FROM outbox";

/// Whom a notice is about, and what it says of that.
pub(super) enum About<'a> {
    Token(&'a Token),
    Key(&'a Key),
}

impl About<'_> {
    fn subject(&self) -> String {
        match self {
            Self::Token(token) => token.id.to_string(),
            Self::Key(key) => key.id.to_string(),
        }
    }
}

/// Has the owner told, by all ways there are; `told` is what is to be said beside what the rows know. `mail`: whether
/// the owner gets a letter of it.
pub(super) fn enqueue(
    work: &Work<'_>,
    now: Timestamp,
    event: Event,
    about: &About<'_>,
    told: Value,
    outlets: Outlets,
    mail: bool,
) -> rusqlite::Result<()> {
    if !outlets.email && !outlets.webhook {
        return Ok(());
    }
    let member = owner(work.conn, about)?;
    let address = member.as_ref().and_then(|(_, email)| email.clone()).filter(|_| outlets.email && mail);
    if address.is_none() && !outlets.webhook {
        return Ok(());
    }
    let mut data = told;
    if let Some(data) = data.as_object_mut() {
        match about {
            About::Token(token) => {
                // What leaked was used by somebody just now, or by nobody: the owner decides by that.
                let used = work.unwritten.last(token.id);
                if let Some(used) = used {
                    note_use(work.conn, used)?;
                }
                data.insert("token".to_owned(), shown_token(token, used));
                let addresses = networks::addresses(work.conn, &token.id.to_string())?;
                data.insert("addresses".to_owned(), addresses.into());
            }
            About::Key(key) => drop(data.insert("key".to_owned(), shown_key(key))),
        }
        let (others, more) = match &member {
            Some((number, _)) => others(work.conn, *number, &about.subject(), now)?,
            None => (Vec::new(), false),
        };
        data.insert("other_live_tokens".to_owned(), others.into());
        data.insert("more_live_tokens".to_owned(), more.into());
    }
    let last: Option<String> =
        work.conn.prepare_cached("SELECT max(id) FROM outbox")?.query_row([], |row| row.get(0))?;
    let id = NoticeId::next(last.as_deref().and_then(NoticeId::parse), now).to_string();
    let data = data.to_string();
    let mut insert = work.conn.prepare_cached(
        "INSERT INTO outbox (id, channel, event, subject, recipient, data, created_at, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    )?;
    let (subject, now) = (about.subject(), now.as_millisecond());
    let mut add = |channel: Channel, recipient: &str| {
        insert.execute((&id, channel.as_str(), event.as_str(), &subject, recipient, &data, now)).map(drop)
    };
    if let Some(address) = &address {
        add(Channel::Email, address)?;
    }
    if outlets.webhook {
        add(Channel::Webhook, "")?;
    }
    Ok(())
}

/// The number and address of the member that it belongs to, who may have been removed.
fn owner(conn: &Connection, about: &About<'_>) -> rusqlite::Result<Option<(i64, Option<String>)>> {
    let table = match about {
        About::Token(_) => "tokens",
        About::Key(_) => "keys",
    };
    let sql = format!(
        "SELECT m.id, CASE WHEN m.removed_at IS NULL THEN m.email END FROM {table} o JOIN members m ON m.id = o.member
         WHERE o.id = ?"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([about.subject()])?;
    rows.next()?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Some other tokens of a member that live, and whether there are more.
fn others(conn: &Connection, member: i64, but: &str, now: Timestamp) -> rusqlite::Result<(Vec<Value>, bool)> {
    let sql = format!(
        "SELECT t.id, t.label, t.app, t.environment, t.hint, t.expires_at FROM {ALL}
         WHERE t.member = ?1 AND t.id <> ?2 AND {} ORDER BY t.id DESC LIMIT ?4",
        live("?3")
    );
    let most = i64::try_from(OTHERS + 1).unwrap_or(i64::MAX);
    let mut found = conn
        .prepare_cached(&sql)?
        .query_map((member, but, now.as_millisecond(), most), |row| {
            Ok(json!({
                "id": row.get::<_, String>("id")?, "label": row.get::<_, String>("label")?,
                "app": row.get::<_, String>("app")?, "environment": row.get::<_, String>("environment")?,
                "hint": row.get::<_, String>("hint")?, "expires_at": time(row, "expires_at")?,
            }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = found.len() > OTHERS;
    found.truncate(OTHERS);
    Ok((found, more))
}

fn shown_token(token: &Token, used: Option<Use<TokenId>>) -> Value {
    let used_at = used.and_then(|used| Timestamp::from_millisecond(used.at).ok()).or(token.last_used_at);
    let used_from = used.map(|used| used.from).or(token.last_used_from);
    json!({
        "id": token.id.to_string(), "label": token.label.as_str(), "app": token.app.as_str(),
        "environment": token.environment.as_str(), "hint": token.hint,
        "scopes": token.rules.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "allowed_addresses": token.rules.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rate_limit": token.rules.rate.map(|rate| rate.to_string()),
        "created_at": token.created_at, "created_by": token.created_by.as_ref().map(ToString::to_string),
        "on_publish": token.on_publish.to_string(),
        "lifetime": token.lifetime.map(|lifetime| lifetime.to_string()), "ends_at": token.ends_at(),
        "last_used_at": used_at, "last_used_from": used_from,
    })
}

fn shown_key(key: &Key) -> Value {
    json!({
        "id": key.id.to_string(), "label": key.label, "hint": key.hint,
        "app": key.app.as_ref().map(ToString::to_string), "member": key.member.as_str(),
        "scopes": key.scopes.iter().map(crate::model::Scope::as_str).collect::<Vec<_>>(),
        "created_at": key.created_at, "last_used_at": key.last_used_at, "last_used_from": key.last_used_from,
    })
}

/// What is to be sent by now, the most urgent first, and that which failed before last; and when the next of the others is.
pub(in crate::store) fn due(
    conn: &Connection,
    channel: Channel,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Notice>, Option<Timestamp>)> {
    let latest = now.checked_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX).as_millisecond();
    let mut question = conn.prepare_cached(&format!(
        "{SELECT} WHERE channel = ?1 AND dead_at IS NULL AND NOT (due_at > ?2 AND due_at <= ?3 AND attempts > 0)
         ORDER BY turn, due_at"
    ))?;
    let rows = question.query_map((channel.as_str(), now.as_millisecond(), latest), notice)?;
    let found = rows
        // One that another version wrote holds up no other.
        .filter(|row| !matches!(row, Err(rusqlite::Error::FromSqlConversionFailure(..))))
        .take(limit)
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let next = conn
        .prepare_cached(
            "SELECT min(due_at) AS next FROM outbox WHERE channel = ?1 AND dead_at IS NULL AND due_at > ?2",
        )?
        .query_row((channel.as_str(), now.as_millisecond()), |row| time(row, "next"))?;
    Ok((found, next))
}

/// Everything that is not delivered, newest first, from below one.
pub(in crate::store) fn list(
    conn: &Connection,
    before: Option<(NoticeId, Channel)>,
    limit: usize,
) -> rusqlite::Result<Vec<Notice>> {
    // What no id begins with sorts behind all of them.
    let before = before.map(|(id, channel)| (id.to_string(), channel.as_str()));
    let (id, channel) = before.unwrap_or_else(|| ("~".to_owned(), ""));
    conn.prepare_cached(&format!(
        "{SELECT} WHERE (id, channel) < (?, ?) ORDER BY id DESC, channel DESC LIMIT ?"
    ))?
    .query_map((id, channel, i64::try_from(limit).unwrap_or(i64::MAX)), notice)?
    .collect()
}

/// How many wait to be sent, and how many were given up.
pub(in crate::store) fn count(conn: &Connection) -> rusqlite::Result<(u64, u64)> {
    conn.prepare_cached("SELECT count(*) - count(dead_at), count(dead_at) FROM outbox")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs())))
}

/// Notes what came of an attempt to send one.
pub(in crate::store) fn settle(
    work: &Work<'_>,
    id: NoticeId,
    channel: Channel,
    settlement: &Settlement,
) -> Result<(), Halt> {
    let (id, channel) = (id.to_string(), channel.as_str());
    match settlement {
        Settlement::Delivered => work
            .conn
            .prepare_cached("DELETE FROM outbox WHERE id = ? AND channel = ?")?
            .execute((id, channel))?,
        Settlement::Again { due, error } => work
            .conn
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, due_at = ?, last_error = ?
                 WHERE id = ? AND channel = ?",
            )?
            .execute((due.as_millisecond(), error, id, channel))?,
        Settlement::GivenUp { at, error } => work
            .conn
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, dead_at = ?, last_error = ?
                 WHERE id = ? AND channel = ?",
            )?
            .execute((at.as_millisecond(), error, id, channel))?,
    };
    Ok(())
}

/// Forgets notices that were given up long ago, and leaks of which nothing was heard for longer.
#[derive(Debug)]
pub(in crate::store) struct Trim {
    now: Timestamp,
    done: u64,
}

impl Trim {
    pub(in crate::store) fn new(now: Timestamp) -> Self {
        Self { now, done: 0 }
    }
}

impl Bulk for Trim {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        const AT_ONCE: usize = 256;
        let before = |kept| self.now.checked_sub(kept).unwrap_or(Timestamp::MIN).as_millisecond();
        let notices = work
            .conn
            .prepare_cached(
                "DELETE FROM outbox WHERE (id, channel) IN
                 (SELECT id, channel FROM outbox WHERE dead_at <= ? LIMIT ?)",
            )?
            .execute((before(KEPT), AT_ONCE as i64))?;
        let waiting = work
            .conn
            .prepare_cached(
                "UPDATE outbox SET dead_at = ?1, last_error = coalesce(last_error, 'it waited too long')
                 WHERE (id, channel) IN
                 (SELECT id, channel FROM outbox WHERE dead_at IS NULL AND created_at <= ?2 LIMIT ?3)",
            )?
            .execute((self.now.as_millisecond(), before(KEPT), AT_ONCE as i64))?;
        let leaks = work
            .conn
            .prepare_cached(
                "DELETE FROM leaks WHERE id IN (SELECT id FROM leaks WHERE last_at <= ? LIMIT ?)",
            )?
            .execute((before(LEAKS_KEPT), AT_ONCE as i64))?;
        self.done += (notices + waiting + leaks) as u64;
        Ok([notices, waiting, leaks].contains(&AT_ONCE))
    }

    fn done(&self) -> u64 {
        self.done
    }
}

fn notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    Ok(Notice {
        id: parsed(row, "id", |id| NoticeId::parse(id).ok_or(Unreadable("notice id")))?,
        channel: parsed(row, "channel", |name| Channel::parse(name).ok_or(Unreadable("channel")))?,
        event: parsed(row, "event", |name| Event::parse(name).ok_or(Unreadable("event")))?,
        subject: row.get("subject")?,
        recipient: row.get("recipient")?,
        data: parsed(row, "data", |text| serde_json::from_str(text))?,
        created_at: moment(row, "created_at")?,
        due_at: moment(row, "due_at")?,
        attempts: row.get("attempts")?,
        last_error: row.get("last_error")?,
        dead_at: time(row, "dead_at")?,
    })
}
