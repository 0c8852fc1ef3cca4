//! Rows of tokens: what they hold, and what is derived from the rows of their members and deployments.

pub(in crate::store) mod change;
pub(in crate::store) mod list;
pub(in crate::store) mod mint;
pub(in crate::store) mod standing;
pub(in crate::store) mod upkeep;

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, RowIndex};

use super::{Unreadable, moment, parsed, parsed_if, time};
use crate::credential::Digest;
use crate::model::{
    Ended, EnvironmentName, Label, Lifetime, MemberName, Network, OnPublish, Rate, Replaced, Rules, Text,
    Token, TokenApp, TokenId, TokenScope,
};

/// A token beside its member and the deployment that replaced its own, each if there is one.
pub(super) const ALL: &str = "tokens t LEFT JOIN members m ON m.id = t.member
    LEFT JOIN deployments d ON d.app = t.app AND d.environment = t.environment AND d.seq = t.deployment_seq + 1";
/// Whether it was taken back, by itself or with its member.
pub(super) const REVOKED: &str = "(t.revoked_at IS NOT NULL OR m.removed_at IS NOT NULL)";
/// What `minted_for` says of a token that had no end.
const FOR_EVER: &str = "never";
/// Why, where it went with its member.
const WITH_MEMBER: &str = "its member was removed";

const COLUMNS: &str = "t.id, t.label, t.description, t.app, t.environment, t.deployment, t.on_publish, t.scopes,
    t.allowed_addresses, t.rate_limit, t.hint, t.created_at, m.name AS member, m.removed_at, m.removed_by,
    nullif(judged_at(t.id, 0), 0) AS seen_ended, t.expires_at, t.lifetime, t.minted_for, t.counts_from, t.last_used_at, t.last_used_from,
    t.revoked_at, t.revoked_by, t.revoke_reason, d.published_at, d.published_by, d.id AS published_id, t.predecessor, t.successor, t.revision";

pub(in crate::store) fn get(conn: &Connection, id: TokenId) -> rusqlite::Result<Option<Token>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {ALL} WHERE t.id = ?"))?
        .query_row([id.to_string()], token)
        .optional()
}

/// The same of one that is to be ended or warned of, whatever of its row does not read.
pub(in crate::store) fn by_id(conn: &Connection, id: TokenId) -> rusqlite::Result<Option<Token>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {ALL} WHERE t.id = ?"))?
        .query_row([id.to_string()], whatever_reads)
        .optional()
}

/// One that leaked: it is to be ended, as above.
pub(in crate::store) fn by_digest(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<Token>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {ALL} WHERE t.digest = ?"))?
        .query_row([digest.as_bytes()], whatever_reads)
        .optional()
}

/// The time by which a token is judged at `now`.
fn judged_at(now: &str) -> String {
    format!("judged_at(t.id, {now})")
}

/// Whether a token's deployment was replaced so that it has ended by `now`.
fn replaced(now: &str) -> String {
    let now = judged_at(now);
    format!("(d.published_at IS NOT NULL AND has_ended(t.on_publish, d.published_at, {now}))")
}

/// Whether a token lives at `now`.
pub(super) fn live(now: &str) -> String {
    let (replaced, now) = (replaced(now), judged_at(now));
    format!("NOT {REVOKED} AND NOT {replaced} AND (t.expires_at IS NULL OR t.expires_at > {now})")
}

pub(super) fn token_id(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<TokenId> {
    parsed(row, column, |id| TokenId::parse(id).ok_or(Unreadable("token id")))
}

/// The rules of a row that has these columns of them.
pub(super) fn rules(row: &Row<'_>, [scopes, networks, rate]: [impl RowIndex; 3]) -> rusqlite::Result<Rules> {
    Ok(Rules {
        scopes: parsed(row, scopes, |text| each(text, |scope| TokenScope::parse(scope).ok()))?,
        networks: parsed(row, networks, |text| each(text, |network| Network::parse(network).ok()))?,
        rate: parsed_if(row, rate, Rate::parse)?,
    })
}

fn each<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Unreadable> {
    // What nearly every row holds needs no parser.
    if text == "[]" {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = serde_json::from_str(text).map_err(|_| Unreadable("list of rules"))?;
    texts.iter().map(|text| parse(text).ok_or(Unreadable("rule"))).collect()
}

/// A list of rules as it is stored.
fn listed(items: &[impl ToString]) -> String {
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    serde_json::Value::from(texts).to_string()
}

/// How a row is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Whole,
    /// What does not read is left out, but for what a token is told by.
    Lenient,
}

impl Reading {
    fn of<T: Default>(self, read: rusqlite::Result<T>) -> rusqlite::Result<T> {
        if self == Self::Lenient { Ok(read.unwrap_or_default()) } else { read }
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    read(row, Reading::Whole)
}

fn whatever_reads(row: &Row<'_>) -> rusqlite::Result<Token> {
    read(row, Reading::Lenient)
}

fn read(row: &Row<'_>, reading: Reading) -> rusqlite::Result<Token> {
    let removed_at = time(row, "removed_at")?;
    let revoked = match (time(row, "revoked_at")?, removed_at) {
        (Some(at), _) => Some(Ended { at, by: row.get("revoked_by")?, reason: row.get("revoke_reason")? }),
        (None, Some(at)) => {
            let by = row.get::<_, Option<String>>("removed_by")?.unwrap_or_default();
            Some(Ended { at, by, reason: Some(WITH_MEMBER.to_owned()) })
        }
        (None, None) => None,
    };
    let lifetime = reading.of(parsed_if(row, "lifetime", Lifetime::parse))?;
    let minted_for = match row.get_ref("minted_for")?.as_str_or_null()? {
        None => lifetime,
        Some(FOR_EVER) => None,
        Some(_) => reading.of(parsed_if(row, "minted_for", Lifetime::parse))?,
    };
    let replaced = match time(row, "published_at")? {
        Some(at) => {
            let by = row.get::<_, Option<String>>("published_by")?.unwrap_or_default();
            Some(Replaced { at, deployment: row.get("published_id")?, by })
        }
        None => None,
    };
    let other = |id: &str| TokenId::parse(id).ok_or(Unreadable("token id"));
    Ok(Token {
        id: token_id(row, "id")?,
        label: reading.of(parsed(row, "label", Label::parse))?,
        description: reading.of(parsed(row, "description", Text::parse))?,
        app: parsed(row, "app", TokenApp::parse)?,
        environment: parsed(row, "environment", EnvironmentName::parse)?,
        deployment: row.get("deployment")?,
        on_publish: reading
            .of(parsed_if(row, "on_publish", |rule| OnPublish::parse(rule).ok_or(Unreadable("rule"))))?
            .unwrap_or(OnPublish::Keep),
        rules: reading.of(rules(row, ["scopes", "allowed_addresses", "rate_limit"]))?,
        hint: row.get("hint")?,
        created_at: reading.of(moment(row, "created_at"))?,
        created_by: parsed_if(row, "member", MemberName::parse)?,
        orphaned: removed_at.is_some(),
        expires_at: reading.of(time(row, "expires_at"))?,
        lifetime,
        minted_for,
        counts_from: reading.of(time(row, "counts_from"))?,
        last_used_at: reading.of(time(row, "last_used_at"))?,
        last_used_from: reading.of(parsed_if(row, "last_used_from", str::parse::<IpAddr>))?,
        revoked,
        replaced,
        seen_ended: reading.of(time(row, "seen_ended"))?,
        predecessor: reading.of(parsed_if(row, "predecessor", other))?,
        successor: reading.of(parsed_if(row, "successor", other))?,
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
    })
}
