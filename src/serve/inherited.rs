//! Sockets that listened before this process began: whoever started it holds them (`LISTEN_FDS`, as systemd does it),
//! so that clients wait over a restart instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use socket2::SockRef;

/// The sockets that this process was given.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    tcp: Vec<Given>,
    /// Those that nobody has asked for yet: no reload gives one up.
    unix: Vec<UnixListener>,
}

/// One that stays here while a copy of it is in use: a reload may give that up, and another ask for it again.
#[derive(Debug)]
struct Given {
    listener: TcpListener,
    in_use: bool,
}

impl Inherited {
    /// Takes what this process was given. Must be called once, before other threads run.
    pub(super) fn take() -> Self {
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for number in 0..given.len() {
            let tcp = given.take_tcp_listener(number).ok().flatten();
            let unix = given.take_unix_listener(number).ok().flatten();
            match (tcp.filter(listens), unix.filter(listens)) {
                (Some(listener), _) => inherited.tcp.push(Given { listener, in_use: false }),
                (None, Some(unix)) => inherited.unix.push(unix),
                (None, None) => {
                    let what = "is no listening TCP or Unix socket: it is not used";
                    tracing::warn!("inherited descriptor {number} {what}");
                }
            }
        }
        inherited
    }

    /// The same sockets once more, to try something with.
    pub(super) fn copy(&self) -> io::Result<Self> {
        Ok(Self {
            tcp: self.tcp.iter().map(Given::copy).collect::<io::Result<_>>()?,
            unix: self.unix.iter().map(UnixListener::try_clone).collect::<io::Result<_>>()?,
        })
    }

    /// The socket that listens on `address`; on any port, where that has none.
    pub(super) fn tcp(&mut self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let is = |given: &&mut Given| {
            let local = given.address().filter(|_| !given.in_use);
            local.is_some_and(|local| local == address || address.port() == 0 && local.ip() == address.ip())
        };
        let Some(given) = self.tcp.iter_mut().find(is) else { return Ok(None) };
        let listener = given.listener.try_clone()?;
        given.in_use = true;
        Ok(Some(listener))
    }

    /// Notes, and says, which sockets are not among those `in_use` any more.
    pub(super) fn release_others(&mut self, in_use: &[SocketAddr]) {
        for given in self.tcp.iter_mut().filter(|given| given.in_use) {
            given.in_use = given.address().is_some_and(|address| in_use.contains(&address));
            if let Some(address) = given.address().filter(|_| !given.in_use) {
                tracing::warn!(
                    "nobody answers any more on {address}, where an inherited socket still listens"
                );
            }
        }
    }

    pub(super) fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        // The configuration may spell it relative to a folder; the file is the same.
        let full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is = |listener: &UnixListener| {
            let local = listener.local_addr().ok();
            local.is_some_and(|local| local.as_pathname().is_some_and(|local| full(local) == full(path)))
        };
        let place = self.unix.iter().position(is)?;
        Some(self.unix.remove(place))
    }

    /// Says which sockets the configuration does not mention.
    pub(super) fn warn_of_rest(&self) {
        let unused = self.tcp.iter().filter(|given| !given.in_use);
        let tcp = unused.filter_map(|given| Some(given.address()?.to_string()));
        let unix = self
            .unix
            .iter()
            .filter_map(|listener| Some(listener.local_addr().ok()?.as_pathname()?.display().to_string()));
        for address in tcp.chain(unix) {
            tracing::warn!(
                "an inherited socket listens on {address}, which is neither in gateway.listen nor in gateway.tls, \
                 admin.listen or admin.socket: nobody answers there"
            );
        }
    }
}

impl Given {
    fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    fn copy(&self) -> io::Result<Self> {
        Ok(Self { listener: self.listener.try_clone()?, in_use: self.in_use })
    }
}

fn listens(socket: &impl AsFd) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}
