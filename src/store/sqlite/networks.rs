//! Rows of networks that tokens were used from.

use std::net::IpAddr;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension};

use super::super::FirstUse;
use super::parsed;
use super::tokens::token_id;

/// Networks that are kept of one token: one that is used from everywhere says no more with the next.
const KEPT: u32 = 64;
/// Addresses that are named to an owner.
const NAMED: u32 = 10;

/// The network of an address, as large as one household or office mostly has it.
pub(super) fn of(address: IpAddr) -> String {
    let prefix = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, prefix).map_or_else(|_| address.to_string(), |network| network.trunc().to_string())
}

/// Notes that a token was used from there.
pub(super) fn note(conn: &Connection, token: &str, address: IpAddr, at: i64) -> rusqlite::Result<()> {
    let network = of(address);
    let known = conn
        .prepare_cached("SELECT 1 FROM token_networks WHERE token = ? AND network = ?")?
        .exists((token, &network))?;
    if !known {
        conn.prepare_cached(
            "INSERT INTO token_networks (token, network, address, at) SELECT ?1, ?2, ?3, ?4
             WHERE EXISTS (SELECT 1 FROM tokens WHERE id = ?1)
             AND (SELECT count(*) FROM token_networks WHERE token = ?1) < ?5",
        )?
        .execute((token, network, address.to_string(), at, KEPT))?;
    }
    Ok(())
}

/// An address of each network that a token was used from, that which came last first.
pub(super) fn addresses(conn: &Connection, token: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached("SELECT address FROM token_networks WHERE token = ? ORDER BY number DESC LIMIT ?")?
        .query_map((token, NAMED), |row| row.get(0))?
        .collect()
}

/// The first uses of tokens from networks other than their first, after the `seen`th row; none where that is not
/// given. With the number of the last row that was looked at.
pub(in crate::store) fn first_uses(
    conn: &Connection,
    seen: Option<u64>,
    limit: usize,
) -> rusqlite::Result<(Vec<FirstUse>, u64)> {
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(number) FROM token_networks")?
        .query_row([], |row| row.get(0))
        .optional()?
        .flatten();
    let last = last.unwrap_or(0).unsigned_abs();
    let Some(seen) = seen.filter(|seen| *seen < last) else { return Ok((Vec::new(), last)) };
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
    Ok((rows.into_iter().filter(|(_, another, _)| *another).map(|(_, _, first)| first).collect(), last))
}
