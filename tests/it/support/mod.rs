//! What the tests look at the program through: sockets, processes and files, as a user has them.

pub(crate) mod app;
pub(crate) mod authority;
pub(crate) mod axe;
pub(crate) mod browser;
pub(crate) mod caller;
pub(crate) mod curl;
pub(crate) mod exchange;
pub(crate) mod gateway;
pub(crate) mod hook;
pub(crate) mod http2;
pub(crate) mod leak;
pub(crate) mod mailbox;
pub(crate) mod metrics;
pub(crate) mod modern;
pub(crate) mod peer;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod stage;
pub(crate) mod terminator;
pub(crate) mod visitor;
pub(crate) mod way;
pub(crate) mod websocket;
pub(crate) mod wire;

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `check` gives something; panics with `what` if it never does.
pub(crate) fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An address of this machine that nobody else will ask for: the loopback network is large.
pub(crate) fn lonely_address() -> std::net::SocketAddr {
    let part = || fastrand::u8(2..250);
    ([127, part(), part(), part()], fastrand::u16(20_000..30_000)).into()
}
