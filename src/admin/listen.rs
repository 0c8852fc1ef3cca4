//! Where the admin side listens.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::config;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Both listeners, open.
#[derive(Debug)]
pub struct Listeners {
    pub(super) tcp: TcpListener,
    pub(super) unix: UnixListener,
    tcp_address: SocketAddr,
    socket: PathBuf,
    pub(super) hosts: Vec<String>,
}

/// Why the admin side does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the admin side cannot listen on {address}: {cause}")]
    Tcp { address: SocketAddr, cause: io::Error },
    #[error(
        "another portcullis answers on `{0}`: stop that one, or give this one an `admin.socket` of its own"
    )]
    Live(PathBuf),
    #[error("`{0}` is there already and is no socket: give `admin.socket` another path")]
    NotASocket(PathBuf),
    #[error("the admin socket `{path}` cannot be made: {cause}")]
    Unix { path: PathBuf, cause: io::Error },
}

impl Listeners {
    /// Opens the TCP address and the Unix socket. A socket that nobody answers on is replaced.
    ///
    /// # Errors
    /// When either cannot be had; the error names it.
    // Async because the listeners belong to the runtime that it runs on.
    pub async fn bind(config: &config::Admin) -> Result<Self, BindError> {
        let tcp = |cause| BindError::Tcp { address: config.listen, cause };
        let listener = std::net::TcpListener::bind(config.listen).map_err(tcp)?;
        listener.set_nonblocking(true).map_err(tcp)?;
        let listener = TcpListener::from_std(listener).map_err(tcp)?;
        let tcp_address = listener.local_addr().map_err(tcp)?;
        let unix = bind_unix(&config.socket)?;
        Ok(Self {
            tcp: listener,
            unix,
            tcp_address,
            socket: config.socket.clone(),
            hosts: config.hosts.clone(),
        })
    }

    /// The address that is really listened on, also where the configuration says port 0.
    #[must_use]
    pub fn tcp_address(&self) -> SocketAddr {
        self.tcp_address
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

fn bind_unix(path: &Path) -> Result<UnixListener, BindError> {
    let io = |cause| BindError::Unix { path: path.to_owned(), cause };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(io)?,
            // Also where it does not let us in: then somebody else's answers there.
            _ => return Err(BindError::Live(path.to_owned())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(e)),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io)?;
    socket.bind(&SockAddr::unix(path).map_err(io)?).map_err(io)?;
    // Between these two lines nobody gets in: what is bound but does not listen refuses.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
    socket.listen(BACKLOG).map_err(io)?;
    socket.set_nonblocking(true).map_err(io)?;
    let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
    UnixListener::from_std(listener).map_err(io)
}
