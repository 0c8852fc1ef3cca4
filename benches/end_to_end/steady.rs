//! Clients at a steady pace, whatever becomes of their requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinSet;

use super::client;

/// How fast.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub connections: u32,
    /// All connections together.
    pub requests_per_second: u32,
    /// What is not counted at the beginning: the proxy connects to the app then.
    pub warm_up: Duration,
}

/// Clients at work.
pub(super) struct Steady {
    clients: JoinSet<Result<Vec<Duration>>>,
    enough: Arc<AtomicBool>,
}

impl Steady {
    pub(super) fn start(address: SocketAddr, request: &Arc<[u8]>, pace: Pace) -> Self {
        let enough = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        let (each, start) = (Duration::from_secs(1) / pace.requests_per_second, Instant::now() + HEAD_START);
        for number in 0..pace.connections {
            let (request, enough) = (request.clone(), enough.clone());
            let turns = Turns { first: start + each * number, interval: each * pace.connections };
            clients.spawn(async move { ask(address, &request, turns, start + pace.warm_up, &enough).await });
        }
        Self { clients, enough }
    }

    /// Ends the clients; the times within which their requests were answered, in order.
    pub(super) async fn stop(self) -> Result<Vec<Duration>> {
        self.enough.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for client in self.clients.join_all().await {
            times.extend(client.context("a client was not served")?);
        }
        ensure!(!times.is_empty(), "no request that counts was answered");
        times.sort_unstable();
        Ok(times)
    }
}

/// The time within which such a share of requests was answered, of times in order.
pub(super) fn percentile(times: &[Duration], percent: f64) -> Duration {
    let place = (times.len() as f64 * percent / 100.0) as usize;
    times.get(place).or(times.last()).copied().unwrap_or_default()
}

/// For all to connect before the first has its turn.
const HEAD_START: Duration = Duration::from_millis(50);

/// When a connection's requests are due.
#[derive(Clone, Copy)]
struct Turns {
    first: Instant,
    interval: Duration,
}

/// Asks again and again. A time counts from when the request was due, so that a gateway that holds the client up does
/// not hide the requests that it keeps it from making.
async fn ask(
    address: SocketAddr,
    request: &[u8],
    turns: Turns,
    counted_from: Instant,
    enough: &AtomicBool,
) -> Result<Vec<Duration>> {
    let mut stream = client::connect(address).await?;
    let mut times = Vec::new();
    let mut clock = Clock::start(turns)?;
    let mut due = turns.first;
    while !enough.load(Ordering::Relaxed) {
        for _ in 0..clock.turns().await? {
            client::ask(&mut stream, request).await?;
            if due >= counted_from {
                times.push(due.elapsed());
            }
            due += turns.interval;
        }
    }
    Ok(times)
}

/// The kernel's own timer: the runtime's tells no two times within a millisecond apart, which is more than a proxy adds.
/// It is read like a pipe.
struct Clock(pipe::Receiver);

impl Clock {
    fn start(turns: Turns) -> Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let first = turns.first.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let times = Itimerspec {
            it_value: Timespec::try_from(first)?,
            it_interval: Timespec::try_from(turns.interval)?,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self(pipe::Receiver::from_file_unchecked(timer.into())?))
    }

    /// How many turns have come since it was asked last; at least one.
    async fn turns(&mut self) -> io::Result<u64> {
        let mut count = [0; 8];
        self.0.read_exact(&mut count).await?;
        Ok(u64::from_ne_bytes(count))
    }
}
