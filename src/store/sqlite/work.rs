//! One transaction in the making: what its commands share.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::super::Refused;
use super::super::unwritten::Unwritten;
use super::Unreadable;
use super::feed::{self, Notice};
use crate::model::{KeyId, TokenId};

/// Why a command goes no further. What refuses does so before it has written anything.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Halt {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Failed(#[from] rusqlite::Error),
}

/// The last of everything that must only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) revision: u64,
    token: Option<TokenId>,
    key: Option<KeyId>,
}

impl Marks {
    /// As the store left them.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let unreadable = || rusqlite::Error::ToSqlConversionFailure(Box::new(Unreadable("last id")));
        let token = match meta(conn, "last_token")? {
            Some(id) => Some(TokenId::parse(&id).ok_or_else(unreadable)?),
            None => None,
        };
        let key = match meta(conn, "last_key")? {
            Some(id) => Some(KeyId::parse(&id).ok_or_else(unreadable)?),
            None => None,
        };
        Ok(Self { revision: feed::head(conn)?, token, key })
    }

    /// Keeps what moved since `before` over restarts, even where the rows themselves get deleted.
    pub(super) fn save(&self, conn: &Connection, before: &Self) -> rusqlite::Result<()> {
        if let Some(token) = self.token.filter(|_| self.token != before.token) {
            set_meta(conn, "last_token", &token.to_string())?;
        }
        if let Some(key) = self.key.filter(|_| self.key != before.key) {
            set_meta(conn, "last_key", &key.to_string())?;
        }
        Ok(())
    }
}

/// A transaction, and the marks as it moves them.
pub(in crate::store) struct Work<'a> {
    pub(super) conn: &'a Connection,
    pub(super) marks: Marks,
    pub(super) unwritten: &'a Unwritten,
}

impl Work<'_> {
    /// Adds a revision to the feed.
    pub(super) fn announce(&mut self, notice: Notice<'_>) -> rusqlite::Result<u64> {
        let revision = self.marks.revision + 1;
        feed::append(self.conn, revision, notice)?;
        self.marks.revision = revision;
        Ok(revision)
    }

    /// The last revision, this transaction's own included.
    pub(super) fn revision(&self) -> u64 {
        self.marks.revision
    }

    pub(super) fn next_token(&mut self, now: Timestamp) -> TokenId {
        let id = TokenId::next(self.marks.token, now);
        self.marks.token = Some(id);
        id
    }

    pub(super) fn next_key(&mut self, now: Timestamp) -> KeyId {
        let id = KeyId::next(self.marks.key, now);
        self.marks.key = Some(id);
        id
    }
}

pub(super) fn meta(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Also what the writer tries when it wants to know whether writing works again.
pub(super) fn set_meta(conn: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute((name, value))?;
    Ok(())
}
