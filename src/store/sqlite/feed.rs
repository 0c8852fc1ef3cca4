//! The change feed: what changed at which revision, for a follower that keeps a copy in memory.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, Row};
use smol_str::SmolStr;

use super::super::{EnvironmentRow, SealedSecret, StoreError};
use super::reader::Reader;
use super::{Unreadable, environments, parsed, secrets, tokens};
use crate::credential::Digest;
use crate::model::{EnvironmentName, KeyId, MemberName, OnPublish, Rules, SecretName, TokenApp, TokenId};

/// Revisions kept; a follower further behind loads everything anew.
const KEPT: u64 = 100_000;

/// What a revision is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice<'a> {
    Token(TokenId),
    Forgotten(TokenId, &'a Digest),
    Environment(&'a TokenApp, &'a EnvironmentName),
    Key(KeyId),
    Member(&'a MemberName),
    Secret(&'a SecretName),
    /// The row of a member whose tokens ended with it.
    Removed(i64),
}

const TOKEN: &str = "token";
const FORGOTTEN: &str = "forgotten";
const ENVIRONMENT: &str = "environment";
/// What version 1 of the schema called it.
const OPENED: &str = "opened";
const REMOVED: &str = "removed";
const SECRET: &str = "secret";

/// What the gateway must know of a token.
#[derive(Debug)]
pub struct Binding {
    pub digest: Digest,
    pub id: TokenId,
    pub app: TokenApp,
    pub environment: EnvironmentName,
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
    /// By itself, or with its member.
    pub revoked: bool,
    pub label: SmolStr,
    /// The number of the deployment that it was minted under.
    pub deployment: u32,
    pub on_publish: OnPublish,
    pub rules: Rules,
}

/// One thing that a first load finds.
#[derive(Debug)]
pub enum Loaded {
    /// How many tokens there are, before the first of them.
    Tokens(usize),
    Token(Binding),
    Environment(EnvironmentRow),
    Secret(Box<SealedSecret>),
}

/// What one revision changed, as it stands now.
#[derive(Debug)]
pub enum Changed {
    Token(Binding),
    /// It ended with its member; the rest of it is as it was.
    Revoked(TokenId, Digest),
    Forgotten(TokenId, Digest),
    Environment(EnvironmentRow),
    Secret(Box<SealedSecret>),
    NoSecret(SecretName),
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
            for environment in environments::list(conn)? {
                each(Loaded::Environment(environment));
            }
            for secret in secrets::all(conn)? {
                each(Loaded::Secret(Box::new(secret)));
            }
            let tokens = conn.query_row("SELECT count(*) FROM tokens", [], |row| row.get::<_, i64>(0))?;
            each(Loaded::Tokens(usize::try_from(tokens).unwrap_or(0)));
            let mut all = conn.prepare_cached(SELECT_BINDING)?;
            let mut rows = all.query([])?;
            let mut names = Names::default();
            while let Some(row) = rows.next()? {
                each(Loaded::Token(binding(row, &mut names).inspect_err(|e| name_unread(row, e))?));
            }
            Ok(revision)
        })
    }

    /// Every secret, and the key that they are sealed with, once anything was.
    ///
    /// # Errors
    /// When the store cannot be read or holds something unreadable.
    pub fn secrets(&self) -> Result<(Vec<SealedSecret>, Option<String>), StoreError> {
        self.0.read_blocking(|conn| Ok((secrets::all(conn)?, secrets::sealing_key(conn)?)))
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
                if row.get_ref("kind")?.as_str()? == REMOVED {
                    // They may be very many, and nothing else of them has changed.
                    let mut theirs = conn
                        .prepare_cached("SELECT id, digest FROM tokens WHERE member = ? AND revoked_at IS NULL")?;
                    let mut rows = theirs.query([row.get::<_, String>("subject")?])?;
                    while let Some(row) = rows.next()? {
                        let digest = Digest::from_bytes(row.get("digest")?);
                        each(revision, Changed::Revoked(tokens::token_id(row, "id")?, digest));
                    }
                } else {
                    each(revision, changed(conn, row)?);
                }
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
        Notice::Environment(app, name) => (ENVIRONMENT, format!("{app}/{name}"), None),
        Notice::Key(id) => ("key", id.to_string(), None),
        Notice::Member(name) => ("member", name.to_string(), None),
        Notice::Secret(name) => (SECRET, name.to_string(), None),
        Notice::Removed(member) => (REMOVED, member.to_string(), None),
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

const SELECT_BINDING: &str = "SELECT t.id, t.digest, t.app, t.environment, t.expires_at,
    coalesce(t.revoked_at, m.removed_at), t.label, t.deployment_seq, t.on_publish, t.scopes,
    t.allowed_addresses, t.rate_limit FROM tokens t LEFT JOIN members m ON m.id = t.member";

/// The names that were read so far: a million rows have few.
#[derive(Default)]
struct Names {
    apps: HashMap<SmolStr, TokenApp, RandomState>,
    environments: HashMap<SmolStr, EnvironmentName, RandomState>,
}

/// What `parse` makes of a name, unless it was read before.
fn once<T: Clone, E>(
    known: &mut HashMap<SmolStr, T, RandomState>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, E> {
    if let Some(known) = known.get(name) {
        return Ok(known.clone());
    }
    let new = parse(name)?;
    known.insert(name.into(), new.clone());
    Ok(new)
}

/// By the columns' places: to look for a million rows' columns by their names takes longer than to read them.
fn binding(row: &Row<'_>, names: &mut Names) -> rusqlite::Result<Binding> {
    Ok(Binding {
        id: tokens::token_id(row, 0)?,
        digest: Digest::from_bytes(row.get(1)?),
        app: parsed(row, 2, |app| once(&mut names.apps, app, TokenApp::parse))?,
        environment: parsed(row, 3, |name| once(&mut names.environments, name, EnvironmentName::parse))?,
        expires_at: row.get(4)?,
        revoked: row.get::<_, Option<i64>>(5)?.is_some(),
        label: row.get_ref(6)?.as_str()?.into(),
        deployment: row.get(7)?,
        on_publish: parsed(row, 8, |rule| OnPublish::parse(rule).ok_or(Unreadable("rule")))?,
        rules: tokens::rules(row, [9, 10, 11])?,
    })
}

/// A token as its row has it. One that cannot be read is refused, rather than hold up every later change.
fn readable(row: &Row<'_>) -> rusqlite::Result<Changed> {
    match binding(row, &mut Names::default()) {
        Err(e @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            let id = tokens::token_id(row, 0)?;
            tracing::error!(token = %id, error = %e, "a token's row cannot be read: the token is refused");
            Ok(Changed::Forgotten(id, Digest::from_bytes(row.get(1)?)))
        }
        bound => bound.map(Changed::Token),
    }
}

/// Says which row it is that stops a load, if that can be told.
fn name_unread(row: &Row<'_>, error: &rusqlite::Error) {
    if let Ok(id) = tokens::token_id(row, 0) {
        tracing::error!(token = %id, %error, "a token's row cannot be read");
    }
}

fn changed(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<Changed> {
    match row.get::<_, String>("kind")?.as_str() {
        TOKEN => {
            let id = tokens::token_id(row, "subject")?;
            let found = conn
                .prepare_cached(&format!("{SELECT_BINDING} WHERE t.id = ?"))?
                .query_row([id.to_string()], readable)
                .optional()?;
            // Gone already: a later revision says so, with its digest.
            Ok(found.unwrap_or(Changed::Other))
        }
        FORGOTTEN => {
            Ok(Changed::Forgotten(tokens::token_id(row, "subject")?, Digest::from_bytes(row.get("digest")?)))
        }
        ENVIRONMENT | OPENED => {
            let subject = row.get::<_, String>("subject")?;
            let (app, name) = subject.split_once('/').unwrap_or((&subject, ""));
            Ok(environments::get(conn, app, name)?.map_or(Changed::Other, Changed::Environment))
        }
        SECRET => {
            let name = parsed(row, "subject", SecretName::parse)?;
            Ok(match secrets::get(conn, &name)? {
                Some(secret) => Changed::Secret(Box::new(secret)),
                None => Changed::NoSecret(name),
            })
        }
        _ => Ok(Changed::Other),
    }
}
