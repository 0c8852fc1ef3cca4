//! How often one address may present something that is no token. Touched on failures only, so a valid token never
//! waits for it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Addresses remembered at once. Past it strangers go uncounted rather than the table growing: a guess among 178 bits
/// is hopeless at any rate.
const ADDRESSES: usize = 65_536;
const MINUTE: i64 = 60_000;

/// Failures by address. Times are milliseconds of a clock that cannot be set.
#[derive(Debug, Default)]
pub struct Throttle {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// When the allowance of an address will be whole again (a leaky bucket: each failure adds its share of a minute).
    whole_at: HashMap<IpAddr, i64>,
    /// A full table is searched for what may go at most once a second.
    pruned: i64,
}

impl Throttle {
    /// Counts a failure. `Err` with the seconds to wait once there were more than `per_minute`; 0 counts nothing.
    ///
    /// # Errors
    /// When the address has used up its allowance.
    pub fn failed(&self, address: IpAddr, per_minute: u32, now: i64) -> Result<(), u32> {
        if per_minute == 0 {
            return Ok(());
        }
        let share = (MINUTE / i64::from(per_minute)).max(1);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { whole_at: table, pruned } = &mut *table;
        if table.len() >= ADDRESSES && now.abs_diff(*pruned) >= 1_000 {
            *pruned = now;
            table.retain(|_, whole_at| *whole_at > now);
        }
        let address = network(address);
        let full = table.len() >= ADDRESSES;
        let Some(whole_at) =
            (if full { table.get_mut(&address) } else { Some(table.entry(address).or_insert(now)) })
        else {
            return Ok(());
        };
        let next = (*whole_at).max(now) + share;
        if next > now + MINUTE {
            let wait = (next - now - MINUTE).max(1);
            return Err(u32::try_from(wait.div_euclid(1000) + 1).unwrap_or(60));
        }
        *whole_at = next;
        Ok(())
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let throttle = Throttle::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..120 {
            assert_eq!(throttle.failed(one, 120, 0), Ok(()));
        }
        assert_eq!(throttle.failed(one, 120, 0), Err(1));
        assert_eq!(throttle.failed(other, 120, 0), Ok(()));
        assert_eq!(throttle.failed(one, 120, 500), Ok(()));
        assert_eq!(throttle.failed(one, 120, 500), Err(1));
        assert_eq!(throttle.failed(one, 0, 500), Ok(()));
    }

    #[test]
    fn the_table_stays_bounded() {
        let throttle = Throttle::default();
        for number in 0..ADDRESSES as u32 + 1_000 {
            let _ = throttle.failed(IpAddr::from(number.to_be_bytes()), 1, 0);
        }
        assert_eq!(throttle.table.lock().unwrap().whole_at.len(), ADDRESSES);
        assert_eq!(throttle.failed("10.9.8.7".parse().unwrap(), 1, 2 * MINUTE), Ok(()));
        assert_eq!(throttle.table.lock().unwrap().whole_at.len(), 1);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share() {
        let throttle = Throttle::default();
        assert_eq!(throttle.failed("2001:db8::1".parse().unwrap(), 1, 0), Ok(()));
        assert!(throttle.failed("2001:db8::2".parse().unwrap(), 1, 0).is_err());
        assert_eq!(throttle.failed("2001:db8:0:1::1".parse().unwrap(), 1, 0), Ok(()));
    }
}
