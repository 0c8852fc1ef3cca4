//! Where an upstream is reached: a socket, addresses that stay, or a name whose addresses are looked up again and again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::model::{Upstream, is_link_local};

/// How long the addresses of a name are taken for true.
const FRESH: Duration = Duration::from_secs(10);
/// How soon a name is looked up again where a connection failed.
const SOON: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum Place {
    Socket(PathBuf),
    Fixed(Vec<SocketAddr>),
    Named(Name),
}

/// A name and what it led to last.
#[derive(Debug)]
pub(crate) struct Name {
    host: String,
    port: u16,
    known: watch::Sender<Known>,
    /// How often what is known has changed.
    changes: AtomicU64,
    /// Asks for another look before its time.
    doubt: Notify,
    turn: AtomicUsize,
}

/// Where a connection leads, and how many changes of the name it has outlived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub address: SocketAddr,
    pub changes: u64,
}

#[derive(Clone, Debug)]
enum Known {
    NotYet,
    /// It never led anywhere.
    Nothing,
    /// Never empty.
    Addresses(Arc<[SocketAddr]>),
}

impl Place {
    /// Whether new connections could lead where this one does. One that is in use all the time would otherwise never
    /// follow its name to another address.
    pub(super) fn leads_to(&self, peer: &mut Option<Peer>) -> bool {
        match (self, peer) {
            (Self::Named(name), Some(peer)) => name.leads_to(peer),
            (Self::Named(_), None) | (Self::Socket(_) | Self::Fixed(_), _) => true,
        }
    }

    pub(super) fn changes(&self) -> u64 {
        match self {
            Self::Named(name) => name.changes.load(Ordering::Acquire),
            Self::Socket(_) | Self::Fixed(_) => 0,
        }
    }

    pub(super) fn of(upstream: &Upstream) -> Self {
        let (host, port) = match (upstream, upstream.host_and_port()) {
            (Upstream::Tcp(..), Some(place)) => place,
            (Upstream::Tcp(..), None) => return Self::Fixed(Vec::new()),
            (Upstream::Unix(path), _) => return Self::Socket(path.clone()),
        };
        if host.eq_ignore_ascii_case("localhost") {
            let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Self::Fixed(both.map(|ip| SocketAddr::new(ip, port)).into());
        }
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::Fixed(vec![SocketAddr::new(ip, port)]),
            Err(_) => Self::Named(Name {
                host: host.to_owned(),
                port,
                known: watch::Sender::new(Known::NotYet),
                changes: AtomicU64::new(0),
                doubt: Notify::new(),
                turn: AtomicUsize::new(0),
            }),
        }
    }
}

impl Name {
    /// The addresses to try, in this order. Waits only for a name that is looked up for the first time.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let mut known = self.known.subscribe();
        loop {
            match &*known.borrow_and_update() {
                Known::NotYet => {}
                Known::Nothing => {
                    self.doubt();
                    return Err(io::Error::new(io::ErrorKind::NotFound, "its name leads to no address"));
                }
                Known::Addresses(addresses) => {
                    return Ok(in_turn(addresses, self.turn.fetch_add(1, Ordering::Relaxed)));
                }
            }
            known.changed().await.map_err(io::Error::other)?;
        }
    }

    fn leads_to(&self, peer: &mut Peer) -> bool {
        let changes = self.changes.load(Ordering::Acquire);
        if peer.changes == changes {
            return true;
        }
        let leads = match &*self.known.borrow() {
            Known::Addresses(addresses) => addresses.contains(&peer.address),
            Known::NotYet | Known::Nothing => true,
        };
        if leads {
            peer.changes = changes;
        }
        leads
    }

    /// Notes that the addresses may be out of date.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Keeps the addresses up to date for as long as this is polled.
    pub(super) async fn keep_fresh(&self) {
        loop {
            let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
            // Only who writes the address itself means a link: a name may be anybody's.
            let usable = |address: &SocketAddr| !is_link_local(address.ip());
            self.learn(found.map(|found| found.filter(usable).collect()));
            tokio::time::sleep(SOON).await;
            let _ = tokio::time::timeout(FRESH.saturating_sub(SOON), self.doubt.notified()).await;
        }
    }

    /// Takes a finding over. One that leads nowhere changes nothing about what was known: name servers fail, too.
    fn learn(&self, found: io::Result<Vec<SocketAddr>>) {
        let host = &self.host;
        let addresses = match found {
            Ok(addresses) if !addresses.is_empty() => addresses,
            nothing => {
                let reason = nothing.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
                tracing::debug!("looking up {host}: {reason}");
                self.known.send_if_modified(|known| {
                    let first = matches!(known, Known::NotYet);
                    if first {
                        tracing::warn!("the upstream's name {host} cannot be resolved: {reason}");
                        *known = Known::Nothing;
                    }
                    first
                });
                return;
            }
        };
        self.known.send_if_modified(|known| {
            let same = matches!(known, Known::Addresses(known) if is_same(known, &addresses));
            if !same {
                *known = Known::Addresses(addresses.into());
                self.changes.fetch_add(1, Ordering::Release);
            }
            !same
        });
    }
}

/// Whether two answers of a name server are the same but for their order, which many change with every answer.
fn is_same(known: &[SocketAddr], found: &[SocketAddr]) -> bool {
    known.len() == found.len() && found.iter().all(|address| known.contains(address))
}

/// Both families by turns, beginning with that of the first address; within each, another address first every time.
fn in_turn(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    for family in [&mut ours, &mut others] {
        let length = family.len().max(1);
        family.rotate_left(turn % length);
    }
    let mut ordered = Vec::with_capacity(addresses.len());
    let mut others = others.into_iter();
    for address in ours {
        ordered.push(address);
        ordered.extend(others.next());
    }
    ordered.extend(others);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn named() -> Name {
        match Place::of(&Upstream::parse("http://app.test:80").unwrap()) {
            Place::Named(name) => name,
            place => panic!("{place:?}"),
        }
    }

    #[test]
    fn addresses_need_no_name_server() {
        for (url, expected) in [
            ("http://127.0.0.1:3000", &["127.0.0.1:3000"][..]),
            ("https://[::1]", &["[::1]:443"]),
            ("http://localhost:5", &["127.0.0.1:5", "[::1]:5"]),
        ] {
            let Place::Fixed(fixed) = Place::of(&Upstream::parse(url).unwrap()) else { panic!("{url}") };
            assert_eq!(fixed, expected.iter().map(|text| address(text)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn families_alternate_and_addresses_take_turns() {
        let all = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"].map(address);
        let shown =
            |turn| in_turn(&all, turn).iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(0), "::1 1.1.1.1 ::2 2.2.2.2 3.3.3.3");
        assert_eq!(shown(1), "::2 2.2.2.2 ::1 3.3.3.3 1.1.1.1");
        assert_eq!(in_turn(&[], 3), []);
    }

    #[tokio::test]
    async fn what_was_known_outlives_a_failing_name_server() {
        let name = named();
        name.learn(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(name.addresses().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        name.learn(Ok(vec![address("1.1.1.1:80")]));
        name.learn(Err(io::ErrorKind::NotFound.into()));
        name.learn(Ok(Vec::new()));
        assert_eq!(name.addresses().await.unwrap(), [address("1.1.1.1:80")]);
        name.learn(Ok(vec![address("2.2.2.2:80")]));
        assert_eq!(name.addresses().await.unwrap(), [address("2.2.2.2:80")]);
    }

    #[test]
    fn a_connection_is_kept_while_its_name_leads_there() {
        let place = Place::of(&Upstream::parse("http://app.test:80").unwrap());
        let Place::Named(name) = &place else { panic!("{place:?}") };
        let (one, two) = (address("1.1.1.1:80"), address("2.2.2.2:80"));
        name.learn(Ok(vec![one]));
        let mut peer = Some(Peer { address: one, changes: place.changes() });
        assert!(place.leads_to(&mut peer));
        name.learn(Ok(vec![two, one]));
        assert!(place.leads_to(&mut peer));
        name.learn(Ok(vec![two]));
        assert!(!place.leads_to(&mut peer));
        let other = Place::of(&Upstream::parse("http://127.0.0.1").unwrap());
        assert!(other.leads_to(&mut peer) && place.leads_to(&mut None));
    }

    #[tokio::test]
    async fn the_first_request_waits_for_the_first_answer() {
        let name = named();
        let (addresses, ()) =
            tokio::join!(name.addresses(), async { name.learn(Ok(vec![address("1.1.1.1:80")])) });
        assert_eq!(addresses.unwrap(), [address("1.1.1.1:80")]);
    }
}
