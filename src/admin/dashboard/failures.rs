//! Who tried to sign in with what is no key: past a bound an address is told to wait. Keys are not to be guessed anyway;
//! this tells those who try to leave off.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one address in one window.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. Past it all new ones are taken for one.
const ADDRESSES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Failures {
    /// How many seconds this address has to wait, if it has to.
    pub(super) fn wait(&self, from: IpAddr, now: Instant) -> Option<u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = all.get(&place(&all, from))?;
        let passed = now.saturating_duration_since(*since);
        (*count >= MOST && passed < WINDOW).then(|| (WINDOW - passed).as_secs() + 1)
    }

    pub(super) fn note(&self, from: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES {
            all.retain(|_, (since, _)| now.saturating_duration_since(*since) < WINDOW);
        }
        let place = place(&all, from);
        let (since, count) = all.entry(place).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }
}

/// Who holds one address of an IPv6 network holds all 2^64.
fn place(all: &HashMap<IpAddr, (Instant, u32)>, from: IpAddr) -> IpAddr {
    let place = match from {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    };
    let known = all.contains_key(&place) || all.len() < ADDRESSES;
    if known { place } else { IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_often_waits_and_others_do_not() {
        let (failures, now) = (Failures::default(), Instant::now());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, other) = (address("2001:db8::1"), address("192.0.2.1"));
        for _ in 0..MOST {
            assert_eq!(failures.wait(one, now), None);
            failures.note(one, now);
        }
        assert_eq!(failures.wait(address("2001:db8::2"), now), Some(61));
        assert_eq!(failures.wait(other, now), None);
        assert_eq!(failures.wait(one, now + WINDOW), None);
        failures.note(one, now + WINDOW);
        assert_eq!(failures.wait(one, now + WINDOW), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let (failures, now) = (Failures::default(), Instant::now());
        for number in 0..ADDRESSES as u32 * 2 {
            failures.note(IpAddr::V4(number.into()), now);
        }
        assert!(failures.0.lock().unwrap().len() <= ADDRESSES + 1);
        assert!(failures.wait(IpAddr::V4(u32::MAX.into()), now).is_some(), "all strangers together");
        failures.note(IpAddr::V4(1.into()), now + WINDOW);
        assert_eq!(failures.wait(IpAddr::V4(u32::MAX.into()), now + WINDOW), None);
    }
}
