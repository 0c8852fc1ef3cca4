//! Rows of environments: whether a token was ever minted for one.

use rusqlite::Connection;
use serde_json::json;

use super::super::Act;
use super::feed::Notice;
use super::work::Work;
use super::{audit, parsed};
use crate::model::{EnvironmentName, TokenApp};

/// Notes that a token is being minted for the environment, the first time.
pub(super) fn open(
    work: &mut Work<'_>,
    act: &Act,
    app: &TokenApp,
    name: &EnvironmentName,
) -> rusqlite::Result<()> {
    let opened = work
        .conn
        .prepare_cached(
            "INSERT INTO environments (app, name, opened_at) VALUES (?, ?, ?)
             ON CONFLICT (app, name) DO UPDATE SET opened_at = excluded.opened_at WHERE opened_at IS NULL",
        )?
        .execute((app.as_str(), name.as_str(), act.at.as_millisecond()))?;
    if opened > 0 {
        audit::note(work.conn, act, "environment.open", &format!("{app}/{name}"), json!({}))?;
        work.announce(Notice::Opened(app, name))?;
    }
    Ok(())
}

/// Every environment that was opened so.
pub(in crate::store) fn openings(conn: &Connection) -> rusqlite::Result<Vec<(TokenApp, EnvironmentName)>> {
    conn.prepare_cached("SELECT app, name FROM environments WHERE opened_at IS NOT NULL")?
        .query_map([], |row| {
            Ok((parsed(row, "app", TokenApp::parse)?, parsed(row, "name", EnvironmentName::parse)?))
        })?
        .collect()
}
