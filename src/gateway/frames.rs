//! Follows the frames of one HTTP/2 connection through its raw bytes, and weighs what costs more than it brings.
//!
//! The HTTP library ends floods of resets before a request is served, of empty or tiny DATA, of CONTINUATION and of
//! broken streams. It answers PING and SETTINGS without end, takes any number of frames that ask for nothing, and lets a
//! client begin with any of them. Reference: RFC 9113, sections 3.4, 4.1, 6 and 10.5.

use std::time::Duration;

use tokio::time::Instant;

/// What a client sends first, before any frame.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The weight at which a connection is ended: five thousand PINGs, or twenty thousand WINDOW_UPDATEs, that no request
/// and no answer accounts for.
const LIMIT: u32 = 20_000;
/// How much of it is forgiven in a second.
const FORGIVEN: u32 = 2_000;
/// What a request that was served pays for: a client may ask for the round-trip time with it, widen its windows, and
/// still take it back.
const REQUEST: u32 = 16;
/// What each piece of an answer pays for, and how many bytes of it pay for one more. Clients measure the bandwidth with
/// a PING a piece, and widen two windows a frame.
const PIECE: u32 = 6;
const PIECE_BYTES: usize = 2_048;

/// Small pieces of bodies that may wait in the HTTP library at once. It ends a connection on which some five hundred do,
/// and that many may come in one segment, before whoever takes them had a turn.
const WAITING: u32 = 192;
/// The library's own measure of what is small.
const SMALL: usize = 256;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    stage: Stage,
    /// Whether the first frame, which has to be SETTINGS, has come whole.
    settled: bool,
    /// The first frame is another.
    misbegun: bool,
    /// Since when the first frame, or else the rest of a head, is waited for.
    awaited: Option<Instant>,
    weight: u32,
    forgiven: Instant,
    /// Small pieces of bodies that were passed on and not yet taken.
    waiting: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// So much of the preface is still to come.
    Preface(usize),
    /// The first bytes of a frame's header.
    Header { known: usize, bytes: [u8; 9] },
    /// So much of a frame's payload is still to come; with the last of it a head may end.
    Payload { left: usize, ends_head: bool },
}

const HEADER: Stage = Stage::Header { known: 0, bytes: [0; 9] };

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        let stage = Stage::Preface(PREFACE.len());
        Self {
            stage,
            settled: false,
            misbegun: false,
            awaited: Some(now),
            weight: 0,
            forgiven: now,
            waiting: 0,
        }
    }

    /// Takes the next bytes of the connection, up to where so many small pieces of bodies wait that they have to be taken
    /// before more is passed on; returns how many.
    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant) -> usize {
        self.forgive(now);
        let (whole, mut at) = (bytes.len(), 0);
        while let bytes @ [_, ..] = &bytes[at..] {
            let used = match &mut self.stage {
                Stage::Preface(left) => {
                    let used = bytes.len().min(*left);
                    *left -= used;
                    if *left == 0 {
                        self.stage = HEADER;
                    }
                    used
                }
                Stage::Header { known, bytes: header } => {
                    let used = bytes.len().min(header.len() - *known);
                    header[*known..*known + used].copy_from_slice(&bytes[..used]);
                    *known += used;
                    if *known == header.len() {
                        let header = *header;
                        self.begin(header, now);
                    }
                    used
                }
                Stage::Payload { left, ends_head } => {
                    let used = bytes.len().min(*left);
                    *left -= used;
                    if *left == 0 {
                        let ends_head = *ends_head;
                        self.end(ends_head);
                    }
                    used
                }
            };
            at += used;
            if at < whole && self.is_full() {
                break;
            }
        }
        at
    }

    /// Whether so many small pieces of bodies wait that they have to be taken before more is passed on.
    pub(super) fn is_full(&self) -> bool {
        self.waiting >= WAITING
    }

    /// Whether few enough do for more to be passed on again.
    pub(super) fn has_room(&self) -> bool {
        self.waiting <= WAITING / 2
    }

    /// A piece of a body was taken.
    pub(super) fn taken(&mut self, bytes: usize) {
        if is_small(bytes) {
            self.waiting = self.waiting.saturating_sub(1);
        }
    }

    /// What waits is not waited for any longer.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting = 0;
    }

    /// Since when the rest of a head is waited for.
    pub(super) fn awaited(&self) -> Option<Instant> {
        self.awaited
    }

    /// Whether the client has begun with something other than its settings.
    pub(super) fn is_misbegun(&self) -> bool {
        self.misbegun
    }

    /// Whether the client has sent more of what asks for nothing than can be honest.
    pub(super) fn is_flood(&self) -> bool {
        self.weight > LIMIT
    }

    /// A request was taken in.
    pub(super) fn served(&mut self) {
        self.weight = self.weight.saturating_sub(REQUEST);
    }

    /// A piece of an answer was handed over.
    pub(super) fn answered(&mut self, bytes: usize) {
        let paid = PIECE + u32::try_from(bytes / PIECE_BYTES).unwrap_or(u32::MAX);
        self.weight = self.weight.saturating_sub(paid);
    }

    fn begin(&mut self, header: [u8; 9], now: Instant) {
        let [high, middle, low, kind, flags, ..] = header;
        self.misbegun |= !self.settled && (kind != SETTINGS || flags & ACK != 0);
        self.weight = self.weight.saturating_add(weight(kind, flags));
        let left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if kind == DATA && flags & END_STREAM == 0 && is_small(left) {
            self.waiting += 1;
        }
        let of_head = matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION);
        if of_head && self.awaited.is_none() {
            self.awaited = Some(now);
        }
        let ends_head = of_head && flags & END_HEADERS != 0;
        self.stage = Stage::Payload { left, ends_head };
        if left == 0 {
            self.end(ends_head);
        }
    }

    fn end(&mut self, ends_head: bool) {
        self.stage = HEADER;
        if ends_head || !self.settled {
            self.awaited = None;
        }
        self.settled = true;
    }

    fn forgive(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.forgiven);
        let forgiven = passed.as_millis().saturating_mul(u128::from(FORGIVEN)) / 1_000;
        // What is too short to forgive anything is not lost for the next time.
        if forgiven > 0 {
            self.weight = self.weight.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            self.forgiven += Duration::from_millis(passed.as_millis().try_into().unwrap_or(u64::MAX));
        }
    }
}

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const PING: u8 = 0x6;
const CONTINUATION: u8 = 0x9;

const fn is_small(length: usize) -> bool {
    0 < length && length < SMALL
}

/// What a frame costs us, in WINDOW_UPDATEs.
const fn weight(kind: u8, flags: u8) -> u32 {
    match kind {
        DATA => 0,
        HEADERS => 2,
        // More than the request paid for: opened and taken back over and over is not free.
        RST_STREAM => 18,
        SETTINGS if flags & ACK == 0 => 10,
        PING if flags & ACK == 0 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = length.to_be_bytes();
        [vec![high, middle, low, kind, flags, 0, 0, 0, 1], vec![0; length]].concat()
    }

    fn begun(now: Instant) -> Frames {
        let mut frames = Frames::new(now);
        frames.feed(&[PREFACE.to_vec(), frame(SETTINGS, 0, 0)].concat(), now);
        frames
    }

    #[test]
    fn heads_are_awaited_until_they_end() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut frames = Frames::new(start);
        frames.feed(PREFACE, later);
        assert_eq!(frames.awaited(), Some(start));
        frames.feed(&frame(SETTINGS, 0, 6), later);
        assert_eq!(frames.awaited(), None);
        for whole in [frame(HEADERS, END_HEADERS, 0), frame(HEADERS, END_HEADERS, 9), frame(DATA, 0, 9)] {
            frames.feed(&whole, later);
            assert_eq!(frames.awaited(), None);
        }
        frames.feed(&frame(HEADERS, 0, 4), later);
        frames.feed(&frame(CONTINUATION, 0, 4), later + Duration::from_secs(1));
        assert_eq!(frames.awaited(), Some(later));
        frames.feed(&frame(CONTINUATION, END_HEADERS, 4)[..12], later);
        assert_eq!(frames.awaited(), Some(later));
        frames.feed(&[0], later);
        assert_eq!(frames.awaited(), None);
    }

    #[test]
    fn settings_come_first() {
        let now = Instant::now();
        for (kind, flags, misbegun) in [
            (SETTINGS, 0, false),
            (SETTINGS, ACK, true),
            (PING, 0, true),
            (HEADERS, 5, true),
            (0xfa, 0, true),
        ] {
            let mut frames = Frames::new(now);
            frames.feed(&[PREFACE.to_vec(), frame(kind, flags, 0)].concat(), now);
            assert_eq!(frames.is_misbegun(), misbegun, "{kind}");
        }
        let mut frames = begun(now);
        frames.feed(&frame(PING, 0, 8), now);
        assert!(!frames.is_misbegun());
    }

    #[test]
    fn floods_weigh_and_honest_traffic_does_not() {
        let start = Instant::now();
        for (kind, flags, length, many) in [
            (PING, 0, 8, 5_000),
            (PING, ACK, 8, 20_000),
            (SETTINGS, 0, 0, 2_000),
            (0x2, 0, 5, 20_000),
            (0x8, 0, 4, 20_000),
            (0xfa, 0, 0, 20_000),
            (RST_STREAM, 0, 4, 1_200),
        ] {
            let mut frames = begun(start);
            frames.feed(&frame(kind, flags, length).repeat(many / 2), start);
            assert!(!frames.is_flood(), "{kind}");
            frames.feed(&frame(kind, flags, length).repeat(many / 2 + 1), start);
            assert!(frames.is_flood(), "{kind}");
            frames.feed(&[], start + Duration::from_secs(1));
            assert!(!frames.is_flood(), "{kind}");
        }
        // A unary call as gRPC clients make them, with all the probing they are known for.
        let call = [
            frame(HEADERS, END_HEADERS, 50),
            frame(DATA, 1, 20),
            frame(PING, 0, 8),
            frame(0x8, 0, 4).repeat(2),
        ]
        .concat();
        // A download of 64 KiB that widens both windows after each frame.
        let taken = frame(0x8, 0, 4).repeat(8);
        let mut frames = begun(start);
        for _ in 0..100_000 {
            frames.feed(&call, start);
            frames.served();
            frames.answered(20);
            frames.feed(&taken, start);
            frames.answered(65_536);
        }
        assert_eq!(frames.weight, 0);
    }

    #[test]
    fn requests_taken_back_at_once_add_up() {
        let start = Instant::now();
        let mut frames = begun(start);
        for _ in 0..6_000 {
            frames.feed(&[frame(HEADERS, END_HEADERS, 20), frame(RST_STREAM, 0, 4)].concat(), start);
            frames.served();
        }
        assert!(frames.is_flood());
    }

    proptest! {
        #[test]
        fn bytes_cut_anywhere_weigh_the_same(
            sizes in proptest::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..20),
            cut in 1usize..30,
        ) {
            let now = Instant::now();
            let frames = sizes.into_iter().map(|(kind, flags, length)| frame(kind, flags, length));
            let bytes = [PREFACE.to_vec(), frames.collect::<Vec<_>>().concat()].concat();
            let (mut whole, mut pieces) = (Frames::new(now), Frames::new(now));
            whole.feed(&bytes, now);
            for piece in bytes.chunks(cut) {
                pieces.feed(piece, now);
            }
            prop_assert_eq!((whole.weight, whole.awaited), (pieces.weight, pieces.awaited));
        }
    }
}
