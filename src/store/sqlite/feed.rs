//! The change feed: what changed at which revision, for a follower that keeps a copy in memory.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::StoreError;
use super::reader::Reader;
use super::{Unreadable, environments, parsed};
use crate::credential::Digest;
use crate::model::{EnvironmentName, KeyId, MemberName, TokenApp, TokenId};

/// Revisions kept; a follower further behind loads everything anew.
const KEPT: u64 = 100_000;

/// What a revision is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice<'a> {
    Token(TokenId),
    Forgotten(TokenId, &'a Digest),
    Opened(&'a TokenApp, &'a EnvironmentName),
    Key(KeyId),
    Member(&'a MemberName),
}

const TOKEN: &str = "token";
const FORGOTTEN: &str = "forgotten";
const OPENED: &str = "opened";

/// What the gateway must know of a token.
#[derive(Debug)]
pub struct Binding {
    pub digest: Digest,
    pub id: TokenId,
    pub app: TokenApp,
    pub environment: EnvironmentName,
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
    pub revoked: bool,
    pub label: String,
}

/// One thing that a first load finds.
#[derive(Debug)]
pub enum Loaded {
    Token(Binding),
    Opened(TokenApp, EnvironmentName),
}

/// What one revision changed, as it stands now.
#[derive(Debug)]
pub enum Changed {
    Token(Binding),
    Forgotten(TokenId, Digest),
    Opened(TokenApp, EnvironmentName),
    /// Nothing that the gateway reads.
    Other,
}

/// How far following got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Everything up to this revision was handed over.
    UpTo(u64),
    /// The feed no longer reaches back far enough: load again.
    Gap,
}

/// A follower's view of the store. All its calls block.
#[derive(Clone, Debug)]
pub struct Feed(Reader);

impl Feed {
    pub(in crate::store) fn new(reader: Reader) -> Self {
        Self(reader)
    }

    /// Hands over everything there is; returns the revision that it is at.
    ///
    /// # Errors
    /// When the store cannot be read or holds something unreadable.
    pub fn load(&self, mut each: impl FnMut(Loaded)) -> Result<u64, StoreError> {
        self.0.read_blocking(|conn| {
            let revision = head(conn)?;
            for (app, environment) in environments::openings(conn)? {
                each(Loaded::Opened(app, environment));
            }
            let mut all = conn.prepare_cached(&format!("{SELECT_BINDING} FROM tokens"))?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                each(Loaded::Token(binding(row)?));
            }
            Ok(revision)
        })
    }

    /// Hands over at most `limit` revisions that follow `after`.
    ///
    /// # Errors
    /// When the store cannot be read or holds something unreadable; what was handed over holds all the same.
    pub fn follow(
        &self,
        after: u64,
        limit: usize,
        mut each: impl FnMut(u64, Changed),
    ) -> Result<Followed, StoreError> {
        self.0.read_blocking(|conn| {
            let mut next = conn.prepare_cached(
                "SELECT revision, kind, subject, digest FROM feed WHERE revision > ? ORDER BY revision LIMIT ?",
            )?;
            let mut rows = next.query((as_integer(after), i64::try_from(limit).unwrap_or(i64::MAX)))?;
            let mut at = after;
            while let Some(row) = rows.next()? {
                let revision = row.get::<_, i64>("revision")?.unsigned_abs();
                if revision != at + 1 {
                    return Ok(Followed::Gap);
                }
                each(revision, changed(conn, row)?);
                at = revision;
            }
            Ok(Followed::UpTo(at))
        })
    }
}

/// The last revision; 0 before the first.
pub(super) fn head(conn: &Connection) -> rusqlite::Result<u64> {
    let head: Option<i64> = conn.query_row("SELECT max(revision) FROM feed", [], |row| row.get(0))?;
    Ok(head.unwrap_or(0).unsigned_abs())
}

pub(super) fn append(conn: &Connection, revision: u64, notice: Notice<'_>) -> rusqlite::Result<()> {
    let (kind, subject, digest) = match notice {
        Notice::Token(id) => (TOKEN, id.to_string(), None),
        Notice::Forgotten(id, digest) => (FORGOTTEN, id.to_string(), Some(digest.as_bytes())),
        Notice::Opened(app, name) => (OPENED, format!("{app}/{name}"), None),
        Notice::Key(id) => ("key", id.to_string(), None),
        Notice::Member(name) => ("member", name.to_string(), None),
    };
    conn.prepare_cached("INSERT INTO feed (revision, kind, subject, digest) VALUES (?, ?, ?, ?)")?
        .execute((as_integer(revision), kind, subject, digest))?;
    Ok(())
}

/// Drops what is older than a follower may be.
pub(super) fn trim(conn: &Connection, head: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM feed WHERE revision <= ?")?
        .execute([as_integer(head.saturating_sub(KEPT))])?;
    Ok(())
}

fn as_integer(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

const SELECT_BINDING: &str = "SELECT id, digest, app, environment, expires_at, revoked_at, label";

fn binding(row: &Row<'_>) -> rusqlite::Result<Binding> {
    Ok(Binding {
        digest: Digest::from_bytes(row.get("digest")?),
        id: parsed(row, "id", |id| TokenId::parse(id).ok_or(Unreadable("token id")))?,
        app: parsed(row, "app", TokenApp::parse)?,
        environment: parsed(row, "environment", EnvironmentName::parse)?,
        expires_at: row.get("expires_at")?,
        revoked: row.get::<_, Option<i64>>("revoked_at")?.is_some(),
        label: row.get("label")?,
    })
}

fn changed(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<Changed> {
    let token = |id: &str| TokenId::parse(id).ok_or(Unreadable("token id"));
    match row.get::<_, String>("kind")?.as_str() {
        TOKEN => {
            let id = parsed(row, "subject", token)?;
            let found = conn
                .prepare_cached(&format!("{SELECT_BINDING} FROM tokens WHERE id = ?"))?
                .query_row([id.to_string()], binding)
                .optional()?;
            // Gone already: a later revision says so, with its digest.
            Ok(found.map_or(Changed::Other, Changed::Token))
        }
        FORGOTTEN => {
            Ok(Changed::Forgotten(parsed(row, "subject", token)?, Digest::from_bytes(row.get("digest")?)))
        }
        OPENED => parsed(row, "subject", |subject| {
            let (app, name) = subject.split_once('/').ok_or(Unreadable("environment"))?;
            let app = TokenApp::parse(app).map_err(|_| Unreadable("app name"))?;
            let name = EnvironmentName::parse(name).map_err(|_| Unreadable("environment name"))?;
            Ok::<_, Unreadable>(Changed::Opened(app, name))
        }),
        _ => Ok(Changed::Other),
    }
}
