//! One case of a protocol's rules: what a client sends, and what a server owes it for that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::peer::{PROBE, Peer};
use super::site::{Site, Way};
use crate::support::http2::{GOAWAY, Outcome, PROTOCOL_ERROR};

/// A case, named by the section that has the rule.
pub(super) struct Case {
    name: &'static str,
    /// Whether preface and settings go out first.
    greets: bool,
    act: fn(&mut Peer),
    owed: Owed,
}

/// What a server owes. Whatever does not end the connection is followed by a request, which has to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owed {
    /// GOAWAY with this code, and the end of the connection.
    Goaway(u32),
    /// The same, in the general words of PROTOCOL_ERROR where the RFC has this code. h2 has no other word for what it
    /// cannot decode, but for a frame that is too long, nor for more on a stream that was whole. A client learns less
    /// about its own fault; the connection ends either way, and what was sent has no effect.
    Worded(u32),
    /// The end of the connection, with or without a word.
    End,
    /// A reset of this stream with this code, while the connection goes on.
    Reset(u32, u32),
    /// The same, or else the connection ends with that code: an error of a stream may be taken for one of the
    /// connection (section 5.4.1), and h2 does so where it cannot read on safely.
    Either(u32, u32),
    /// An answer on this stream with this status, while the connection goes on.
    Answer(u32, u16),
    /// Nothing: the connection goes on.
    Nothing,
    /// Nothing more than the case itself has looked at.
    Seen,
}

/// A case on a connection on which preface and settings went out.
pub(super) fn case(name: &'static str, owed: Owed, act: fn(&mut Peer)) -> Case {
    Case { name, greets: true, act, owed }
}

/// A case on a connection on which nothing was sent yet.
pub(super) fn bare(name: &'static str, owed: Owed, act: fn(&mut Peer)) -> Case {
    Case { name, greets: false, act, owed }
}

/// Runs all cases in every way in which HTTP/2 comes, each on a connection of its own, and names each that failed. What
/// reached the app is left to be looked at.
pub(super) fn run(cases: &[Case]) -> Site {
    let site = Site::open();
    let mut failed = Vec::new();
    for way in Way::ALL {
        for case in cases {
            let result = catch_unwind(AssertUnwindSafe(|| case.run(site.connect(way))));
            let complaint = match result {
                Ok(Ok(())) => continue,
                Ok(Err(complaint)) => complaint,
                Err(panic) => panic.downcast::<String>().map_or("it panicked".into(), |words| *words),
            };
            failed.push(format!("{way:?}: {}: owed {:?}, but {complaint}", case.name, case.owed));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
    site
}

impl Case {
    fn run(&self, mut peer: Peer) -> Result<(), String> {
        if self.greets {
            peer.greet(&[]);
        }
        (self.act)(&mut peer);
        match self.owed {
            Owed::Goaway(code) => told(&mut peer, &[code]),
            Owed::Worded(code) => told(&mut peer, &[code, PROTOCOL_ERROR]),
            Owed::End => {
                while peer.client.frame().is_some() {}
                Ok(())
            }
            Owed::Reset(stream, code) => match peer.client.outcome(stream) {
                Outcome::Reset(reset) if reset == code => goes_on(&mut peer),
                outcome => Err(format!("the stream ended with {outcome:?}")),
            },
            Owed::Either(stream, code) => match peer.client.outcome(stream) {
                Outcome::Reset(reset) if reset == code => goes_on(&mut peer),
                Outcome::Gone => told(&mut peer, &[code]),
                outcome => Err(format!("the stream ended with {outcome:?}")),
            },
            Owed::Answer(stream, status) => match peer.client.outcome(stream) {
                Outcome::Whole(answer, _) if answer.status == status => goes_on(&mut peer),
                outcome => Err(format!("the stream ended with {outcome:?}")),
            },
            Owed::Nothing => goes_on(&mut peer),
            Owed::Seen => Ok(()),
        }
    }
}

/// Whether the connection ended, with one of these codes.
fn told(peer: &mut Peer, codes: &[u32]) -> Result<(), String> {
    let mut last = None;
    while let Some(goaway) = peer.client.wait(|frame| frame.kind == GOAWAY) {
        last = Some(goaway.code());
    }
    match last {
        Some(code) if codes.contains(&code) => Ok(()),
        code => Err(format!("the connection ended with {code:?}")),
    }
}

/// Whether the connection still serves, and no end of it is in sight.
fn goes_on(peer: &mut Peer) -> Result<(), String> {
    peer.probe();
    match peer.client.outcome(PROBE) {
        Outcome::Whole(answer, _) if answer.status == 200 && peer.client.kept(GOAWAY) == 0 => Ok(()),
        outcome => Err(format!("the next request ended with {outcome:?}")),
    }
}
