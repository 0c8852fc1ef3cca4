//! What the operator tells a running process by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that mean something, caught from here on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// When signals cannot be waited for.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM; every SIGHUP before that is a call of `hangup`.
    pub(super) async fn until_end(&mut self, hangup: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => hangup(),
            }
        }
    }
}
