//! Where the body of an HTTP/1 message ends, followed through the raw bytes however they are cut up.
//! Reference: RFC 9112, section 7.1.

use super::head::{BodyLength, Offence};

/// Longest chunk extensions, those of a body together.
const EXTENSIONS: u16 = 16 * 1024;
/// Longest trailer section.
const TRAILERS: usize = 16 * 1024;

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Left(u64),
    ChunkSize {
        size: u64,
        digits: u8,
        extensions: u16,
        part: SizePart,
    },
    ChunkData {
        left: u64,
        extensions: u16,
    },
    /// After the data: CR, then LF.
    ChunkEnd {
        cr: bool,
        extensions: u16,
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

impl Extent {
    pub(super) const fn of(body: BodyLength) -> Self {
        match body {
            BodyLength::None | BodyLength::Known(0) => Self::Ended,
            BodyLength::Known(length) => Self::Left(length),
            BodyLength::Chunked => Self::chunk(0),
        }
    }

    /// Before a chunk.
    const fn chunk(extensions: u16) -> Self {
        Self::ChunkSize { size: 0, digits: 0, extensions, part: SizePart::Digits }
    }

    pub(super) const fn has_ended(self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Whether what comes next belongs to the trailer section.
    pub(super) const fn is_trailing(self) -> bool {
        matches!(self, Self::Trailers { .. })
    }

    /// Bytes still to come, of a body that gave its length.
    pub(super) const fn left(self) -> Option<u64> {
        match self {
            Self::Left(left) => Some(left),
            Self::Ended => Some(0),
            Self::ChunkSize { .. }
            | Self::ChunkData { .. }
            | Self::ChunkEnd { .. }
            | Self::Trailers { .. } => None,
        }
    }

    /// Takes bytes up to the end of the body or all of them; returns how many.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        let mut at = 0;
        while at < bytes.len() && !self.has_ended() {
            let (syntax, data) = self.advance(&bytes[at..])?;
            at += syntax + data;
        }
        Ok(at)
    }

    /// Takes what frames the next data and that data, as far as both are there; returns the lengths of the two. Stops
    /// before the trailer section.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, usize), Offence> {
        let was_trailing = self.is_trailing();
        let mut at = 0;
        while at < bytes.len() {
            let rest = (bytes.len() - at) as u64;
            match *self {
                Self::Left(left) if left > rest => *self = Self::Left(left - rest),
                Self::ChunkData { left, extensions } if left > rest => {
                    *self = Self::ChunkData { left: left - rest, extensions };
                }
                Self::Left(left) => {
                    *self = Self::Ended;
                    return Ok((at, left as usize));
                }
                Self::ChunkData { left, extensions } => {
                    *self = Self::ChunkEnd { cr: false, extensions };
                    return Ok((at, left as usize));
                }
                Self::ChunkSize { .. } | Self::ChunkEnd { .. } | Self::Trailers { .. } => {
                    *self = self.step(bytes[at]).ok_or(Offence::Chunk)?;
                    at += 1;
                    if self.has_ended() || self.is_trailing() != was_trailing {
                        break;
                    }
                    continue;
                }
                Self::Ended => break,
            }
            return Ok((at, rest as usize));
        }
        Ok((at, 0))
    }

    /// One byte of a chunked body's own syntax; `None` if it does not belong there.
    fn step(self, byte: u8) -> Option<Self> {
        match self {
            Self::ChunkSize { size, digits, extensions, part } => {
                let go_on = |part| Some(Self::ChunkSize { size, digits, extensions, part });
                match (part, byte) {
                    (SizePart::Digits, b'\r') if digits > 0 => go_on(SizePart::Lf),
                    (SizePart::Digits, b';') if digits > 0 => go_on(SizePart::Extension),
                    (SizePart::Digits, _) if digits < 16 => {
                        let digit = (byte as char).to_digit(16)?;
                        let size = size << 4 | u64::from(digit);
                        Some(Self::ChunkSize { size, digits: digits + 1, extensions, part })
                    }
                    (SizePart::Digits, _) => None,
                    (SizePart::Extension, b'\r') => go_on(SizePart::Lf),
                    (SizePart::Extension, b'\n' | 0) => None,
                    (SizePart::Extension, _) => {
                        let extensions = extensions + 1;
                        (extensions <= EXTENSIONS).then_some(Self::ChunkSize {
                            size,
                            digits,
                            extensions,
                            part,
                        })
                    }
                    (SizePart::Lf, b'\n') if size == 0 => {
                        Some(Self::Trailers { total: 0, line: 0, cr: false })
                    }
                    (SizePart::Lf, b'\n') => Some(Self::ChunkData { left: size, extensions }),
                    (SizePart::Lf, _) => None,
                }
            }
            Self::ChunkEnd { cr: false, extensions } => {
                (byte == b'\r').then_some(Self::ChunkEnd { cr: true, extensions })
            }
            Self::ChunkEnd { cr: true, extensions } => (byte == b'\n').then_some(Self::chunk(extensions)),
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
            Self::Left(_) | Self::ChunkData { .. } | Self::Ended => None,
        }
    }
}
