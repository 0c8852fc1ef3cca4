//! Rows of leaks and warnings, and what a report does to the credential that it is about.

pub(in crate::store) mod list;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::json;

use super::super::{Act, Graces, Held, Outlets, Piece, Reaction, Reactions, Reported, Revocation, Suspect};
use super::networks::Users;
use super::outbox::{About, enqueue};
use super::repeats::{begin, made};
use super::work::{Halt, Work};
use super::{audit, keys, members, networks, readable, reads, shares, tokens};
use crate::credential::Digest;
use crate::model::{Agent, Event, Key, LeakDone, LeakId, LeakKind, Status, Token};

/// Places that are kept of one credential. Further ones are only counted.
const PLACES: i64 = 100;
/// How long an owner hears no more of a credential, where only further places of it are found.
const QUIET: SignedDuration = SignedDuration::from_hours(24);
/// How long after a report's end of a token it is still noted from where that was used.
const LATE: SignedDuration = SignedDuration::from_mins(10);
/// The newest row of a credential (?1) and a kind (?2).
const NEWEST: &str = "id = (SELECT max(id) FROM leaks WHERE subject = ?1 AND kind = ?2)";

/// Ends what was reported, or has it end soon; notes where it was found, and has its owner told.
pub(in crate::store) fn report(
    work: &mut Work<'_>,
    act: &Act,
    piece: &Piece,
    graces: &Graces,
    outlets: Outlets,
) -> Result<Reactions, Halt> {
    if piece.first {
        begin(work, act)?;
    }
    let (mut reactions, mut unread) = (Vec::with_capacity(piece.reports.len()), false);
    for reported in &piece.reports {
        let held = held(work.conn, &reported.digest);
        unread |= !reads(&held);
        reactions.push(match readable(held)? {
            None => None,
            Some(Held::Token(token)) => Some(token_leaked(work, act, *token, reported, graces, outlets)?),
            Some(Held::Key(key)) => Some(key_leaked(work, act, *key, reported, outlets)?),
        });
    }
    let first = reactions.iter().flatten().next().map_or_else(String::new, Reaction::subject);
    if piece.last && !unread {
        made(work, act, &first, 0)?;
    }
    Ok(Reactions { each: reactions, unread })
}

/// What a digest is of: a token, its link that signs in, or a management key.
pub(in crate::store) fn held(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<Held>> {
    let token = match tokens::by_digest(conn, digest)? {
        Some(token) => Some(token),
        None => shares::token(conn, digest)?,
    };
    match token {
        Some(token) => Ok(Some(Held::Token(Box::new(token)))),
        None => Ok(keys::by_digest(conn, digest)?.map(|key| Held::Key(Box::new(key)))),
    }
}

fn token_leaked(
    work: &mut Work<'_>,
    act: &Act,
    before: Token,
    reported: &Reported,
    graces: &Graces,
    outlets: Outlets,
) -> Result<Reaction, Halt> {
    let mut revision = work.revision();
    let lives = before.status(act.at) == Status::Active;
    // Of several places the first had it ended, and the others tell of the same.
    let just = before.revoked.as_ref().is_some_and(|ended| ended.at == stored(act.at));
    let lived = || Token { revoked: None, ..before.clone() }.status(act.at) == Status::Active;
    let (done, fresh) = match graces.of(&before) {
        _ if reported.further && just && lived() => (LeakDone::Revoked, false),
        _ if before.revoked.is_some() => (LeakDone::AlreadyEnded, false),
        // What ended by the clock would live again where that is set back, and what leaked must not.
        _ if !lives => {
            revision = tokens::change::end(work, act, &before, Some(&reason(reported)))?;
            (LeakDone::AlreadyEnded, false)
        }
        None => {
            revision = tokens::change::end(work, act, &before, Some(&reason(reported)))?;
            (LeakDone::Revoked, true)
        }
        Some(end) if before.ends_at().is_some_and(|ends| ends <= end) => (LeakDone::Grace, false),
        Some(end) => {
            revision = tokens::change::shorten(work, &before, end)?;
            (LeakDone::Grace, true)
        }
    };
    let after = tokens::by_id(work.conn, before.id)?.unwrap_or(before);
    let ends_at = after.ends_at().filter(|_| done == LeakDone::Grace);
    let row = Entry {
        kind: LeakKind::Report,
        subject: after.id.to_string(),
        table: "tokens",
        app: Some(after.app.as_str()),
        environment: Some(after.environment.as_str()),
        label: after.label.as_str(),
        hint: &after.hint,
        done,
        ends_at,
        client: None,
        agent: None,
        count: 1,
        fresh,
    };
    leaked(work, act, reported, &row, (Event::TokenLeaked, About::Token(&after)), outlets)?;
    let of = Held::Token(Box::new(after));
    Ok(Reaction { of: Revocation { of, revision, fresh }, done, last_admin: false })
}

fn key_leaked(
    work: &mut Work<'_>,
    act: &Act,
    before: Key,
    reported: &Reported,
    outlets: Outlets,
) -> Result<Reaction, Halt> {
    let just = before.revoked_at == Some(stored(act.at));
    let lived = || Key { revoked_at: None, ..before.clone() }.status(act.at) == Status::Active;
    let (done, fresh) = match before.status(act.at) {
        _ if reported.further && just && lived() => (LeakDone::Revoked, false),
        Status::Active => (LeakDone::Revoked, true),
        Status::Expired | Status::Revoked | Status::Replaced => (LeakDone::AlreadyEnded, false),
    };
    let last_admin = fresh && members::is_last_admin(work, act, before.id)?;
    // As with tokens: only what was revoked stays ended whatever the clock says.
    let revision = if before.revoked_at.is_none() { keys::end(work, act, &before)? } else { work.revision() };
    let after = keys::get(work.conn, before.id)?.unwrap_or(before);
    let row = Entry {
        kind: LeakKind::Report,
        subject: after.id.to_string(),
        table: "keys",
        app: after.app.as_ref().map(crate::model::AppName::as_str),
        environment: None,
        label: &after.label,
        hint: &after.hint,
        done,
        ends_at: None,
        client: None,
        agent: None,
        count: 1,
        fresh,
    };
    leaked(work, act, reported, &row, (Event::KeyLeaked, About::Key(&after)), outlets)?;
    let of = Held::Key(Box::new(after));
    Ok(Reaction { of: Revocation { of, revision, fresh }, done, last_admin })
}

/// Notes where a credential was found, and has its owner told of what is new.
fn leaked(
    work: &Work<'_>,
    act: &Act,
    reported: &Reported,
    row: &Entry<'_>,
    (event, about): (Event, About<'_>),
    outlets: Outlets,
) -> rusqlite::Result<()> {
    let new = note(work, act, reported, row, Room::of_report(act))?;
    if row.fresh || (new && !told_lately(work.conn, act, row)?) {
        enqueue(work, act.at, event, &about, told(act, reported, row), outlets, true)?;
        note_told(work.conn, act, row)?;
    }
    Ok(())
}

/// Notes signs that tokens may have leaked; their owners are told of each once.
pub(in crate::store) fn suspect(
    work: &mut Work<'_>,
    act: &Act,
    suspects: &[Suspect],
    seen: Option<u64>,
    outlets: Outlets,
) -> Result<(), Halt> {
    for suspect in suspects {
        let Some(token) = readable(tokens::by_id(work.conn, suspect.token))? else { continue };
        let new_network = suspect.kind == LeakKind::NewNetwork;
        let lives = token.status(act.at) == Status::Active;
        // Who used what a report ended is worth a row, and its owner was told of all that was known.
        let late = new_network && !lives && just_reported(work.conn, &token, act.at)?;
        if lives == (suspect.kind == LeakKind::RevokedInUse) && !late {
            continue;
        }
        let reported = Reported {
            digest: Digest::from_bytes([0; 32]),
            source: act.actor.clone(),
            place: suspect.place.clone(),
            places: Arc::default(),
            further: false,
        };
        let row = Entry {
            kind: suspect.kind,
            subject: token.id.to_string(),
            table: "tokens",
            app: Some(token.app.as_str()),
            environment: Some(token.environment.as_str()),
            label: token.label.as_str(),
            hint: &token.hint,
            done: LeakDone::Warned,
            ends_at: None,
            client: Some(suspect.client),
            agent: suspect.agent.as_ref().map(Agent::as_str),
            count: suspect.count,
            fresh: false,
        };
        // What is used from everywhere is told of once in a while, and counted.
        let often = new_network && Users::Tokens.are_many(work.conn, &row.subject)?;
        let room = if often && told_lately(work.conn, act, &row)? {
            Room::None
        } else if often {
            Room::ForTheLast
        } else {
            Room::ForTheFirst
        };
        if note(work, act, &reported, &row, room)? && !late {
            let told = told(act, &reported, &row);
            enqueue(work, act.at, Event::TokenSuspected, &About::Token(&token), told, outlets, true)?;
            note_told(work.conn, act, &row)?;
        }
    }
    if let Some(seen) = seen {
        networks::note_seen(work.conn, seen)?;
    }
    Ok(())
}

/// Whether a report ended a token a short while ago.
fn just_reported(conn: &Connection, token: &Token, now: Timestamp) -> rusqlite::Result<bool> {
    let since = now.checked_sub(LATE).unwrap_or(Timestamp::MIN);
    let just = token.revoked.as_ref().is_some_and(|ended| ended.at >= since);
    Ok(just && was_reported(conn, &token.id.to_string())?)
}

/// A moment as the store keeps it.
fn stored(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

fn reason(reported: &Reported) -> String {
    let place = if reported.place.is_empty() { String::new() } else { format!(", in {}", reported.place) };
    format!("reported as leaked by {}{place}", reported.source)
}

/// Whether a place is kept that is not known yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    None,
    /// While there are few.
    ForTheFirst,
    /// In the place of the oldest, where there are many.
    ForTheLast,
    /// In the place of the oldest that a member reported, where there are many.
    ForTheSigned,
}

impl Room {
    /// Who has a credential's value can make up any number of places: none of them takes one from who signs.
    fn of_report(act: &Act) -> Self {
        if act.key.is_some() { Self::ForTheFirst } else { Self::ForTheSigned }
    }
}

/// A leak as it is being noted.
struct Entry<'a> {
    kind: LeakKind,
    subject: String,
    table: &'static str,
    app: Option<&'a str>,
    environment: Option<&'a str>,
    label: &'a str,
    hint: &'a str,
    done: LeakDone,
    ends_at: Option<Timestamp>,
    client: Option<IpAddr>,
    /// What that calls itself.
    agent: Option<&'a str>,
    count: u64,
    /// Whether this report did what was done.
    fresh: bool,
}

fn told(act: &Act, reported: &Reported, row: &Entry<'_>) -> serde_json::Value {
    json!({
        "leak": {
            "kind": row.kind.as_str(), "source": reported.source, "place": reported.place, "count": row.count,
            "from": row.client, "agent": row.agent,
            "places": reported.places.first,
            "more_places": reported.places.count.saturating_sub(reported.places.first.len() as u64),
            // The member whose words these are.
            "by": act.key.map(|_| &act.actor),
        },
        "done": row.done.as_str(), "ends_at": row.ends_at,
    })
}

/// Whether the owner heard of this credential a short while ago: whoever has its value may report it any number of
/// times. What a member made up silences none who signs what they say.
fn told_lately(conn: &Connection, act: &Act, row: &Entry<'_>) -> rusqlite::Result<bool> {
    let since = act.at.checked_sub(QUIET).unwrap_or(Timestamp::MIN).as_millisecond();
    conn.prepare_cached(
        "SELECT 1 FROM leaks WHERE subject = ? AND kind = ? AND told_at BETWEEN ? AND ? AND told_on_word <= ?",
    )?
    .exists((&row.subject, row.kind.as_str(), since, act.at.as_millisecond(), act.key.is_some()))
}

fn note_told(conn: &Connection, act: &Act, row: &Entry<'_>) -> rusqlite::Result<()> {
    conn.prepare_cached(&format!("UPDATE leaks SET told_at = ?3, told_on_word = ?4 WHERE {NEWEST}"))?
        .execute((&row.subject, row.kind.as_str(), act.at.as_millisecond(), act.key.is_some()))
        .map(drop)
}

/// Notes a leak; whether this place was not known yet, and is kept.
fn note(
    work: &Work<'_>,
    act: &Act,
    reported: &Reported,
    row: &Entry<'_>,
    room: Room,
) -> rusqlite::Result<bool> {
    let client = row.client.map(|client| client.to_string());
    let on_word = act.key.is_some();
    if !on_word {
        // What a member said under the same name is said anew, and holds now.
        work.conn
            .prepare_cached(
                "DELETE FROM leaks WHERE subject = ? AND kind = ? AND source = ? AND place = ? AND on_word",
            )?
            .execute((&row.subject, row.kind.as_str(), &reported.source, &reported.place))?;
    }
    let known = work
        .conn
        .prepare_cached(
            "UPDATE leaks SET count = count + ?1, last_at = max(last_at, ?2), client = coalesce(?7, client),
             agent = iif(?7 IS NULL, agent, ?8)
             WHERE subject = ?3 AND kind = ?4 AND source = ?5 AND place = ?6",
        )?
        .execute((
            i64::try_from(row.count).unwrap_or(i64::MAX),
            act.at.as_millisecond(),
            &row.subject,
            row.kind.as_str(),
            &reported.source,
            &reported.place,
            &client,
            row.agent,
        ))?;
    if row.fresh {
        // What earlier reports did is not what holds any more.
        work.conn
            .prepare_cached("UPDATE leaks SET done = ?, ends_at = ? WHERE subject = ? AND kind = ?")?
            .execute((
                row.done.as_str(),
                row.ends_at.map(Timestamp::as_millisecond),
                &row.subject,
                row.kind.as_str(),
            ))?;
    }
    if known > 0 {
        if row.fresh {
            log(work.conn, act, reported, row)?;
        }
        return Ok(false);
    }
    let kept: i64 = work
        .conn
        .prepare_cached("SELECT count(*) FROM leaks WHERE subject = ? AND kind = ?")?
        .query_row((&row.subject, row.kind.as_str()), |row| row.get(0))?;
    let of = (&row.subject, row.kind.as_str());
    let drop_oldest = |which: &str| {
        let oldest = format!("SELECT min(id) FROM leaks WHERE subject = ? AND kind = ? AND {which}");
        work.conn.prepare_cached(&format!("DELETE FROM leaks WHERE id = ({oldest})"))?.execute(of)
    };
    let has_room = match room {
        Room::None => false,
        _ if kept < PLACES => true,
        Room::ForTheFirst => false,
        Room::ForTheLast => drop_oldest("true")? > 0,
        Room::ForTheSigned => drop_oldest("on_word")? > 0,
    };
    if !has_room {
        let sql = format!("UPDATE leaks SET count = count + ?3, last_at = max(last_at, ?4) WHERE {NEWEST}");
        work.conn.prepare_cached(&sql)?.execute((
            &row.subject,
            row.kind.as_str(),
            i64::try_from(row.count).unwrap_or(i64::MAX),
            act.at.as_millisecond(),
        ))?;
        if row.fresh || room == Room::ForTheSigned {
            log(work.conn, act, reported, row)?;
        }
        return Ok(false);
    }
    let sql = format!(
        "INSERT INTO leaks (id, kind, subject, source, place, member, app, environment, label, hint, done, ends_at,
             count, first_at, last_at, client, agent, on_word)
         VALUES (?1, ?2, ?3, ?4, ?5, (SELECT member FROM {} WHERE id = ?3), ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13,
             ?14, ?15, ?16)",
        row.table
    );
    work.conn.prepare_cached(&sql)?.execute((
        next_id(work.conn, act.at)?.to_string(),
        row.kind.as_str(),
        &row.subject,
        &reported.source,
        &reported.place,
        row.app,
        row.environment,
        row.label,
        row.hint,
        row.done.as_str(),
        row.ends_at.map(Timestamp::as_millisecond),
        i64::try_from(row.count).unwrap_or(i64::MAX),
        act.at.as_millisecond(),
        client,
        row.agent,
        on_word,
    ))?;
    log(work.conn, act, reported, row)?;
    Ok(true)
}

fn log(conn: &Connection, act: &Act, reported: &Reported, row: &Entry<'_>) -> rusqlite::Result<()> {
    let detail = json!({
        "app": row.app, "environment": row.environment, "label": row.label, "hint": row.hint,
        "kind": row.kind.as_str(), "source": reported.source, "place": reported.place,
        "done": row.done.as_str(), "ends_at": row.ends_at,
    });
    let action = if row.kind == LeakKind::Report { "leak.report" } else { "leak.warn" };
    audit::note(conn, act, action, &row.subject, detail)
}

/// Whether a credential was reported as leaked.
pub(super) fn was_reported(conn: &Connection, subject: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM leaks WHERE subject = ? AND kind = ?")?
        .exists((subject, LeakKind::Report.as_str()))
}

fn next_id(conn: &Connection, now: Timestamp) -> rusqlite::Result<LeakId> {
    let last: Option<String> =
        conn.prepare_cached("SELECT max(id) FROM leaks")?.query_row([], |row| row.get(0))?;
    Ok(LeakId::next(last.as_deref().and_then(LeakId::parse), now))
}
