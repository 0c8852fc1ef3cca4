//! Rows of calls that may come twice, and the gate that every command passes: whoever acts must still be allowed to.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::super::{Act, Once, Refused, Repeat};
use super::moment;
use super::outbox::LEAKS_KEPT;
use super::work::{Halt, Work};
use super::writer::Bulk;

/// How long a call is remembered.
pub(in crate::store) const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// Rows deleted in one piece of work.
const AT_ONCE: usize = 256;
/// Who calls without a management key.
const OPERATOR: &str = "operator";

/// Begins a command: refuses a caller who may no longer act, and a call that was made before.
pub(super) fn begin(work: &Work<'_>, act: &Act) -> Result<(), Halt> {
    if let Some(key) = act.key {
        let in_force = work
            .conn
            .prepare_cached(
                "SELECT 1 FROM keys k JOIN members m ON m.id = k.member
                 WHERE k.id = ? AND k.revoked_at IS NULL AND m.removed_at IS NULL
                 AND (k.expires_at IS NULL OR k.expires_at > judged_at(k.id, ?))",
            )?
            .exists((key.to_string(), act.at.as_millisecond()))?;
        if !in_force {
            return Err(Refused::Caller.into());
        }
    }
    match find(work.conn, act)? {
        Some(Ok(repeat)) => Err(Refused::Repeated(Repeat { revision: work.revision(), ..repeat }).into()),
        Some(Err(())) => Err(Refused::Reused.into()),
        None => Ok(()),
    }
}

/// What the same call made before; `Err` where it was another call of the same name.
pub(in crate::store) fn find(conn: &Connection, act: &Act) -> rusqlite::Result<Option<Result<Repeat, ()>>> {
    let Some(once) = &act.once else { return Ok(None) };
    let since = act.at.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
    conn.prepare_cached(
        "SELECT request, subject, ended, at, (SELECT max(revision) FROM feed) AS revision FROM repeats
         WHERE caller = ? AND key = ? AND (lasts OR at > ?)",
    )?
    .query_row((caller(act), once.key, since.as_millisecond()), |row| {
        if row.get::<_, [u8; 32]>("request")? != once.request {
            return Ok(Err(()));
        }
        Ok(Ok(Repeat {
            at: moment(row, "at")?,
            subject: row.get("subject")?,
            ended: row.get::<_, i64>("ended")?.unsigned_abs(),
            revision: row.get::<_, Option<i64>>("revision")?.unwrap_or(0).unsigned_abs(),
        }))
    })
    .optional()
}

/// Remembers what a call made, where it may come again.
pub(super) fn made(work: &Work<'_>, act: &Act, subject: &str, ended: u64) -> rusqlite::Result<()> {
    let Some(Once { key, request, lasts }) = &act.once else { return Ok(()) };
    work.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO repeats (caller, key, request, subject, ended, at, lasts)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            caller(act),
            key,
            request,
            subject,
            i64::try_from(ended).unwrap_or(i64::MAX),
            act.at.as_millisecond(),
            lasts,
        ))?;
    Ok(())
}

/// The same of a call that has made nothing else by then.
pub(in crate::store) fn remember(work: &Work<'_>, act: &Act) -> Result<(), Halt> {
    begin(work, act)?;
    Ok(made(work, act, "", 0)?)
}

fn caller(act: &Act) -> String {
    act.key.map_or_else(|| OPERATOR.to_owned(), |key| key.to_string())
}

/// Forgets the calls that were made at or before a moment.
#[derive(Debug)]
pub(in crate::store) struct Trim {
    cutoff: Timestamp,
    /// The same for those that last.
    far: Timestamp,
    done: u64,
}

impl Trim {
    pub(in crate::store) fn new(now: Timestamp) -> Self {
        let before = |kept| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        Self { cutoff: before(REMEMBERED), far: before(LEAKS_KEPT), done: 0 }
    }
}

impl Bulk for Trim {
    fn piece(&mut self, work: &mut Work<'_>, _until: Instant) -> rusqlite::Result<bool> {
        let deleted = work
            .conn
            .prepare_cached(
                "DELETE FROM repeats WHERE (caller, key) IN
                 (SELECT caller, key FROM repeats WHERE at <= ? AND (NOT lasts OR at <= ?) LIMIT ?)",
            )?
            .execute((self.cutoff.as_millisecond(), self.far.as_millisecond(), AT_ONCE as i64))?;
        self.done += deleted as u64;
        Ok(deleted == AT_ONCE)
    }

    fn done(&self) -> u64 {
        self.done
    }
}
