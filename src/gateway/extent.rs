//! Where the body of an HTTP/1 message ends, followed through the raw bytes however they are cut up.
//! Reference: RFC 9112, section 7.1.

use super::head::{BodyLength, Offence};

/// Longest chunk-size line, extensions included.
const CHUNK_LINE: usize = 4096;
/// Longest trailer section.
const TRAILERS: usize = 16 * 1024;

/// How far a body has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    Left(u64),
    ChunkSize {
        size: u64,
        digits: u8,
        length: usize,
        part: SizePart,
    },
    ChunkData(u64),
    /// After the data: CR, then LF.
    ChunkEnd {
        cr: bool,
    },
    /// The trailer section: bytes of it so far, bytes of its present line, and whether that ended in CR.
    Trailers {
        total: usize,
        line: usize,
        cr: bool,
    },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizePart {
    Digits,
    Extension,
    Lf,
}

const CHUNK_START: Extent = Extent::ChunkSize { size: 0, digits: 0, length: 0, part: SizePart::Digits };

impl Extent {
    pub(super) const fn of(body: BodyLength) -> Self {
        match body {
            BodyLength::None | BodyLength::Known(0) => Self::Ended,
            BodyLength::Known(length) => Self::Left(length),
            BodyLength::Chunked => CHUNK_START,
        }
    }

    pub(super) const fn has_ended(self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Takes bytes up to the end of the body or all of them; returns how many.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = (bytes.len() - at) as u64;
            match *self {
                Self::Left(left) if left > rest => *self = Self::Left(left - rest),
                Self::Left(left) => {
                    *self = Self::Ended;
                    return Ok(at + left as usize);
                }
                Self::ChunkData(left) if left > rest => *self = Self::ChunkData(left - rest),
                Self::ChunkData(left) => {
                    *self = Self::ChunkEnd { cr: false };
                    at += left as usize;
                    continue;
                }
                Self::ChunkSize { .. } | Self::ChunkEnd { .. } | Self::Trailers { .. } => {
                    *self = self.step(bytes[at]).ok_or(Offence::Chunk)?;
                    at += 1;
                    continue;
                }
                Self::Ended => return Ok(at),
            }
            return Ok(bytes.len());
        }
        Ok(at)
    }

    /// One byte of a chunked body's own syntax; `None` if it does not belong there.
    fn step(self, byte: u8) -> Option<Self> {
        match self {
            Self::ChunkSize { size, digits, length, part } => {
                if length >= CHUNK_LINE {
                    return None;
                }
                let length = length + 1;
                let go_on = |part| Some(Self::ChunkSize { size, digits, length, part });
                match (part, byte) {
                    (SizePart::Digits, b'\r') if digits > 0 => go_on(SizePart::Lf),
                    (SizePart::Digits, b';') if digits > 0 => go_on(SizePart::Extension),
                    (SizePart::Digits, _) if digits < 16 => {
                        let digit = (byte as char).to_digit(16)?;
                        let size = size << 4 | u64::from(digit);
                        Some(Self::ChunkSize { size, digits: digits + 1, length, part })
                    }
                    (SizePart::Digits, _) => None,
                    (SizePart::Extension, b'\r') => go_on(SizePart::Lf),
                    (SizePart::Extension, b'\n' | 0) => None,
                    (SizePart::Extension, _) => go_on(SizePart::Extension),
                    (SizePart::Lf, b'\n') if size == 0 => {
                        Some(Self::Trailers { total: 0, line: 0, cr: false })
                    }
                    (SizePart::Lf, b'\n') => Some(Self::ChunkData(size)),
                    (SizePart::Lf, _) => None,
                }
            }
            Self::ChunkEnd { cr: false } => (byte == b'\r').then_some(Self::ChunkEnd { cr: true }),
            Self::ChunkEnd { cr: true } => (byte == b'\n').then_some(CHUNK_START),
            Self::Trailers { total, line, cr } => {
                let total = total + 1;
                match (byte, cr) {
                    (b'\n', true) if line == 0 => Some(Self::Ended),
                    (b'\n', true) => Some(Self::Trailers { total, line: 0, cr: false }),
                    (b'\n', false) | (_, true) => None,
                    (b'\r', false) => Some(Self::Trailers { total, line, cr: true }),
                    (b' ' | b'\t', false) if line == 0 => None,
                    (_, false) if total > TRAILERS => None,
                    (_, false) => Some(Self::Trailers { total, line: line + 1, cr: false }),
                }
            }
            Self::Left(_) | Self::ChunkData(_) | Self::Ended => None,
        }
    }
}
