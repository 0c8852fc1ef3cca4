//! How many tokens live, told from what triggers keep of each group that ends together: counting them one by one would
//! hold up every other write. By the clock alone: where it was set back, what was seen to have ended counts again.

use jiff::Timestamp;
use rusqlite::{Connection, named_params};

use super::super::super::{Limits, Refused};
use super::super::work::{Halt, Work};
use crate::model::{AppName, EnvironmentName, TokenId};

/// Groups beside their member and the deployment that replaced their own, without those that ended with either.
const GROUPS: &str = "standing s LEFT JOIN members m ON m.id = s.member
    LEFT JOIN deployments d ON d.app = s.app AND d.environment = s.environment AND d.seq = s.deployment_seq + 1
    WHERE m.removed_at IS NULL AND (d.published_at IS NULL OR NOT has_ended(s.on_publish, d.published_at, :now))";

const OF_ENVIRONMENT: &str = "s.app = :app AND s.environment = :environment";
/// Groups that end when the deployment with this number is replaced.
const PINNED: &str =
    "s.deployment_seq = :seq AND s.on_publish <> 'keep' AND has_ended(s.on_publish, :now, :now)";

/// How many live tokens a member made.
pub(in crate::store) fn of_member(work: &Work<'_>, now: Timestamp, member: i64) -> rusqlite::Result<u64> {
    live(work, now, Some(member))
}

/// How many of an environment's tokens live, and how many of them a publish ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) live: u64,
    pub(super) pinned: u64,
}

/// The same beside the writer: what has expired since the counts were last brought up to date is taken from them here.
pub(super) fn fates(
    conn: &Connection,
    now: Timestamp,
    app: &AppName,
    environment: &EnvironmentName,
    seq: u32,
) -> rusqlite::Result<Fates> {
    let sql = format!(
        "WITH standing AS (SELECT * FROM main.standing UNION ALL {})
         SELECT coalesce(sum(s.tokens), 0) AS live, coalesce(sum(s.tokens) FILTER (WHERE {PINNED}), 0) AS pinned
         FROM {GROUPS} AND {OF_ENVIRONMENT}",
        expired("t.app = :app AND t.environment = :environment")
    );
    let named = named_params! {
        ":now": now.as_millisecond(), ":app": app.as_str(), ":environment": environment.as_str(), ":seq": seq,
    };
    conn.prepare_cached(&sql)?.query_row(named, |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Fates { live: count("live")?, pinned: count("pinned")? })
    })
}

/// How many live tokens end when the deployment with this number is replaced.
pub(in crate::store) fn of_deployment(
    work: &Work<'_>,
    now: Timestamp,
    app: &AppName,
    environment: &EnvironmentName,
    seq: u32,
) -> rusqlite::Result<u64> {
    catch_up(work, now)?;
    let sql = format!("SELECT coalesce(sum(s.tokens), 0) FROM {GROUPS} AND {OF_ENVIRONMENT} AND {PINNED}");
    let named = named_params! {
        ":now": now.as_millisecond(), ":app": app.as_str(), ":environment": environment.as_str(), ":seq": seq,
    };
    work.conn.prepare_cached(&sql)?.query_row(named, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Refuses one more token where there are as many as there may be.
pub(super) fn keep_within(
    work: &Work<'_>,
    now: Timestamp,
    member: Option<i64>,
    limits: Limits,
) -> Result<(), Halt> {
    let check = |limit: u32, of: Option<i64>| -> Result<(), Halt> {
        let live = live(work, now, of)?.saturating_sub(in_place(work, now, of)?);
        if live >= u64::from(limit) {
            return Err(Refused::Limit { per_member: of.is_some(), limit: limit.into(), live }.into());
        }
        Ok(())
    };
    if limits.in_all > 0 {
        check(limits.in_all, None)?;
    }
    if member.is_some() && limits.per_member > 0 {
        check(limits.per_member, member)?;
    }
    Ok(())
}

/// Whether a token, which counts from then on, is in the place of its predecessor now.
pub(super) fn is_in_place(
    work: &Work<'_>,
    now: Timestamp,
    counts_from: Option<Timestamp>,
    predecessor: Option<TokenId>,
) -> rusqlite::Result<bool> {
    let (Some(_), Some(predecessor)) = (counts_from.filter(|from| *from > now), predecessor) else {
        return Ok(false);
    };
    work.conn
        .prepare_cached("SELECT 1 FROM tokens WHERE id = ? AND stands_until > ?")?
        .exists((predecessor.to_string(), now.as_millisecond()))
}

fn live(work: &Work<'_>, now: Timestamp, member: Option<i64>) -> rusqlite::Result<u64> {
    catch_up(work, now)?;
    let named = named_params! { ":now": now.as_millisecond(), ":member": member };
    work.conn
        .prepare_cached(&sum(member.is_some()))?
        .query_row(named, |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// How many tokens there are in the groups of one member, or in all.
fn sum(of_one: bool) -> String {
    // So that the groups of one member are found by them.
    let whose = if of_one { "s.member = :member" } else { ":member IS NULL" };
    format!("SELECT coalesce(sum(s.tokens), 0) FROM {GROUPS} AND {whose}")
}

/// How many live tokens are in the place of a predecessor that lives too.
fn in_place(work: &Work<'_>, now: Timestamp, member: Option<i64>) -> rusqlite::Result<u64> {
    // What has the same bindings ends with the same member and deployment.
    work.conn
        .prepare_cached(
            "SELECT count(*) FROM tokens t JOIN tokens p ON p.id = t.predecessor LEFT JOIN members m ON m.id = t.member
             LEFT JOIN deployments d ON d.app = t.app AND d.environment = t.environment AND d.seq = t.deployment_seq + 1
             WHERE t.counts_from > :now AND t.stands_until > :now AND p.stands_until > :now AND m.removed_at IS NULL
             AND (d.published_at IS NULL OR NOT has_ended(t.on_publish, d.published_at, :now))
             AND coalesce(t.member, 0) = coalesce(:member, t.member, 0)",
        )?
        .query_row(named_params! { ":now": now.as_millisecond(), ":member": member }, |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// Takes from the counts what has expired since they were last asked for; gives it back where the clock was set back.
/// That holds whatever becomes of the command.
fn catch_up(work: &Work<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let now = now.as_millisecond();
    let sql = format!(
        "INSERT INTO standing {} ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens",
        expired("true")
    );
    work.conn.prepare_cached(&sql)?.execute(named_params! { ":now": now })?;
    work.conn.prepare_cached("DELETE FROM standing WHERE tokens = 0")?.execute([])?;
    work.conn.prepare_cached("UPDATE standing_at SET at = ?")?.execute([now])?;
    Ok(())
}

/// What the counts of these tokens' groups have to be changed by.
fn expired(whose: &str) -> String {
    format!(
        "SELECT t.app, t.environment, t.deployment_seq, t.on_publish, coalesce(t.member, 0),
             iif(at <= :now, -1, 1) * count(*)
         FROM standing_at CROSS JOIN tokens t
         WHERE t.expires_at > min(at, :now) AND t.expires_at <= max(at, :now) AND t.revoked_at IS NULL AND {whose}
         GROUP BY 1, 2, 3, 4, 5"
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::open;
    use super::*;

    #[test]
    fn the_limit_of_one_member_looks_at_no_others_groups() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder.path().join("s.db")).unwrap();
        let plan = |sql: &str| -> String {
            let mut question = opened.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = question.raw_query().mapped(|row| row.get::<_, String>("detail"));
            steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
        };
        let plans = [plan(&sum(true)), plan("DELETE FROM standing WHERE tokens = 0")];
        assert!(plans[0].contains("SEARCH s USING INDEX standing_by_member"), "{plans:?}");
        assert!(plans[1].contains("standing_by_emptiness"), "{plans:?}");
        assert!(plans.iter().all(|plan| !plan.contains("SCAN s")), "{plans:?}");
    }
}
