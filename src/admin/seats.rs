//! The places for connections on the admin side's TCP addresses: strangers do not keep out who has a key.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::Extensions;
use tokio::sync::Notify;

/// Connections from one address on which nobody has shown a key. Past it the longest idle of them goes.
const STRANGERS: usize = 64;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    taken: Mutex<Vec<Arc<Seat>>>,
    began: Instant,
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    from: IpAddr,
    /// Whether a caller was admitted on it.
    known: AtomicBool,
    busy: AtomicBool,
    /// When it last began or ended something, in milliseconds.
    moved: AtomicU64,
    left: AtomicBool,
    leave: Notify,
}

/// Frees the place when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
}

impl Seats {
    /// For at most so many connections, which somebody else sees to: of those, one place is kept free for who comes next.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default(), began: Instant::now() }
    }

    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Taken {
        let seat = Arc::new(Seat {
            from: network(from),
            known: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            moved: AtomicU64::new(self.now()),
            left: AtomicBool::new(false),
            leave: Notify::new(),
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let neighbours = || taken.iter().filter(|one| one.from == seat.from && one.is_strange());
        if neighbours().count() >= STRANGERS {
            oldest(neighbours());
        }
        self.make_room(&taken, 1);
        taken.push(seat.clone());
        Taken { seats: self.clone(), seat }
    }

    /// Where so many more take the last place, strangers leave first; what answers a caller stays.
    fn make_room(&self, taken: &[Arc<Seat>], more: usize) {
        let staying = || taken.iter().filter(|seat| !seat.left.load(Ordering::Relaxed));
        if staying().count() + more < self.most {
            return;
        }
        let idle = |seat: &&Arc<Seat>| !seat.busy.load(Ordering::Relaxed);
        if !oldest(staying().filter(|seat| seat.is_strange())) {
            oldest(staying().filter(idle));
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Notes on the connection of a request that its caller was admitted.
pub(super) fn know(request: &Extensions) {
    if let Some(seat) = request.get::<Arc<Seat>>() {
        seat.known.store(true, Ordering::Relaxed);
    }
}

impl Seat {
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    fn is_strange(&self) -> bool {
        !self.is_known() && !self.left.load(Ordering::Relaxed)
    }

    fn send_away(&self) {
        self.left.store(true, Ordering::Relaxed);
        self.leave.notify_one();
    }
}

impl Taken {
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Waits until somebody else needs the place more.
    pub(super) async fn wanted(&self) {
        self.seat.leave.notified().await;
    }

    /// Notes that a request begins, or that its answer is made.
    pub(super) fn moved(&self, busy: bool) {
        self.seat.busy.store(busy, Ordering::Relaxed);
        self.seat.moved.store(self.seats.now(), Ordering::Relaxed);
        if !busy {
            let taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
            self.seats.make_room(&taken, 0);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

/// Sends the one away that has been still for longest; whether there was one.
fn oldest<'a>(among: impl Iterator<Item = &'a Arc<Seat>>) -> bool {
    let found = among.min_by_key(|seat| seat.moved.load(Ordering::Relaxed));
    found.inspect(|seat| seat.send_away()).is_some()
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::Pulse;
    use super::*;

    fn know(one: &Taken) {
        let mut request = Extensions::new();
        request.insert(one.seat.clone());
        super::know(&request);
    }

    fn seats(most: usize) -> Arc<Seats> {
        Arc::new(Seats::new(most))
    }

    fn gone(seats: &[Taken]) -> Vec<usize> {
        let left = |(place, one): (usize, &Taken)| one.seat.left.load(Ordering::Relaxed).then_some(place);
        seats.iter().enumerate().filter_map(left).collect()
    }

    /// So that who came first has been still for longest, in whatever millisecond.
    fn age(all: &[Taken]) {
        for (place, one) in all.iter().enumerate() {
            one.seat.moved.store(place as u64, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_address_has_so_many_strangers_and_any_number_of_callers() {
        let seats = seats(1000);
        let mut all: Vec<_> = (0..STRANGERS).map(|_| seats.take([10, 0, 0, 1].into())).collect();
        age(&all);
        all.push(seats.take("10.0.0.2".parse().unwrap()));
        all.push(seats.take("::ffff:10.0.0.1".parse().unwrap()));
        assert_eq!(gone(&all), [0]);
        know(&all[1]);
        all.push(seats.take([10, 0, 0, 1].into()));
        assert_eq!(gone(&all), [0]);
        drop(all.remove(5));
        all.push(seats.take([10, 0, 0, 1].into()));
        assert_eq!(gone(&all), [0]);
        let taken = seats.take("2001:db8::1".parse().unwrap());
        assert_eq!(taken.seat.from, network("2001:db8::9:1".parse().unwrap()));
        assert_ne!(taken.seat.from, network("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn the_last_place_is_made_free_by_strangers_and_then_by_who_is_idle() {
        let seats = seats(4);
        let mut all: Vec<_> = (0..3).map(|last| seats.take([10, 0, 0, last].into())).collect();
        age(&all);
        know(&all[0]);
        know(&all[2]);
        all[2].moved(true);
        all.push(seats.take([10, 0, 1, 1].into()));
        assert_eq!(gone(&all), [1], "the stranger, though a caller has been still for longer");
        drop(all.remove(1));
        know(&all[2]);
        age(&all);
        all.push(seats.take([10, 0, 1, 2].into()));
        assert_eq!(gone(&all), [0], "not who came last, though nobody knows them");
        drop(all.remove(0));
        all.iter().for_each(know);
        all.iter().for_each(|one| one.moved(true));
        all.push(seats.take([10, 0, 1, 3].into()));
        assert!(gone(&all).is_empty(), "what answers a caller stays");
        all[1].moved(false);
        assert_eq!(gone(&all), [3], "until there is a place to be had");
    }

    #[test]
    fn a_long_answer_that_is_being_taken_stays() {
        let seats = seats(3);
        let all: Vec<_> = (0..2).map(|last| Arc::new(seats.take([10, 0, 0, last].into()))).collect();
        all.iter().for_each(|one| know(one));
        all.iter().for_each(|one| one.moved(false));
        let left = |place: usize| all[place].seat.left.load(Ordering::Relaxed);
        let pulse = Pulse::new(Some(all[0].clone()));
        pulse.beat();
        all[0].seat.moved.store(0, Ordering::Relaxed);
        all[1].seat.moved.store(1, Ordering::Relaxed);
        let _next = seats.take([10, 0, 0, 9].into());
        assert!(!left(0) && left(1), "though the other moved later");
    }
}
