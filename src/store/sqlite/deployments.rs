//! Rows of deployments.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};

use super::super::{Act, NewDeployment, Published, Refused};
use super::environments::{current, upstreams};
use super::feed::Notice;
use super::repeats::{begin, made};
use super::tokens::standing;
use super::work::{Halt, Work};
use super::{audit, parsed, time};
use crate::model::{AppName, Deployment, DeploymentId, EnvironmentName, TokenApp, Upstream};

const COLUMNS: &str =
    "d.id, d.seq, d.published_at, d.published_by, d.upstreams, d.released_at, d.archived_at,
    d.seq = (SELECT e.seq FROM environments e WHERE e.app = d.app AND e.name = d.environment) AS current";

/// Publishes a release: a new deployment, or a new release of the one that is there.
pub(in crate::store) fn publish(
    work: &mut Work<'_>,
    act: &Act,
    new: &NewDeployment,
) -> Result<Published, Halt> {
    begin(work, act)?;
    let (app, environment) = (new.app.as_str(), new.environment.as_str());
    let (seq, before) = current(work.conn, &new.app, &new.environment)?;
    let at = act.at.as_millisecond();
    // What nobody published gets its row when something is to be said of it.
    work.conn
        .prepare_cached("INSERT OR IGNORE INTO deployments (app, environment, seq, id) VALUES (?, ?, 0, ?)")?
        .execute((app, environment, DeploymentId::initial().as_str()))?;
    let replaced = before != new.id;
    let ending = || standing::of_deployment(work, act.at, &new.app, &new.environment, seq);
    let (seq, ended) = if replaced { (seq + 1, ending()?) } else { (seq, 0) };
    let urls =
        new.upstreams.as_ref().map(|urls| json!(urls.iter().map(Upstream::to_string).collect::<Vec<_>>()));
    if replaced {
        work.conn
            .prepare_cached(
                "INSERT INTO deployments (app, environment, seq, id, published_at, published_by) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((app, environment, seq, new.id.as_str(), at, &act.actor))?;
    }
    work.conn
        .prepare_cached(
            "UPDATE deployments SET upstreams = ?, released_at = ? WHERE app = ? AND environment = ? AND seq = ?",
        )?
        .execute((urls.as_ref().map(Value::to_string), at, app, environment, seq))?;
    work.conn
        .prepare_cached(
            "INSERT INTO environments (app, name, seq) VALUES (?, ?, ?)
             ON CONFLICT (app, name) DO UPDATE SET seq = excluded.seq",
        )?
        .execute((app, environment, seq))?;
    let action = if replaced { "deployment.publish" } else { "deployment.release" };
    let detail = json!({
        "app": app, "environment": environment, "replaced": replaced.then_some(before.as_str()),
        "upstreams": urls, "tokens_ended": ended,
    });
    audit::note(work.conn, act, action, &format!("{app}/{environment}/{}", new.id), detail)?;
    let revision = work.announce(Notice::Environment(&TokenApp::One(new.app.clone()), &new.environment))?;
    made(work, act, &seq.to_string(), ended)?;
    let deployment = by_number(work.conn, &new.app, &new.environment, seq)?.ok_or(Refused::Missing)?;
    Ok(Published { deployment, ended, replaced, revision })
}

/// Puts every deployment of this id away that is not the current one.
pub(in crate::store) fn archive(
    work: &mut Work<'_>,
    act: &Act,
    app: &AppName,
    environment: &EnvironmentName,
    id: &DeploymentId,
) -> Result<Deployment, Halt> {
    begin(work, act)?;
    let (_, serving) = current(work.conn, app, environment)?;
    if serving == *id {
        return Err(Refused::Current.into());
    }
    let newest = work
        .conn
        .prepare_cached("SELECT max(seq) FROM deployments WHERE app = ? AND environment = ? AND id = ?")?
        .query_row((app.as_str(), environment.as_str(), id.as_str()), |row| row.get::<_, Option<u32>>(0))?
        .ok_or(Refused::Missing)?;
    let archived = work
        .conn
        .prepare_cached(
            "UPDATE deployments SET archived_at = ?, archived_by = ?
             WHERE app = ? AND environment = ? AND id = ? AND archived_at IS NULL",
        )?
        .execute((act.at.as_millisecond(), &act.actor, app.as_str(), environment.as_str(), id.as_str()))?;
    if archived > 0 {
        let detail = json!({ "app": app.as_str(), "environment": environment.as_str() });
        audit::note(work.conn, act, "deployment.archive", &format!("{app}/{environment}/{id}"), detail)?;
    }
    Ok(by_number(work.conn, app, environment, newest)?.ok_or(Refused::Missing)?)
}

/// The history of an environment, newest first, from below a number.
pub(in crate::store) fn list(
    conn: &Connection,
    app: &AppName,
    environment: &EnvironmentName,
    before: Option<u32>,
    limit: usize,
) -> rusqlite::Result<Vec<Deployment>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deployments d WHERE d.app = ? AND d.environment = ? AND d.seq < ?
         ORDER BY d.seq DESC LIMIT ?"
    );
    let before = before.map_or(i64::MAX, i64::from);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found: Vec<_> = conn
        .prepare_cached(&sql)?
        .query_map((app.as_str(), environment.as_str(), before, limit), deployment)?
        .collect::<rusqlite::Result<_>>()?;
    if found.is_empty() && before == i64::MAX {
        found.push(unpublished());
    }
    Ok(found)
}

pub(in crate::store) fn by_number(
    conn: &Connection,
    app: &AppName,
    environment: &EnvironmentName,
    seq: u32,
) -> rusqlite::Result<Option<Deployment>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM deployments d WHERE d.app = ? AND d.environment = ? AND d.seq = ?"
    ))?
    .query_row((app.as_str(), environment.as_str(), seq), deployment)
    .optional()
}

/// What an environment serves that nothing was ever published to.
fn unpublished() -> Deployment {
    Deployment {
        id: DeploymentId::initial(),
        number: 0,
        published_at: None,
        published_by: None,
        upstreams: None,
        released_at: None,
        current: true,
        archived_at: None,
    }
}

fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: parsed(row, "id", DeploymentId::parse)?,
        number: row.get("seq")?,
        published_at: time(row, "published_at")?,
        published_by: row.get("published_by")?,
        upstreams: upstreams(row, "upstreams")?,
        released_at: time(row, "released_at")?,
        current: row.get::<_, Option<bool>>("current")?.unwrap_or(false),
        archived_at: time(row, "archived_at")?,
    })
}
