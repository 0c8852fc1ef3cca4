//! What clients' connections were like, and why some of them were ended. Each worker counts its own.

use crate::telemetry::Counter;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Why the gateway hung up on a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// Too much that asks for nothing, or is taken back at once.
    Flood,
    /// The head of a request did not come in time.
    LateHead,
    /// The client did not take what was sent.
    NotReading,
    /// The client did not answer when asked whether it is still there.
    NotAnswering,
}

/// One worker's counts. Only its thread writes.
#[derive(Debug, Default)]
pub struct Clients {
    /// By protocol, and whether it is spoken over TLS.
    spoken: [[Counter; 2]; Protocol::ALL.len()],
    hung_up: [Counter; HangUp::ALL.len()],
    /// Heads that never became requests.
    pub refused_heads: Counter,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1",
            Self::Http2 => "HTTP/2",
        }
    }
}

impl HangUp {
    pub const ALL: [Self; 4] = [Self::Flood, Self::LateHead, Self::NotReading, Self::NotAnswering];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::LateHead => "late_head",
            Self::NotReading => "not_reading",
            Self::NotAnswering => "not_answering",
        }
    }
}

impl Clients {
    /// It is clear what a client speaks.
    pub fn speaks(&self, protocol: Protocol, encrypted: bool) {
        self.spoken[protocol as usize][usize::from(encrypted)].add_alone(1);
    }

    #[must_use]
    pub fn spoken(&self, protocol: Protocol, encrypted: bool) -> u64 {
        self.spoken[protocol as usize][usize::from(encrypted)].get()
    }

    pub fn hang_up(&self, why: HangUp) {
        self.hung_up[why as usize].add_alone(1);
    }

    #[must_use]
    pub fn hung_up(&self, why: HangUp) -> u64 {
        self.hung_up[why as usize].get()
    }
}
