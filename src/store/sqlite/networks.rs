//! Rows of networks that tokens and management keys were used from.

use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, Row};

use super::super::FirstUse;
use super::parsed;
use super::tokens::token_id;
use super::work::{meta, set_meta};

/// Networks that are kept of one token or key, those that it was used from last.
const KEPT: u32 = 64;
/// Up to which row owners were told of new networks.
const SEEN: &str = "networks_seen";
/// Addresses that are named to an owner.
const NAMED: u32 = 10;

/// The network of an address, as large as one household or office mostly has it.
pub(super) fn of(address: IpAddr) -> String {
    let prefix = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, prefix).map_or_else(|_| address.to_string(), |network| network.trunc().to_string())
}

/// What was used.
#[derive(Clone, Copy)]
pub(super) enum Users {
    Tokens,
    Keys,
}

impl Users {
    /// Their table, their networks', and its column for them.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::Tokens => ["tokens", "token_networks", "token"],
            Self::Keys => ["keys", "key_networks", "key"],
        }
    }

    /// Notes that one of them was used from there.
    pub(super) fn note(
        self,
        conn: &Connection,
        user: &str,
        address: IpAddr,
        at: i64,
    ) -> rusqlite::Result<()> {
        let [users, table, column] = self.names();
        let (network, address) = (of(address), address.to_string());
        let known = conn
            .prepare_cached(&format!(
                "UPDATE {table} SET address = ?3, at = ?4 WHERE {column} = ?1 AND network = ?2"
            ))?
            .execute((user, &network, &address, at))?;
        if known > 0 {
            return Ok(());
        }
        if self.are_many(conn, user)? {
            conn.prepare_cached(&format!(
                "DELETE FROM {table} WHERE number =
                 (SELECT number FROM {table} WHERE {column} = ? ORDER BY at, number LIMIT 1)"
            ))?
            .execute([user])?;
        }
        conn.prepare_cached(&format!(
            "INSERT INTO {table} ({column}, network, address, at) SELECT ?1, ?2, ?3, ?4
             WHERE EXISTS (SELECT 1 FROM {users} WHERE id = ?1)"
        ))?
        .execute((user, network, address, at))
        .map(drop)
    }

    /// Whether one is used from more networks than are kept, or nearly so: the next one says little by itself.
    pub(super) fn are_many(self, conn: &Connection, user: &str) -> rusqlite::Result<bool> {
        let [_, table, column] = self.names();
        conn.prepare_cached(&format!("SELECT count(*) >= ? FROM {table} WHERE {column} = ?"))?
            .query_row((KEPT, user), |row| row.get(0))
    }

    /// The last address of each network that one was used from, that which came last first.
    pub(super) fn addresses(self, conn: &Connection, user: &str) -> rusqlite::Result<Vec<String>> {
        let [_, table, column] = self.names();
        conn.prepare_cached(&format!(
            "SELECT address FROM {table} WHERE {column} = ? ORDER BY at DESC, number DESC LIMIT ?"
        ))?
        .query_map((user, NAMED), |row| row.get(0))?
        .collect()
    }
}

/// Notes up to which row owners were told.
pub(super) fn note_seen(conn: &Connection, seen: u64) -> rusqlite::Result<()> {
    set_meta(conn, SEEN, &seen.to_string())
}

/// The first uses of tokens from networks other than their first, of which nobody was told; none unless they are
/// `wanted`. With the number of the last row that was looked at, where that is another than is noted.
pub(in crate::store) fn first_uses(
    conn: &Connection,
    wanted: bool,
    limit: usize,
) -> rusqlite::Result<(Vec<FirstUse>, Option<u64>)> {
    // Where that does not read, nobody can tell any more which of those that are there are new.
    let seen = meta(conn, SEEN)?.and_then(|seen| seen.parse::<u64>().ok());
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(number) FROM token_networks")?
        .query_row([], |row| row.get(0))
        .optional()?
        .flatten();
    let last = last.unwrap_or(0).unsigned_abs();
    let seen = match seen {
        Some(seen) if seen >= last => return Ok((Vec::new(), None)),
        Some(seen) if wanted => seen,
        _ => return Ok((Vec::new(), Some(last))),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = conn
        .prepare_cached(
            "SELECT n.number, n.token, n.network, n.address,
             EXISTS (SELECT 1 FROM token_networks o WHERE o.token = n.token AND o.number < n.number) AS another
             FROM token_networks n WHERE n.number > ? ORDER BY n.number LIMIT ?",
        )?
        .query_map((i64::try_from(seen).unwrap_or(i64::MAX), limit), |row| {
            let number = row.get::<_, i64>("number")?.unsigned_abs();
            Ok((number, row.get::<_, bool>("another")?, first_use(row)))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let last = rows.last().map_or(last, |(number, ..)| *number);
    let mut uses = Vec::new();
    for (number, another, first) in rows {
        match first {
            Ok(first) => uses.extend(another.then_some(first)),
            // It is seen with the others, and takes none of them along.
            Err(e) => tracing::error!("nobody is warned of row {number} of `token_networks`: {e}"),
        }
    }
    Ok((uses, Some(last)))
}

fn first_use(row: &Row<'_>) -> rusqlite::Result<FirstUse> {
    Ok(FirstUse {
        token: token_id(row, "token")?,
        network: row.get("network")?,
        address: parsed(row, "address", str::parse::<IpAddr>)?,
    })
}
