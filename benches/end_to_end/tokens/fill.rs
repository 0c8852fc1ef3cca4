//! A store of millions of tokens, written straight into its tables: the gateway would take hours to mint them.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use portcullis::model::TokenId;
use rusqlite::Connection;

/// Adds tokens like the one that is there, with random digests, until there are so many.
pub(super) fn fill(store: &Path, count: usize) -> Result<()> {
    let connection = Connection::open(store)?;
    // It need not outlive a crash.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -1_000_000)?;
    let there: u32 = connection.query_row("SELECT count(*) FROM tokens", [], |row| row.get(0))?;
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('tokens')")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let values: Vec<_> = columns
        .iter()
        .map(|column| match column.as_str() {
            "id" => "?1",
            "digest" => "?2",
            other => other,
        })
        .collect();
    let template: String = connection.query_row("SELECT max(id) FROM tokens", [], |row| row.get(0))?;
    let mut last = TokenId::parse(&template).context("its tokens have other ids")?;
    // In order, so that every index grows at its end.
    let mut digests: Vec<[u8; 32]> = vec![[0; 32]; count.saturating_sub(there as usize)];
    for digest in &mut digests {
        fastrand::fill(digest);
    }
    digests.sort_unstable();
    connection.execute_batch("BEGIN")?;
    {
        let mut insert = connection.prepare(&format!(
            "INSERT INTO tokens ({}) SELECT {} FROM tokens WHERE id = '{template}'",
            columns.join(", "),
            values.join(", ")
        ))?;
        for digest in &digests {
            last = TokenId::next(Some(last), Timestamp::now());
            insert.execute((last.to_string(), digest))?;
        }
    }
    connection.execute_batch("COMMIT")?;
    // As the gateway leaves it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Ok(())
}
