//! Rows of environments: whether they let tokens in, and which deployment they serve.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::super::{Act, EnvironmentRow};
use super::feed::Notice;
use super::repeats::begin;
use super::work::{Halt, Work};
use super::{Unreadable, audit, parsed, parsed_if};
use crate::model::{AppName, DeploymentId, EnvironmentName, TokenApp, Upstream};

const SELECT: &str = "SELECT e.app, e.name, e.opened_at, e.switched_on, e.seq, d.id, d.upstreams,
    (SELECT json_group_array(published_at) FROM
        (SELECT published_at FROM deployments p WHERE p.app = e.app AND p.environment = e.name AND p.seq > 0
         ORDER BY p.seq)) AS published
    FROM environments e
    LEFT JOIN deployments d ON d.app = e.app AND d.environment = e.name AND d.seq = e.seq";

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
        let detail = json!({ "app": app.as_str(), "environment": name.as_str() });
        audit::note(work.conn, act, "environment.open", &format!("{app}/{name}"), detail)?;
        work.announce(Notice::Environment(app, name))?;
    }
    Ok(())
}

/// Lets tokens in or keeps them all out; returns the revision at which that holds.
pub(in crate::store) fn switch(
    work: &mut Work<'_>,
    act: &Act,
    app: &AppName,
    name: &EnvironmentName,
    on: bool,
) -> Result<u64, Halt> {
    begin(work, act)?;
    let switched = work
        .conn
        .prepare_cached(
            "INSERT INTO environments (app, name, switched_on, switched_at, switched_by) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (app, name) DO UPDATE SET switched_on = excluded.switched_on,
             switched_at = excluded.switched_at, switched_by = excluded.switched_by
             WHERE switched_on IS NOT excluded.switched_on",
        )?
        .execute((app.as_str(), name.as_str(), on, act.at.as_millisecond(), &act.actor))?;
    if switched == 0 {
        return Ok(work.revision());
    }
    let detail = json!({ "app": app.as_str(), "environment": name.as_str(), "enabled": on });
    audit::note(work.conn, act, "environment.switch", &format!("{app}/{name}"), detail)?;
    Ok(work.announce(Notice::Environment(&TokenApp::One(app.clone()), name))?)
}

/// The number and the id of the deployment that an environment serves.
pub(super) fn current(
    conn: &Connection,
    app: &AppName,
    name: &EnvironmentName,
) -> rusqlite::Result<(u32, DeploymentId)> {
    let found = conn
        .prepare_cached(
            "SELECT e.seq, d.id FROM environments e
             JOIN deployments d ON d.app = e.app AND d.environment = e.name AND d.seq = e.seq
             WHERE e.app = ? AND e.name = ?",
        )?
        .query_row((app.as_str(), name.as_str()), |row| {
            Ok((row.get("seq")?, parsed(row, "id", DeploymentId::parse)?))
        })
        .optional()?;
    Ok(found.unwrap_or_else(|| (0, DeploymentId::initial())))
}

/// Every environment that the store knows something of.
pub(in crate::store) fn list(conn: &Connection) -> rusqlite::Result<Vec<EnvironmentRow>> {
    conn.prepare_cached(SELECT)?.query_map([], environment)?.collect()
}

pub(super) fn get(conn: &Connection, app: &str, name: &str) -> rusqlite::Result<Option<EnvironmentRow>> {
    conn.prepare_cached(&format!("{SELECT} WHERE e.app = ? AND e.name = ?"))?
        .query_row((app, name), environment)
        .optional()
}

/// A stored list of upstreams.
pub(super) fn upstreams(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Vec<Upstream>>> {
    parsed_if(row, column, |text| {
        let urls: Vec<String> = serde_json::from_str(text).map_err(|_| Unreadable("list of upstreams"))?;
        urls.iter().map(|url| Upstream::parse(url).map_err(|_| Unreadable("upstream"))).collect()
    })
}

fn environment(row: &Row<'_>) -> rusqlite::Result<EnvironmentRow> {
    Ok(EnvironmentRow {
        app: parsed(row, "app", TokenApp::parse)?,
        name: parsed(row, "name", EnvironmentName::parse)?,
        opened: row.get::<_, Option<i64>>("opened_at")?.is_some(),
        switched: row.get("switched_on")?,
        deployment: parsed_if(row, "id", DeploymentId::parse)?.unwrap_or_else(DeploymentId::initial),
        published: parsed(row, "published", |text| serde_json::from_str(text))?,
        upstreams: upstreams(row, "upstreams")?,
    })
}
