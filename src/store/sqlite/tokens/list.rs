//! Lists of tokens.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::super::super::{Ahead, TokenFilter};
use super::upkeep::noted;
use super::{ALL, COLUMNS, REVOKED, judged_at, live, replaced, standing, token, token_id};
use crate::model::{AppName, DeploymentId, EnvironmentName, MemberName, Replaced, Status, Token, TokenId};

pub(in crate::store) fn list(conn: &Connection, filter: &TokenFilter) -> rusqlite::Result<Vec<Token>> {
    let (sql, values) = query(filter);
    conn.prepare_cached(&sql)?.query_map(params_from_iter(values), token)?.collect()
}

/// The query for `filter`: only the clauses it needs, so that an index can serve it.
fn query(filter: &TokenFilter) -> (String, Vec<Value>) {
    let mut sql = format!("SELECT {COLUMNS} FROM {ALL} WHERE true");
    let mut values: Vec<Value> = Vec::new();
    let mut and = |value: Value, clause: &dyn Fn(&str) -> String| {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(&clause(&format!("?{}", values.len())));
    };
    if let Some(owner) = &filter.owner {
        and(owner.to_string().into(), &|owner| format!("m.removed_at IS NULL AND m.name = {owner}"));
    }
    // The index by environment finds an app's tokens too, but not in their order: going through all from the newest on
    // reaches the end of a page sooner than putting them in order.
    let plus = if filter.environment.is_some() { "" } else { "+" };
    if let Some(app) = &filter.within {
        and(app.to_string().into(), &|app| format!("{plus}t.app = {app}"));
    }
    if let Some(app) = &filter.app {
        and(app.clone().into(), &|app| format!("{plus}t.app = {app}"));
    }
    if let Some(environment) = &filter.environment {
        and(environment.clone().into(), &|environment| format!("t.environment = {environment}"));
    }
    match filter.member.as_deref() {
        None => {}
        Some(TokenFilter::OPERATOR) => and(Value::Null, &|none| format!("t.member IS {none}")),
        Some(member) => and(member.to_owned().into(), &|member| format!("m.name = {member}")),
    }
    if let Some(status) = filter.status {
        and(filter.now.as_millisecond().into(), &|now| match status {
            Status::Active => live(now),
            Status::Expired => {
                let (replaced, now) = (replaced(now), judged_at(now));
                format!("NOT {REVOKED} AND NOT {replaced} AND t.expires_at <= {now}")
            }
            Status::Replaced => format!("NOT {REVOKED} AND {}", replaced(now)),
            // The time plays no part in it, but every value that is bound must be used.
            Status::Revoked => format!("{REVOKED} AND {now} IS NOT NULL"),
        });
    }
    if let Some(end) = filter.ending_by {
        and(filter.now.as_millisecond().into(), &|now| {
            format!("t.last_used_at IS NOT NULL AND {}", live(now))
        });
        and(end.as_millisecond().into(), &|end| format!("(t.expires_at <= {end} OR {})", replaced(end)));
    }
    if let Some(q) = &filter.q {
        and(q.clone().into(), &|q| {
            format!("(mentions(t.label, t.description, {q}) OR t.hint = {q} OR t.id = {q})")
        });
    }
    if let Some(before) = filter.before {
        // That one may be gone by now.
        let row = "(SELECT rowid FROM tokens WHERE id >= ID ORDER BY id LIMIT 1)";
        and(before.to_string().into(), &|before| {
            format!("t.rowid < coalesce({}, {})", row.replace("ID", before), i64::MAX)
        });
    }
    sql.push_str(&format!(" ORDER BY t.rowid DESC LIMIT ?{}", values.len() + 1));
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
    (sql, values)
}

/// What publishing would do to the live tokens that are pinned to an environment's current deployment.
#[derive(Debug, Default)]
pub struct Prospect {
    pub would_end: Sighted,
    pub would_keep: Sighted,
}

/// Some tokens, newest first, of which only so many are shown.
#[derive(Debug, Default)]
pub struct Sighted {
    /// Those that the caller may see, up to the bound; what lives on is shown as it would be then.
    pub tokens: Vec<Token>,
    pub count: u64,
}

/// What to look ahead for, who may see how much of it, and how many tokens to show of each kind.
#[derive(Clone, Debug)]
pub struct ProspectFilter {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub id: DeploymentId,
    pub owner: Option<MemberName>,
    pub now: Timestamp,
    pub ending: usize,
    pub living: usize,
}

pub(in crate::store) fn prospect(conn: &Connection, filter: &ProspectFilter) -> rusqlite::Result<Prospect> {
    let (seq, current) = super::super::environments::current(conn, &filter.app, &filter.environment)?;
    let fresh = current != filter.id;
    let fates = standing::fates(conn, filter.now, &filter.app, &filter.environment, seq)?;
    let ending = if fresh { fates.pinned } else { 0 };
    let living = fates.live.saturating_sub(ending);
    let seen = |ends: bool, count: u64, most: usize| -> rusqlite::Result<Sighted> {
        let most = usize::try_from(count).map_or(most, |count| most.min(count));
        let mut tokens = if most > 0 { sighted(conn, filter, fresh, ends, most)? } else { Vec::new() };
        for token in tokens.iter_mut().filter(|token| !ends && fresh && token.replaced.is_none()) {
            let (deployment, by) = (filter.id.to_string(), String::new());
            token.replaced = Some(Replaced { at: filter.now, deployment, by });
        }
        Ok(Sighted { tokens, count })
    };
    Ok(Prospect {
        would_end: seen(true, ending, filter.ending)?,
        would_keep: seen(false, living, filter.living)?,
    })
}

/// Of the live tokens that would end, or that would not, those that may be seen, newest first.
fn sighted(
    conn: &Connection,
    filter: &ProspectFilter,
    fresh: bool,
    ends: bool,
    most: usize,
) -> rusqlite::Result<Vec<Token>> {
    let live = live("?3");
    // What outlived an earlier publish by its grace or its rule outlives this one as it does now.
    let sql = format!(
        "SELECT {COLUMNS} FROM {ALL} WHERE t.app = ?1 AND t.environment = ?2
         AND (?4 IS NULL OR m.removed_at IS NULL AND m.name IS ?4)
         AND (?5 AND d.published_at IS NULL AND has_ended(t.on_publish, ?3, ?3)) = ?6 AND {live}
         ORDER BY t.rowid DESC LIMIT ?7"
    );
    let now = filter.now.as_millisecond();
    let owner = filter.owner.as_ref().map(MemberName::as_str);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    conn.prepare_cached(&sql)?
        .query_map((filter.app.as_str(), filter.environment.as_str(), now, owner, fresh, ends, most), token)?
        .collect()
}

/// Some tokens that ended at or before `cutoff`, in whatever way.
pub(in crate::store) fn ended(
    conn: &Connection,
    cutoff: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<TokenId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "SELECT id FROM tokens WHERE revoked_at <= ?1
         UNION ALL SELECT id FROM tokens WHERE expires_at <= ?1
         UNION ALL SELECT id FROM tokens WHERE member IN (SELECT id FROM members WHERE removed_at <= ?1)
         UNION ALL SELECT t.id FROM environments e
             JOIN tokens t ON t.app = e.app AND t.environment = e.name AND t.deployment_seq < e.seq
             JOIN deployments d ON d.app = e.app AND d.environment = e.name AND d.seq = t.deployment_seq + 1
             WHERE t.on_publish <> 'keep' AND d.published_at <= ?1 AND has_ended(t.on_publish, d.published_at, ?1)
         LIMIT ?2",
    )?
    .query_map((cutoff.as_millisecond(), limit), |row| token_id(row, "id"))?
    .collect()
}

/// Some tokens that live at `now`, were used, end by `end`, and of which that was not noted yet.
pub(in crate::store) fn ending(
    conn: &Connection,
    now: Timestamp,
    end: Timestamp,
    ahead: Ahead,
    limit: usize,
) -> rusqlite::Result<Vec<TokenId>> {
    let unnoted = format!("t.{} IS NULL AND t.last_used_at IS NOT NULL", noted(ahead));
    let sql = format!("{} LIMIT ?3", endings(&unnoted));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(&sql)?
        .query_map((now.as_millisecond(), end.as_millisecond(), limit), |row| token_id(row, "id"))?
        .collect()
}

/// How many tokens live at `now` of each name: an id, or app, environment and label.
pub(in crate::store) fn living(
    conn: &Connection,
    names: &[&str],
    now: Timestamp,
) -> rusqlite::Result<Vec<u64>> {
    let sql = format!(
        "SELECT count(*) FROM {ALL} WHERE t.app = ?1 AND t.environment = ?2 AND t.label = ?3 AND {live}
         UNION ALL SELECT count(*) FROM {ALL} WHERE t.id = ?4 AND {live}",
        live = live("?5")
    );
    let mut counts = conn.prepare(&sql)?;
    let count = |name: &&str| {
        let mut parts = name.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let values = (part(), part(), part(), *name, now.as_millisecond());
        counts.query_map(values, |row| row.get::<_, i64>(0))?.map(|count| Ok(count?.unsigned_abs())).sum()
    };
    names.iter().map(count).collect()
}

/// How many tokens live at `now`, were used, and end by `end`.
pub(in crate::store) fn count_ending(
    conn: &Connection,
    now: Timestamp,
    end: Timestamp,
) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM ({})", endings("t.last_used_at IS NOT NULL"));
    conn.prepare_cached(&sql)?
        .query_row((now.as_millisecond(), end.as_millisecond()), |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// The ids of tokens that are `wanted`, live at `?1` and end by `?2`.
fn endings(wanted: &str) -> String {
    let live = live("?1");
    format!(
        "SELECT t.id FROM {ALL} WHERE t.expires_at > ?1 AND t.expires_at <= ?2 AND {wanted} AND {live}
         UNION SELECT t.id FROM environments e
             JOIN tokens t ON t.app = e.app AND t.environment = e.name AND t.deployment_seq < e.seq
             JOIN deployments d ON d.app = e.app AND d.environment = e.name AND d.seq = t.deployment_seq + 1
             LEFT JOIN members m ON m.id = t.member
             WHERE t.on_publish <> 'keep' AND {wanted} AND {live} AND has_ended(t.on_publish, d.published_at, ?2)"
    )
}

/// Which of these tokens a member made who is still one.
pub(in crate::store) fn owned(
    conn: &Connection,
    ids: &[TokenId],
    owner: Option<&MemberName>,
    within: Option<&AppName>,
) -> rusqlite::Result<Vec<TokenId>> {
    let mut query = conn.prepare_cached(
        "SELECT 1 FROM tokens t LEFT JOIN members m ON m.id = t.member WHERE t.id = ?1
         AND (?2 IS NULL OR m.removed_at IS NULL AND m.name = ?2) AND (?3 IS NULL OR t.app = ?3)",
    )?;
    let owner = owner.map(MemberName::as_str);
    let within = within.map(AppName::as_str);
    let mut found = Vec::new();
    for id in ids {
        if query.exists((id.to_string(), owner, within))? {
            found.push(*id);
        }
    }
    Ok(found)
}
