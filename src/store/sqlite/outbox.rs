//! Rows of notices that others are still to be sent. They are written with what they tell of: one is lost only where
//! the other is.

use std::net::IpAddr;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::super::{Act, Outlets, Refused, Settlement, Use};
use super::networks::Users;
use super::repeats::{begin, made};
use super::tokens::upkeep::note_uses;
use super::tokens::{ALL, live};
use super::work::{Halt, Work};
use super::writer::Bulk;
use super::{Unreadable, audit, keys, moment, parsed, reads, time};
use crate::model::{Channel, Event, Key, KeyId, Lifetime, MemberName, Notice, NoticeId, Token, TokenId};

/// Other live tokens of an owner that a notice names.
const OTHERS: usize = 20;
/// Notices that are kept in all, so that the room which they take on the disk is bounded.
pub(in crate::store) const MOST: u64 = 30_000;
/// Notices that a member may have before theirs are the first to be dropped.
const SHARE: i64 = 1_000;
/// How long after it was due a notice may wait, and how long one that was given up is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Nothing waits longer from one attempt to the next: what seems to was written before the clock was set back.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// How long a leak is, after it was last told of.
pub(super) const LEAKS_KEPT: SignedDuration = SignedDuration::from_hours(366 * 24);
/// The turns of `outbox.turn`, and whether what has them was tried before.
const TURNS: [(i64, bool); 6] = [(0, false), (1, true), (2, false), (3, true), (4, false), (5, true)];
const SELECT: &str =
    "SELECT id, channel, event, subject, coalesce((SELECT m.email FROM members m WHERE m.id = outbox.member
    AND m.removed_at IS NULL AND outbox.channel = 'email'), recipient) AS recipient, data, created_at, due_at, attempts, last_error, dead_at
    FROM outbox";

/// Whom a notice is about, and what it says of that.
pub(super) enum About<'a> {
    Token(&'a Token),
    Key(&'a Key),
    /// One who is about to be removed, with their number.
    Member(i64, &'a MemberName),
}

impl About<'_> {
    fn subject(&self) -> String {
        match self {
            Self::Token(token) => token.id.to_string(),
            Self::Key(key) => key.id.to_string(),
            Self::Member(_, name) => name.to_string(),
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
    let owner = owner(work.conn, about)?;
    let has_address = owner.is_some_and(|owner| owner.has_address);
    let letter = outlets.email && mail && (has_address || outlets.fallback);
    if !letter && !outlets.webhook {
        return Ok(());
    }
    let mut data = told;
    if let Some(data) = data.as_object_mut() {
        match about {
            About::Token(token) => {
                // What leaked was used by somebody just now, or by nobody: the owner decides by that.
                let uses = work.unwritten.of_token(token.id);
                note_uses(work.conn, &uses)?;
                data.insert("token".to_owned(), shown_token(token, uses.last().copied()));
                let addresses = Users::Tokens.addresses(work.conn, &token.id.to_string())?;
                data.insert("addresses".to_owned(), addresses.into());
            }
            About::Key(key) => {
                let uses = work.unwritten.of_key(key.id);
                keys::note_uses(work.conn, &uses)?;
                data.insert("key".to_owned(), shown_key(key, uses.last().copied()));
                let addresses = Users::Keys.addresses(work.conn, &key.id.to_string())?;
                data.insert("addresses".to_owned(), addresses.into());
            }
            About::Member(_, name) => drop(data.insert("member".to_owned(), name.as_str().into())),
        }
        let (tokens, more) = match owner {
            Some(owner) => tokens(work.conn, owner.number, &about.subject(), now)?,
            None => (Vec::new(), false),
        };
        let names = match about {
            About::Token(_) | About::Key(_) => ["other_live_tokens", "more_live_tokens"],
            About::Member(..) => ["tokens", "more_tokens"],
        };
        data.insert(names[0].to_owned(), tokens.into());
        data.insert(names[1].to_owned(), more.into());
    }
    let last: Option<String> =
        work.conn.prepare_cached("SELECT max(id) FROM outbox")?.query_row([], |row| row.get(0))?;
    let id = NoticeId::next(last.as_deref().and_then(NoticeId::parse), now).to_string();
    let data = data.to_string();
    let mut insert = work.conn.prepare_cached(
        "INSERT INTO outbox (id, channel, event, subject, recipient, data, created_at, due_at, member)
         VALUES (?1, ?2, ?3, ?4, '', ?5, ?6, ?6, ?7)",
    )?;
    let (subject, now, member) = (about.subject(), now.as_millisecond(), owner.map(|owner| owner.number));
    let ways = [(Channel::Email, letter), (Channel::Webhook, outlets.webhook)];
    for (channel, _) in ways.into_iter().filter(|(_, wanted)| *wanted) {
        insert.execute((&id, channel.as_str(), event.as_str(), &subject, &data, now, member))?;
    }
    Ok(())
}

/// The member that something belongs to, who may have been removed.
#[derive(Clone, Copy)]
struct Owner {
    number: i64,
    has_address: bool,
}

fn owner(conn: &Connection, about: &About<'_>) -> rusqlite::Result<Option<Owner>> {
    let table = match about {
        About::Token(_) => "tokens",
        About::Key(_) => "keys",
        // Letters of a removal are for those who stay.
        About::Member(number, _) => return Ok(Some(Owner { number: *number, has_address: false })),
    };
    let sql = format!(
        "SELECT m.id, m.removed_at IS NULL AND m.email IS NOT NULL FROM {table} o JOIN members m ON m.id = o.member
         WHERE o.id = ?"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([about.subject()])?;
    rows.next()?.map(|row| Ok(Owner { number: row.get(0)?, has_address: row.get(1)? })).transpose()
}

/// Some tokens of a member that live, but for one, and whether there are more.
fn tokens(conn: &Connection, member: i64, but: &str, now: Timestamp) -> rusqlite::Result<(Vec<Value>, bool)> {
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
        .filter(reads)
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = found.len() > OTHERS;
    found.truncate(OTHERS);
    Ok((found, more))
}

/// When and from where something was used last, by what is written down or not yet.
fn last<I>(
    used: Option<Use<I>>,
    at: Option<Timestamp>,
    from: Option<IpAddr>,
) -> (Option<Timestamp>, Option<IpAddr>) {
    let used_at = used.as_ref().and_then(|used| Timestamp::from_millisecond(used.at).ok());
    (used_at.or(at), used.map(|used| used.from).or(from))
}

fn shown_token(token: &Token, used: Option<Use<TokenId>>) -> Value {
    let (used_at, used_from) = last(used, token.last_used_at, token.last_used_from);
    json!({
        "id": token.id.to_string(), "label": token.label.as_str(), "app": token.app.as_str(),
        "environment": token.environment.as_str(), "hint": token.hint,
        "scopes": token.rules.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "allowed_addresses": token.rules.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rate_limit": token.rules.rate.map(|rate| rate.to_string()),
        "created_at": token.created_at, "created_by": token.created_by.as_ref().map(ToString::to_string),
        "on_publish": token.on_publish.to_string(),
        "lifetime": token.minted_for.map(|lifetime| lifetime.to_string()), "ends_at": token.ends_at(),
        "last_used_at": used_at, "last_used_from": used_from,
    })
}

fn shown_key(key: &Key, used: Option<Use<KeyId>>) -> Value {
    let (used_at, used_from) = last(used, key.last_used_at, key.last_used_from);
    json!({
        "id": key.id.to_string(), "label": key.label, "hint": key.hint,
        "app": key.app.as_ref().map(ToString::to_string), "member": key.member.as_str(),
        "scopes": key.scopes.iter().map(crate::model::Scope::as_str).collect::<Vec<_>>(),
        "created_at": key.created_at, "last_used_at": used_at, "last_used_from": used_from,
        "lifetime": key.expires_at.map(|end| Lifetime::between(key.created_at, end).to_string()),
    })
}

/// What is to be sent by now, the most urgent first, and of what is as urgent that which failed before last; and when the next of the others is.
pub(in crate::store) fn due(
    conn: &Connection,
    channel: Channel,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Notice>, Option<Timestamp>)> {
    let latest = now.checked_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX).as_millisecond();
    let mut question = conn.prepare_cached(&format!(
        "{SELECT} WHERE channel = ? AND dead_at IS NULL AND turn = ? AND due_at > ? AND due_at <= ? ORDER BY due_at"
    ))?;
    let mut found = Vec::new();
    // One range of the index each, so that what is to wait is not looked at.
    for (turn, tried) in TURNS {
        let ranges = [(i64::MIN, now.as_millisecond()), (latest, i64::MAX)];
        let ranges = if tried { &ranges[..] } else { &[(i64::MIN, i64::MAX)] };
        for (after, until) in ranges {
            let rows = question.query_map((channel.as_str(), turn, after, until), notice)?;
            for row in rows.filter(reads).take(limit - found.len()) {
                found.push(row?);
            }
        }
    }
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
    conn.prepare_cached(&format!("{SELECT} WHERE (id, channel) < (?, ?) ORDER BY id DESC, channel DESC"))?
        .query_map((id, channel), notice)?
        .filter(reads)
        .take(limit)
        .collect()
}

/// How many wait to be sent, and how many were given up or are of an event that nobody here knows.
pub(in crate::store) fn count(conn: &Connection) -> rusqlite::Result<(u64, u64)> {
    let mut groups =
        conn.prepare_cached("SELECT event, count(*), count(dead_at) FROM outbox GROUP BY event")?;
    let mut rows = groups.query([])?;
    let (mut waiting, mut dead) = (0, 0);
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let (all, given_up) = (number(1)?, number(2)?);
        let known = Event::parse(row.get_ref(0)?.as_str()?).is_some();
        let given_up = if known { given_up } else { all };
        (waiting, dead) = (waiting + all - given_up, dead + given_up);
    }
    Ok((waiting, dead))
}

/// How many notices wait for a channel.
pub(in crate::store) fn waiting(conn: &Connection, channel: Channel) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM outbox WHERE channel = ? AND dead_at IS NULL")?
        .query_row([channel.as_str()], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

/// A notice by each of its channels.
pub(in crate::store) fn of(conn: &Connection, id: NoticeId) -> rusqlite::Result<Vec<Notice>> {
    conn.prepare_cached(&format!("{SELECT} WHERE id = ? ORDER BY channel DESC"))?
        .query_map([id.to_string()], notice)?
        .filter(reads)
        .collect()
}

/// Has a notice sent again at once, with all its attempts before it.
pub(in crate::store) fn retry(work: &Work<'_>, act: &Act, id: NoticeId) -> Result<Vec<Notice>, Halt> {
    begin(work, act)?;
    let name = id.to_string();
    let found = of(work.conn, id)?;
    let first = found.first().ok_or(Refused::Missing)?;
    work.conn
        .prepare_cached("UPDATE outbox SET dead_at = NULL, attempts = 0, due_at = ? WHERE id = ?")?
        .execute((act.at.as_millisecond(), &name))?;
    let detail = json!({ "event": first.event.as_str(), "of": first.subject });
    audit::note(work.conn, act, "notice.retry", &name, detail)?;
    made(work, act, &name, 0)?;
    Ok(of(work.conn, id)?)
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

/// Drops what there is no room for, of members who have more than their share before all others, the oldest first: what
/// was given up, then what warns of things to come, and only then what tells of things that happened, leaks last.
#[derive(Debug, Default)]
pub(in crate::store) struct Bound {
    done: u64,
}

impl Bulk for Bound {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        const AT_ONCE: i64 = 256;
        const IN_ORDER: [&str; 4] = [
            "dead_at IS NOT NULL",
            "event IN ('token.expiring', 'token.suspected')",
            "event NOT IN ('token.leaked', 'key.leaked')",
            "true",
        ];
        let kept: i64 =
            work.conn.prepare_cached("SELECT count(*) FROM outbox")?.query_row([], |row| row.get(0))?;
        let over = kept.saturating_sub_unsigned(MOST).max(0);
        // Else a member could have others' pushed out, who mints and reports their own.
        let crowd: Option<(i64, i64)> = work
            .conn
            .prepare_cached(
                "SELECT member, count(*) - ?1 AS excess FROM outbox WHERE member IS NOT NULL
                 GROUP BY member HAVING excess > 0 ORDER BY excess DESC LIMIT 1",
            )?
            .query_row([SHARE], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (whose, excess) = crowd.map_or((None, i64::MAX), |(member, excess)| (Some(member), excess));
        let piece = over.min(AT_ONCE).min(excess);
        let mut dropped = 0;
        for which in IN_ORDER {
            if dropped < piece {
                let sql = format!(
                    "DELETE FROM outbox WHERE (id, channel) IN
                     (SELECT id, channel FROM outbox WHERE {which} AND (?1 IS NULL OR member = ?1)
                     ORDER BY id LIMIT ?2)"
                );
                dropped += work.conn.prepare_cached(&sql)?.execute((whose, piece - dropped))? as i64;
            }
        }
        self.done += dropped.unsigned_abs();
        Ok(over > piece)
    }

    fn done(&self) -> u64 {
        self.done
    }
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
                 (SELECT id, channel FROM outbox WHERE dead_at IS NULL AND due_at <= ?2 LIMIT ?3)",
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
