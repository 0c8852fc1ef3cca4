//! What happens to rows of tokens without anybody's call, in pieces behind everything else.

use std::time::Instant;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use serde_json::json;

use super::super::super::{Act, Use};
use super::super::audit::{self, PROGRAM};
use super::super::feed::Notice;
use super::super::work::Work;
use super::super::writer::Bulk;
use super::get;
use crate::credential::Digest;
use crate::model::TokenId;

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
    done: u64,
}

impl NoteEnding {
    pub(in crate::store) fn new(ids: Vec<TokenId>, now: Timestamp) -> Self {
        Self { ids: ids.into_iter(), now, done: 0 }
    }
}

impl Bulk for NoteEnding {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        for id in self.ids.by_ref().take(AT_ONCE) {
            let noted = work
                .conn
                .prepare_cached(
                    "UPDATE tokens SET expiry_noted_at = ? WHERE id = ? AND expiry_noted_at IS NULL",
                )?
                .execute((self.now.as_millisecond(), id.to_string()))?;
            let Some(token) = get(work.conn, id)?.filter(|_| noted > 0) else { continue };
            let detail = json!({
                "app": token.app.as_str(), "environment": token.environment.as_str(),
                "label": token.label.as_str(), "hint": token.hint, "ends_at": token.ends_at(),
                "last_used_at": token.last_used_at,
            });
            audit::note(work.conn, &own_act(), "token.expiring", &id.to_string(), detail)?;
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
    pub(in crate::store) fn new(uses: Vec<Use<TokenId>>) -> Self {
        Self(uses.into_iter())
    }
}

impl Bulk for LastUses {
    fn piece(&mut self, work: &mut Work<'_>, until: Instant) -> rusqlite::Result<bool> {
        let mut update = work
            .conn
            .prepare_cached("UPDATE tokens SET last_used_at = ?, last_used_from = ? WHERE id = ?")?;
        for Use { of, at, from } in self.0.by_ref() {
            update.execute((at, from.to_string(), of.to_string()))?;
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

fn own_act() -> Act {
    Act { at: Timestamp::now(), actor: PROGRAM.to_owned(), key: None, from: PROGRAM.to_owned(), once: None }
}
