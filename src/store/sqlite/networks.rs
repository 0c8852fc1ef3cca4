//! Rows of networks that tokens were used from.

use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension};

use super::super::FirstUse;
use super::tokens::token_id;
use super::work::{meta, set_meta};
use super::{Unreadable, parsed};

/// Networks that are kept of one token, those that it was used from last.
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

/// Notes that a token was used from there.
pub(super) fn note(conn: &Connection, token: &str, address: IpAddr, at: i64) -> rusqlite::Result<()> {
    let (network, address) = (of(address), address.to_string());
    let known = conn
        .prepare_cached("UPDATE token_networks SET address = ?3, at = ?4 WHERE token = ?1 AND network = ?2")?
        .execute((token, &network, &address, at))?;
    if known > 0 {
        return Ok(());
    }
    if are_many(conn, token)? {
        conn.prepare_cached(
            "DELETE FROM token_networks WHERE number =
             (SELECT number FROM token_networks WHERE token = ? ORDER BY at, number LIMIT 1)",
        )?
        .execute([token])?;
    }
    conn.prepare_cached(
        "INSERT INTO token_networks (token, network, address, at) SELECT ?1, ?2, ?3, ?4
         WHERE EXISTS (SELECT 1 FROM tokens WHERE id = ?1)",
    )?
    .execute((token, network, address, at))
    .map(drop)
}

/// Whether a token is used from more networks than are kept, or nearly so: the next one says little by itself.
pub(super) fn are_many(conn: &Connection, token: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT count(*) >= ? FROM token_networks WHERE token = ?")?
        .query_row((KEPT, token), |row| row.get(0))
}

/// Notes up to which row owners were told.
pub(super) fn note_seen(conn: &Connection, seen: u64) -> rusqlite::Result<()> {
    set_meta(conn, SEEN, &seen.to_string())
}

/// The last address of each network that a token was used from, that which came last first.
pub(super) fn addresses(conn: &Connection, token: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(
        "SELECT address FROM token_networks WHERE token = ? ORDER BY at DESC, number DESC LIMIT ?",
    )?
    .query_map((token, NAMED), |row| row.get(0))?
    .collect()
}

/// The first uses of tokens from networks other than their first, of which nobody was told; none unless they are
/// `wanted`. With the number of the last row that was looked at, where that is another than is noted.
pub(in crate::store) fn first_uses(
    conn: &Connection,
    wanted: bool,
    limit: usize,
) -> rusqlite::Result<(Vec<FirstUse>, Option<u64>)> {
    let unreadable = || rusqlite::Error::ToSqlConversionFailure(Box::new(Unreadable("network's number")));
    let seen = meta(conn, SEEN)?.map(|seen| seen.parse::<u64>().map_err(|_| unreadable())).transpose()?;
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
            let first = FirstUse {
                token: token_id(row, "token")?,
                network: row.get("network")?,
                address: parsed(row, "address", str::parse::<IpAddr>)?,
            };
            Ok((row.get::<_, i64>("number")?.unsigned_abs(), row.get::<_, bool>("another")?, first))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let last = rows.last().map_or(last, |(number, ..)| *number);
    let uses = rows.into_iter().filter(|(_, another, _)| *another).map(|(_, _, first)| first);
    Ok((uses.collect(), Some(last)))
}
