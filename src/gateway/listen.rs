//! Listening, and handing connections to workers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::sync::{Semaphore, mpsc};

use super::worker::{Accepted, Place};
use crate::board::{Board, Post};

/// Connections the kernel may hold for us while we are busy.
const BACKLOG: i32 = 1024;
/// Bytes that may wait in the kernel beyond what the client's window takes; half of it empty counts as taken.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 * 1024;
/// How long to wait after a failed accept, doubling: a full descriptor table does not empty by being asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The way to one worker.
#[derive(Clone, Debug)]
pub struct Door {
    pub post: Arc<Post>,
    pub connections: mpsc::UnboundedSender<Accepted>,
}

/// Listens on `address`. Without `SO_REUSEPORT`, so that a second gateway on the same address is told.
///
/// # Errors
/// When the address cannot be listened on.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` is IPv6 alone: whoever wants both families says so, and neither depends on the system's settings.
        socket.set_only_v6(true)?;
    }
    // Inherited by what is accepted. By default the kernel says "go on" only once a third of a buffer of megabytes is
    // empty again, and a slow reader would look like one that does not read.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until dropped. Each connection goes to the worker with the fewest; past `limit` new ones wait.
pub async fn accept(
    listener: tokio::net::TcpListener,
    doors: Arc<[Door]>,
    limit: Arc<Semaphore>,
    board: Arc<Board>,
) {
    let mut pause = FIRST_PAUSE;
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                (pause, failing) = (FIRST_PAUSE, false);
                board.accepted.add(1);
                // Only now: a listener that nobody comes to must not hold a place that another could give away.
                let Ok(permit) = limit.clone().acquire_owned().await else { return };
                let Some(door) = doors.iter().min_by_key(|door| load(door)) else { return };
                let handed = prepare(stream, client, Place::take(door.post.clone(), permit));
                if let Ok(accepted) = handed {
                    let _ = door.connections.send(accepted);
                }
            }
            Err(error) => {
                board.accept_errors.add(1);
                if !failing {
                    tracing::warn!("accepting connections: {error}; trying again");
                }
                failing = true;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn load(door: &Door) -> usize {
    door.post.connections.load(std::sync::atomic::Ordering::Relaxed)
}

fn prepare(stream: tokio::net::TcpStream, client: SocketAddr, place: Place) -> io::Result<Accepted> {
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    // The worker's own event loop takes the socket over.
    Ok(Accepted { stream: stream.into_std()?, client, local, place })
}
