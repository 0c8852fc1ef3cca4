//! Sockets that listened before this process began: whoever started it holds them (`LISTEN_FDS`, as systemd does it),
//! so that clients wait over a restart instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use socket2::SockRef;

/// The sockets that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
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
                (Some(tcp), _) => inherited.tcp.push(tcp),
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
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            unix: self.unix.iter().map(UnixListener::try_clone).collect::<io::Result<_>>()?,
        })
    }

    /// The socket that listens on `address`; on any port, where that has none.
    pub(super) fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is = |listener: &TcpListener| {
            listener
                .local_addr()
                .is_ok_and(|local| local == address || address.port() == 0 && local.ip() == address.ip())
        };
        let place = self.tcp.iter().position(is)?;
        Some(self.tcp.remove(place))
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
        let tcp = self.tcp.iter().filter_map(|listener| Some(listener.local_addr().ok()?.to_string()));
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

fn listens(socket: &impl AsFd) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}
