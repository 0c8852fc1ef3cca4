//! What lets a client come back without a whole handshake: one for the process, so that reloads do not send every
//! client through one again.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache};

/// Sessions remembered for clients of TLS 1.2 that take no tickets.
const SESSIONS: usize = 4096;

/// The key that tickets are sealed with, which changes by itself every few hours, and the sessions without tickets.
#[derive(Clone)]
pub struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<ServerSessionMemoryCache>,
}

impl Resumption {
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self { ticketer: Ticketer::new()?, sessions: ServerSessionMemoryCache::new(SESSIONS) })
    }

    pub(super) fn apply(&self, config: &mut ServerConfig) {
        config.ticketer = self.ticketer.clone();
        config.session_storage = self.sessions.clone();
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").finish_non_exhaustive()
    }
}
