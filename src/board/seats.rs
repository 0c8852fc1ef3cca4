//! Seats for those who send something long before anybody knows who they are: few in all, and fewer from one network.
//! Where none is left, somebody goes from where most of them come from: whoever has sent the least for their time.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// What is sent is held in memory, up to 1 MiB a seat.
pub const SEATS: usize = 32;
const OF_A_NETWORK: usize = 4;
/// How long whoever has a seat keeps it, unless for another from the same place: a report that comes as fast as it can is
/// whole by then, wherever it comes from.
const UNDISTURBED: Duration = Duration::from_secs(1);
/// What everybody is taken to have sent from the start, so that a first byte is not worth much.
const CREDIT: u64 = 1024;

/// All seats.
#[derive(Debug, Default)]
pub struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    last: u64,
    /// In the order in which they were taken.
    seats: VecDeque<Sitter>,
}

#[derive(Debug)]
struct Sitter {
    number: u64,
    network: IpAddr,
    region: IpAddr,
    since: Instant,
    sent: Arc<AtomicU64>,
    _stay: oneshot::Sender<()>,
}

/// A seat, which is free again when this is dropped.
#[derive(Debug)]
pub struct Seat<'a> {
    seats: &'a Seats,
    number: u64,
    /// Bytes that have come so far, as they are counted by whoever reads them.
    pub sent: Arc<AtomicU64>,
    /// Ends when the seat was given to somebody else.
    pub lost: oneshot::Receiver<()>,
}

impl Seats {
    /// Seats somebody, in another's place where need be; `None`: there is none that could be given.
    pub fn take(&self, client: IpAddr) -> Option<Seat<'_>> {
        let (network, region) = (within(client, 24, 64), within(client, 16, 48));
        let (stay, lost) = oneshot::channel();
        let (since, sent) = (Instant::now(), Arc::<AtomicU64>::default());
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = taken.seats.iter().filter(|sitter| sitter.network == network).count();
        if of_network >= OF_A_NETWORK {
            taken.remove_slowest(since, |sitter| sitter.network == network);
        } else if taken.seats.len() >= SEATS {
            let crowds: Vec<_> = taken.seats.iter().map(|sitter| taken.of_region(sitter.region)).collect();
            let most = crowds.iter().max();
            let full: Vec<_> = taken
                .seats
                .iter()
                .zip(&crowds)
                .filter(|(_, crowd)| Some(*crowd) == most)
                .map(|(sitter, _)| sitter.region)
                .collect();
            let alone = most.is_none_or(|most| *most <= 1);
            let may_go = |sitter: &Sitter| {
                let sat = since.saturating_duration_since(sitter.since);
                full.contains(&sitter.region) && (!alone || sat >= UNDISTURBED)
            };
            taken.remove_slowest(since, may_go);
            if taken.seats.len() >= SEATS {
                return None;
            }
        }
        taken.last += 1;
        let number = taken.last;
        taken.seats.push_back(Sitter { number, network, region, since, sent: sent.clone(), _stay: stay });
        Some(Seat { seats: self, number, sent, lost })
    }
}

impl Taken {
    fn of_region(&self, region: IpAddr) -> usize {
        self.seats.iter().filter(|sitter| sitter.region == region).count()
    }

    fn remove_slowest(&mut self, now: Instant, among: impl Fn(&Sitter) -> bool) {
        let slowest =
            self.seats.iter().enumerate().filter(|(_, sitter)| among(sitter)).min_by_key(|(_, sitter)| {
                let sent = sitter.sent.load(Ordering::Relaxed).saturating_add(CREDIT);
                Reverse(now.saturating_duration_since(sitter.since).as_nanos() / u128::from(sent))
            });
        if let Some((place, _)) = slowest {
            self.seats.remove(place);
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.seats.retain(|sitter| sitter.number != self.number);
    }
}

/// The first bits of an address: as many as one household or office mostly has the rest of, or one who rents addresses.
fn within(client: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match client {
        IpAddr::V4(address) => (address & Ipv4Addr::from_bits(u32::MAX << (32 - v4))).into(),
        IpAddr::V6(address) => (address & Ipv6Addr::from_bits(u128::MAX << (128 - v6))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_goes_first_of_the_same_network_and_then_of_where_most_are_from() {
        let seats = Seats::default();
        let mut near: Vec<_> = (0..5).map(|last| seats.take([192, 0, 2, last].into()).unwrap()).collect();
        let lost = |seat: &mut Seat<'_>| seat.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(lost(&mut near[0]));
        assert!(near[1..].iter_mut().all(|seat| !lost(seat)));
        let mut far: Vec<_> = (0..28).map(|third| seats.take([198, 51, third, 1].into()).unwrap()).collect();
        far[0].sent.store(1 << 40, Ordering::Relaxed);
        let last = seats.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(near[1..].iter_mut().chain(&mut far[..1]).all(|seat| !lost(seat)));
        assert_eq!(far.iter_mut().map(lost).filter(|lost| *lost).count(), 1);
        drop((near, far, last));
        assert!(seats.0.lock().unwrap().seats.is_empty());
    }

    #[test]
    fn who_has_just_come_keeps_a_seat_from_strangers_of_everywhere() {
        let seats = Seats::default();
        let full: Vec<_> = (0..32).map(|second| seats.take([198, second, 0, 1].into()).unwrap()).collect();
        assert!(seats.take([203, 0, 113, 1].into()).is_none());
        let earlier = Instant::now().checked_sub(UNDISTURBED).unwrap();
        seats.0.lock().unwrap().seats[7].since = earlier;
        let last = seats.take([203, 0, 113, 1].into()).unwrap();
        let mut lost = full
            .into_iter()
            .map(|mut seat| seat.lost.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        assert_eq!(lost.position(|lost| lost), Some(7));
        drop(last);
    }
}
