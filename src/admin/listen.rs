//! Where the admin side listens.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// The operator's socket, open.
#[derive(Debug)]
pub struct OperatorSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Somebody else made the file, and will want it again.
    inherited: bool,
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

/// Opens a TCP address. Must be called within the runtime that is to serve it.
///
/// # Errors
/// When it cannot be had.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let failed = |cause| BindError::Tcp { address, cause };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    adopt(listener).map_err(failed)
}

/// The same of one that listens already.
///
/// # Errors
/// When the operating system refuses.
pub fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

impl OperatorSocket {
    /// Makes the socket. One that nobody answers on is replaced. Must be called within the runtime that is to serve it.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Ok(Self { listener: bind_unix(path)?, path: path.to_owned(), inherited: false })
    }

    /// Takes a socket that listens at `path` already.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn adopt(listener: StdUnixListener, path: &Path) -> Result<Self, BindError> {
        let failed = |cause| BindError::Unix { path: path.to_owned(), cause };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), inherited: true })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, and the file to remove after it.
    pub(super) fn into_parts(self) -> (UnixListener, Option<PathBuf>) {
        (self.listener, Some(self.path).filter(|_| !self.inherited))
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
    let listener = StdUnixListener::from(OwnedFd::from(socket));
    UnixListener::from_std(listener).map_err(io)
}
