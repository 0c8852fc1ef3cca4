//! How much clients can make the gateway hold, at the very most. What the kernel holds for their sockets comes on top.

use super::upstream::{pool, shared};
use super::{http2, inlet, leaks};
use crate::config::Limits;

/// Bytes that one client's connection may come to hold, the connections to apps behind it included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub http1: u64,
    pub http2: u64,
    /// What reports of leaks may hold beside that, in all.
    pub reports: u64,
}

impl Most {
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        // Over either protocol to the app.
        let app = pool::WAITING.max(shared::WAITING);
        let stream = limits.header_bytes + http2::SEND_BUFFER + app;
        let http2 = http2::CONNECTION_WINDOW as usize + http2::STREAMS as usize * stream;
        Self {
            http1: (2 * inlet::most(limits.header_bytes) + app) as u64,
            http2: http2 as u64,
            reports: leaks::HELD as u64,
        }
    }
}
