//! Seats for those who send something long before anybody knows who they are: few in all, fewer from one network, and
//! whoever has sat the longest goes where there is none left.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// What is sent is held in memory, up to 1 MiB a seat.
pub const SEATS: usize = 32;
const OF_A_NETWORK: usize = 4;

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
    _stay: oneshot::Sender<()>,
}

/// A seat, which is free again when this is dropped.
#[derive(Debug)]
pub struct Seat<'a> {
    seats: &'a Seats,
    number: u64,
    /// Ends when the seat was given to somebody else.
    pub lost: oneshot::Receiver<()>,
}

impl Seats {
    /// Seats somebody, in another's place where need be.
    pub fn take(&self, client: IpAddr) -> Seat<'_> {
        let network = network(client);
        let (stay, lost) = oneshot::channel();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = taken.seats.iter().filter(|sitter| sitter.network == network).count();
        if of_network >= OF_A_NETWORK {
            let oldest = taken.seats.iter().position(|sitter| sitter.network == network);
            oldest.and_then(|place| taken.seats.remove(place));
        } else if taken.seats.len() >= SEATS {
            taken.seats.pop_front();
        }
        taken.last += 1;
        let number = taken.last;
        taken.seats.push_back(Sitter { number, network, _stay: stay });
        Seat { seats: self, number, lost }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.seats.retain(|sitter| sitter.number != self.number);
    }
}

/// As much of an address as one household or office mostly has the rest of.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(address) => (address & Ipv4Addr::new(255, 255, 255, 0)).into(),
        IpAddr::V6(address) => (address & Ipv6Addr::from(u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_of_the_same_network_and_then_of_all() {
        let seats = Seats::default();
        let mut near: Vec<_> = (0..5).map(|last| seats.take([192, 0, 2, last].into())).collect();
        let lost = |seat: &mut Seat<'_>| seat.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(lost(&mut near[0]));
        assert!(near[1..].iter_mut().all(|seat| !lost(seat)));
        let far: Vec<_> = (0..28).map(|third| seats.take([198, 51, third, 1].into())).collect();
        assert!(!lost(&mut near[1]));
        let last = seats.take("2001:db8::1".parse().unwrap());
        assert!(lost(&mut near[1]) && !lost(&mut near[2]));
        drop((near, far, last));
        assert!(seats.0.lock().unwrap().seats.is_empty());
    }
}
