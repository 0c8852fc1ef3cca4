//! Rows of links that sign a browser in.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::super::{Act, NewShare, Share};
use super::work::{Halt, Work};
use super::{Unreadable, audit, parsed, repeats, tokens};
use crate::credential::Digest;
use crate::model::{Landing, Token, TokenId};

/// Stores the link of a token that is being minted.
pub(super) fn insert(work: &Work<'_>, token: TokenId, new: &NewShare) -> rusqlite::Result<()> {
    work.conn
        .prepare_cached("INSERT INTO shares (digest, token, landing, uses) VALUES (?, ?, ?, ?)")?
        .execute((new.digest.as_bytes(), token.to_string(), new.landing.as_str(), new.uses))?;
    Ok(())
}

/// The link with this digest, as far as it was used.
pub(in crate::store) fn find(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<Share>> {
    conn.prepare_cached(
        "SELECT t.digest, t.id, t.app, t.environment, s.landing, s.uses, s.used
         FROM shares s JOIN tokens t ON t.id = s.token WHERE s.digest = ?",
    )?
    .query_row([digest.as_bytes()], |row| {
        Ok(Share {
            token: Digest::from_bytes(row.get("digest")?),
            id: row.get("id")?,
            app: row.get("app")?,
            environment: row.get("environment")?,
            landing: parsed(row, "landing", |text| Landing::parse(text).ok_or(Unreadable("path")))?,
            uses: row.get("uses")?,
            used: row.get("used")?,
        })
    })
    .optional()
}

/// The token that a link still signs in with.
pub(in crate::store) fn token(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<Token>> {
    let share = find(conn, digest)?.filter(|share| share.used < share.uses);
    share.map_or(Ok(None), |share| tokens::by_digest(conn, &share.token))
}

/// Uses a link once more, where it may be; `None` where there is none. What it was like before says whether it was.
pub(in crate::store) fn spend(
    work: &mut Work<'_>,
    act: &Act,
    digest: &Digest,
) -> Result<Option<Share>, Halt> {
    repeats::begin(work, act)?;
    let Some(share) = find(work.conn, digest)? else { return Ok(None) };
    let spent = work
        .conn
        .prepare_cached("UPDATE shares SET used = used + 1 WHERE digest = ? AND used < uses")?
        .execute([digest.as_bytes()])?;
    if spent > 0 {
        let detail = json!({
            "app": share.app, "environment": share.environment, "use": share.used + 1, "of": share.uses,
        });
        audit::note(work.conn, act, "share.use", &share.id, detail)?;
    }
    Ok(Some(share))
}
