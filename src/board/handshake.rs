//! How the handshakes of encrypted connections came out.

use crate::telemetry::Counter;

/// Counted since the start, of all workers together: beside the work of a handshake it costs nothing.
#[derive(Debug, Default)]
pub struct Handshakes {
    done: Counter,
    failed: [Counter; Failure::ALL.len()],
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client took too long.
    TimedOut,
    /// The client went away.
    Gone,
    /// What came was not TLS.
    NotTls,
    /// The client speaks none of our protocols.
    NoProtocol,
    /// The client knows no version, cipher or signature of ours.
    Incompatible,
    /// The client said why it would not go on, most often because it does not trust the certificate.
    Refused,
    /// The client broke the rules of TLS.
    Misbehaved,
}

impl Failure {
    pub const ALL: [Self; 7] = [
        Self::TimedOut,
        Self::Gone,
        Self::NotTls,
        Self::NoProtocol,
        Self::Incompatible,
        Self::Refused,
        Self::Misbehaved,
    ];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Gone => "gone",
            Self::NotTls => "not_tls",
            Self::NoProtocol => "no_protocol",
            Self::Incompatible => "incompatible",
            Self::Refused => "refused",
            Self::Misbehaved => "misbehaved",
        }
    }
}

impl Handshakes {
    pub fn ended(&self, result: Result<(), Failure>) {
        match result {
            Ok(()) => &self.done,
            Err(failure) => &self.failed[failure as usize],
        }
        .add(1);
    }

    /// Each outcome by its name (`ok`, or why it failed) and how often it came about.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let failed = Failure::ALL.into_iter().zip(&self.failed);
        let failed = failed.map(|(failure, count)| (failure.as_str(), count.get()));
        [("ok", self.done.get())].into_iter().chain(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_as_what_it_was() {
        let handshakes = Handshakes::default();
        handshakes.ended(Ok(()));
        for failure in Failure::ALL {
            handshakes.ended(Err(failure));
        }
        handshakes.ended(Err(Failure::Refused));
        for (outcome, count) in handshakes.outcomes() {
            assert_eq!(count, if outcome == "refused" { 2 } else { 1 }, "{outcome}");
        }
    }
}
