//! What happens to rows of tokens without anybody's call, in pieces behind everything else.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::super::super::{Act, Ahead, Outlets, Use};
use super::super::audit::{self, PROGRAM};
use super::super::feed::Notice;
use super::super::leaks;
use super::super::networks::Users;
use super::super::outbox::{About, enqueue};
use super::super::readable;
use super::super::work::Work;
use super::super::writer::Bulk;
use super::get;
use crate::credential::Digest;
use crate::model::{Event, Token, TokenId};

/// Tokens dealt with in one piece of work.
const AT_ONCE: usize = 64;

/// Deletes tokens that ended long ago. What has ended stays so: it need not be asked again.
#[derive(Debug)]
pub(in crate::store) struct Forget {
    ids: std::vec::IntoIter<TokenId>,
    done: u64,
}

impl Forget {
    pub(in crate::store) fn new(ids: Vec<TokenId>) -> Self {
        Self { ids: ids.into_iter(), done: 0 }
    }
}

impl Bulk for Forget {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        let mut names = Vec::new();
        for id in self.ids.by_ref().take(AT_ONCE) {
            let digest: Option<[u8; 32]> = work
                .conn
                .prepare_cached("DELETE FROM tokens WHERE id = ? RETURNING digest")?
                .query_row([id.to_string()], |row| row.get(0))
                .optional()?;
            if let Some(digest) = digest {
                work.announce(Notice::Forgotten(id, &Digest::from_bytes(digest)))?;
                names.push(id.to_string());
            }
        }
        if !names.is_empty() {
            self.done += names.len() as u64;
            let detail = json!({ "tokens": names });
            audit::note(work.conn, &own_act(), "token.forget", "tokens.keep_ended", detail)?;
        }
        Ok(self.ids.len() > 0)
    }

    fn done(&self) -> u64 {
        self.done
    }
}

/// Notes in the audit log, once each, that tokens in use are about to end.
#[derive(Debug)]
pub(in crate::store) struct NoteEnding {
    ids: std::vec::IntoIter<TokenId>,
    now: Timestamp,
    ahead: Ahead,
    outlets: Outlets,
    done: u64,
}

impl NoteEnding {
    pub(in crate::store) fn new(ids: Vec<TokenId>, now: Timestamp, ahead: Ahead, outlets: Outlets) -> Self {
        Self { ids: ids.into_iter(), now, ahead, outlets, done: 0 }
    }

    fn note(&self, conn: &Connection, token: &Token) -> rusqlite::Result<()> {
        // The log has it once.
        if self.ahead == Ahead::Day {
            return Ok(());
        }
        let detail = json!({
            "app": token.app.as_str(), "environment": token.environment.as_str(),
            "label": token.label.as_str(), "hint": token.hint, "ends_at": token.ends_at(),
            "last_used_at": token.last_used_at,
        });
        audit::note(conn, &own_act(), "token.expiring", &token.id.to_string(), detail)
    }

    /// Whether its owner wants to hear of it: not of one that was never to live longer than that, has a successor, or
    /// of which the last day's notice is about to tell.
    fn is_news(&self, token: &Token) -> bool {
        const DAY: SignedDuration = SignedDuration::from_hours(24);
        let Some(end) = token.ends_at().filter(|_| token.successor.is_none()) else { return false };
        let (whole, rest) = (end.duration_since(token.created_at), end.duration_since(self.now));
        match self.ahead {
            Ahead::Week => whole > DAY * 7 && rest > DAY,
            Ahead::Day => whole > DAY,
        }
    }
}

/// Where it is written that a token's end was noted.
pub(super) const fn noted(ahead: Ahead) -> &'static str {
    match ahead {
        Ahead::Week => "expiry_noted_at",
        Ahead::Day => "last_day_noted_at",
    }
}

impl Bulk for NoteEnding {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        let column = noted(self.ahead);
        let sql = format!("UPDATE tokens SET {column} = ? WHERE id = ? AND {column} IS NULL");
        let ids: Vec<_> = self.ids.by_ref().take(AT_ONCE).collect();
        for id in ids {
            let noted =
                work.conn.prepare_cached(&sql)?.execute((self.now.as_millisecond(), id.to_string()))?;
            let Some(token) = readable(get(work.conn, id))?.filter(|_| noted > 0) else { continue };
            self.note(work.conn, &token)?;
            // Of one that leaked its owner was told, and not to rotate it.
            if self.is_news(&token) && !leaks::was_reported(work.conn, &id.to_string())? {
                let told = json!({ "ends_at": token.ends_at() });
                let about = About::Token(&token);
                enqueue(work, self.now, Event::TokenExpiring, &about, told, self.outlets, true)?;
            }
            self.done += 1;
        }
        Ok(self.ids.len() > 0)
    }

    fn done(&self) -> u64 {
        self.done
    }
}

/// Notes when and from where tokens were last used.
#[derive(Debug)]
pub(in crate::store) struct LastUses(std::vec::IntoIter<Use<TokenId>>);

impl LastUses {
    /// Those of one token stand together, the last one last.
    pub(in crate::store) fn new(uses: Vec<Use<TokenId>>) -> Self {
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

/// The first of these that are of one thing.
pub(in crate::store::sqlite) fn first_of_one<I: PartialEq>(
    uses: &std::vec::IntoIter<Use<I>>,
) -> Option<&[Use<I>]> {
    uses.as_slice().chunk_by(|one, other| one.of == other.of).next()
}

/// Notes when and from where a token was last used, and its networks. `uses` are of one token, the last one last.
pub(in crate::store::sqlite) fn note_uses(conn: &Connection, uses: &[Use<TokenId>]) -> rusqlite::Result<()> {
    let Some(last) = uses.last() else { return Ok(()) };
    let of = last.of.to_string();
    conn.prepare_cached("UPDATE tokens SET last_used_at = ?, last_used_from = ? WHERE id = ?")?.execute((
        last.at,
        last.from.to_string(),
        &of,
    ))?;
    uses.iter().try_for_each(|used| Users::Tokens.note(conn, &of, used.from, used.at))
}

fn own_act() -> Act {
    Act { at: Timestamp::now(), actor: PROGRAM.to_owned(), key: None, from: PROGRAM.to_owned(), once: None }
}
