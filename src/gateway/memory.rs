//! How much clients can make the gateway hold, at the very most. What the kernel holds for their sockets comes on top.

use super::upstream::{pool, shared};
use super::{http1, http2};
use crate::config::Limits;

/// Bytes that one client's connection may come to hold, the connections to apps behind it included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub http1: u64,
    pub http2: u64,
}

impl Most {
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        // One buffer each way, or what HTTP/2 lets wait of one request and its answer.
        let app = (2 * pool::BUFFER).max(shared::WAITING);
        let stream = limits.header_bytes + http2::SEND_BUFFER + app;
        let http2 = http2::CONNECTION_WINDOW as usize + http2::STREAMS as usize * stream;
        Self { http1: (2 * http1::buffer(limits) + app) as u64, http2: http2 as u64 }
    }
}
