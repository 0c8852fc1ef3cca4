//! Listening, and handing connections to workers.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::capacity::Capacity;
use super::worker::{Accepted, Place};
use crate::board::{Board, Post};
use crate::tls::Terminator;

/// Connections the kernel may hold for us while we are busy.
const BACKLOG: i32 = 1024;
/// Bytes that may wait in the kernel beyond what the client's window takes; half of it empty counts as taken.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 * 1024;
/// How long to wait after a failed accept, doubling: a full descriptor table does not empty by being asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long nothing more is said of failed accepts. With hardly a descriptor left they succeed and fail in turns.
const SILENCE: Duration = Duration::from_mins(1);

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
    tune(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a socket that listens already ready for [`accept`].
///
/// # Errors
/// When the operating system refuses.
pub fn adopt(listener: &TcpListener) -> io::Result<()> {
    tune(&SockRef::from(listener))
}

fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    // Inherited by what is accepted. By default the kernel says "go on" only once a third of a buffer of megabytes is
    // empty again, and a slow reader would look like one that does not read.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_nonblocking(true)
}

/// What a listener is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Accept,
    /// Accept what the kernel holds already, and end: the address is given up.
    Leave,
    /// End at once: what the kernel holds is for whoever has the same socket.
    HandOn,
}

/// Where accepted connections go, and how many there may be.
#[derive(Clone, Debug)]
pub struct Workers {
    pub doors: Arc<[Door]>,
    pub capacity: Arc<Capacity>,
    pub board: Arc<Board>,
}

/// What the connections of one listener begin with; `None`: nothing, they are not encrypted.
pub type Terminates = ArcSwapOption<Terminator>;

/// Accepts until `task` says otherwise. Each connection goes to the worker with the fewest; past the capacity new
/// ones wait, and none that was accepted is given up.
pub async fn accept(
    listener: tokio::net::TcpListener,
    terminates: Arc<Terminates>,
    workers: Workers,
    mut task: watch::Receiver<Task>,
) {
    let mut pause = FIRST_PAUSE;
    let mut failures = Failures::default();
    let task = loop {
        let accepted = tokio::select! {
            biased;
            changed = task.wait_for(|task| *task != Task::Accept) => {
                break changed.map_or(Task::HandOn, |task| *task);
            }
            accepted = listener.accept() => {
                accepted.and_then(|(stream, client)| Ok((stream.into_std()?, client)))
            }
        };
        match accepted {
            Ok((stream, client)) => {
                pause = FIRST_PAUSE;
                workers.hand_over(stream, client, &terminates).await;
            }
            Err(error) => {
                workers.board.accept_errors.add(1);
                if let Some(untold) = failures.tell(Instant::now()) {
                    tracing::warn!(failed_meanwhile = untold, "accepting connections: {error}; trying again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    };
    if task == Task::Leave
        && let Ok(listener) = listener.into_std()
    {
        // As many as can have been waiting: whoever comes later is not waited for.
        for _ in 0..BACKLOG {
            let Ok((stream, client)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok() {
                workers.hand_over(stream, client, &terminates).await;
            }
        }
    }
}

/// Failed attempts to accept, as far as the log is told of them.
#[derive(Debug, Default)]
struct Failures {
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    /// Another one: whether to tell of it, and of how many before it nothing was said.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < SILENCE) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Workers {
    async fn hand_over(&self, stream: TcpStream, client: SocketAddr, terminates: &Terminates) {
        self.board.accepted.add(1);
        // Only now: a listener that nobody comes to must not hold a place that another could give away.
        let Ok(permit) = self.capacity.take().await else { return };
        let Some(door) = self.doors.iter().min_by_key(|door| load(door)) else { return };
        let place = Place::take(door.post.clone(), permit);
        let terminator = terminates.load_full();
        let prepared = stream.local_addr().and_then(|local| stream.set_nodelay(true).map(|()| local));
        if let Ok(local) = prepared {
            // The worker's own event loop takes the socket over.
            let accepted = Accepted { stream, client, local, since: Instant::now(), terminator, place };
            let _ = door.connections.send(accepted);
        }
    }
}

fn load(door: &Door) -> usize {
    door.post.connections.load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_of_once_in_a_while_and_none_is_left_out() {
        let (mut failures, began) = (Failures::default(), Instant::now());
        assert_eq!(failures.tell(began), Some(0));
        assert_eq!(failures.tell(began), None);
        assert_eq!(failures.tell(began + SILENCE - Duration::from_millis(1)), None);
        assert_eq!(failures.tell(began + SILENCE), Some(2));
        assert_eq!(failures.tell(began + SILENCE * 2), Some(0));
    }
}
