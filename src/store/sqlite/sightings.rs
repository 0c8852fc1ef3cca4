//! Rows of what was seen to have ended: a restart must not revive it either.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::work::Work;
use super::writer::Bulk;
use super::{Unreadable, parsed};
use crate::model::{Hindsight, Mortal, Sighting, Sightings};

/// What earlier runs saw.
pub(super) fn read(conn: &Connection) -> rusqlite::Result<Vec<Sighting>> {
    conn.prepare("SELECT subject, at FROM sightings")?
        .query_map([], |row| {
            let of = parsed(row, "subject", |id| Mortal::parse(id).ok_or(Unreadable("token or key id")))?;
            Ok((of, row.get("at")?))
        })?
        .collect()
}

/// Makes `judged_at(id, now)` known to SQL, so that lists and the gateway cannot disagree.
pub(super) fn register(conn: &Connection, hindsight: Arc<Hindsight>) -> rusqlite::Result<()> {
    // Not deterministic: what is seen changes the answer.
    conn.create_scalar_function("judged_at", 2, FunctionFlags::SQLITE_UTF8, move |context| {
        let now = context.get(1)?;
        if hindsight.is_moot(now) {
            return Ok(now);
        }
        let of = context.get_raw(0).as_str().ok().and_then(Mortal::parse);
        Ok(of.map_or(now, |of| hindsight.judged_at(of, now)))
    })
}

/// Writes down what was seen, and forgets what no longer counts.
#[derive(Debug)]
pub(in crate::store) struct Keep {
    new: std::vec::IntoIter<Sighting>,
    between: Option<(i64, i64)>,
}

impl Keep {
    pub(in crate::store) fn new(Sightings { new, between }: Sightings) -> Self {
        Self { new: new.into_iter(), between: Some(between) }
    }
}

impl Bulk for Keep {
    fn piece(&mut self, work: &mut Work<'_>, until: Instant) -> rusqlite::Result<bool> {
        if let Some(between) = self.between.take() {
            work.conn.prepare_cached("DELETE FROM sightings WHERE at <= ? OR at > ?")?.execute(between)?;
        }
        let mut insert =
            work.conn.prepare_cached("INSERT OR REPLACE INTO sightings (subject, at) VALUES (?, ?)")?;
        for (of, at) in self.new.by_ref() {
            insert.execute((of.to_string(), at))?;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(self.new.len() > 0)
    }

    fn done(&self) -> u64 {
        0
    }
}
