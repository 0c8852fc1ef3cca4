//! Looking through bytes of any length, a window at a time.

use std::io::{self, Read};

use super::pattern::{LONGEST, Match, Pattern};
use super::tally::Spot;

/// What is looked through at once.
const WINDOW: usize = 256 * 1024;
/// What is looked at to tell text from what is not.
const HEAD: usize = 8 * 1024;
/// Past this, what is not text is passed over.
pub(super) const BINARY: u64 = 16 * 1024 * 1024;

/// A window that is moved over one source after the other.
#[derive(Debug)]
pub(super) struct Window<'p> {
    pattern: &'p Pattern,
    bytes: Vec<u8>,
}

/// What became of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All of its bytes, so many.
    Whole(u64),
    /// It is no text, and long.
    PassedOver,
}

impl<'p> Window<'p> {
    pub(super) fn new(pattern: &'p Pattern) -> Self {
        Self { pattern, bytes: vec![0; WINDOW] }
    }

    /// Looks through `source`. With a `length`, what is no text is passed over where that is past the bound.
    pub(super) fn look_through(
        &mut self,
        mut source: impl Read,
        length: Option<u64>,
        mut found: impl FnMut(&Match, Spot),
    ) -> io::Result<Seen> {
        let (mut filled, mut total) = (0, 0);
        let mut place = Position::default();
        loop {
            let (read, is_last) = fill(&mut source, self.bytes.get_mut(filled..).unwrap_or_default())?;
            let first = total == 0;
            filled += read;
            total += read as u64;
            let window = self.bytes.get(..filled).unwrap_or_default();
            if first && length.is_some_and(|length| length > BINARY) && is_binary(window) {
                return Ok(Seen::PassedOver);
            }
            // What begins after that may not be whole, and is looked at again with what follows.
            let settled = if is_last { filled } else { filled.saturating_sub(LONGEST - 1) };
            for one in self.pattern.matches(window).take_while(|one| one.start < settled) {
                place.advance(window, one.start);
                found(&one, Spot { line: place.line + 1, column: place.characters / one.width as u64 + 1 });
            }
            if is_last {
                return Ok(Seen::Whole(total));
            }
            place.advance(window, settled);
            place.at = 0;
            self.bytes.copy_within(settled..filled, 0);
            filled -= settled;
        }
    }
}

/// Reads until `room` is full or nothing is left; how much was read, and whether that was the end.
fn fill(source: &mut impl Read, room: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => return Ok((filled, true)),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((filled, false))
}

/// A zero says so, unless zeros stand only at every other place, as in UTF-16.
fn is_binary(window: &[u8]) -> bool {
    let head = window.get(..HEAD).unwrap_or(window);
    let mut zeros = memchr::memchr_iter(0, head);
    zeros.next().is_some_and(|first| zeros.any(|next| (next - first) % 2 == 1))
}

/// How far a source was counted through. Nothing is counted before it is asked for.
#[derive(Debug, Default)]
struct Position {
    /// In the window.
    at: usize,
    /// Lines before this one.
    line: u64,
    /// Characters before this one in its line.
    characters: u64,
}

impl Position {
    fn advance(&mut self, window: &[u8], to: usize) {
        let passed = window.get(self.at..to).unwrap_or_default();
        match memchr::memrchr(b'\n', passed) {
            Some(last) => {
                self.line += memchr::memchr_iter(b'\n', passed).count() as u64;
                self.characters = characters(passed.get(last + 1..).unwrap_or_default());
            }
            None => self.characters += characters(passed),
        }
        self.at = to;
    }
}

/// How many characters of UTF-8 begin here.
fn characters(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BINARY, Pattern, Read, Seen, Spot, Window, io};
    use crate::credential::{Kind, Plaintext};

    /// Small, so that its borders are soon met.
    const WINDOW: usize = 200;

    fn window(pattern: &Pattern) -> Window<'_> {
        Window { pattern, bytes: vec![0; WINDOW] }
    }

    /// Gives what it has in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let size = room.len().min(self.1).min(self.0.len());
            room[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn spots(bytes: &[u8], piece: usize) -> Vec<(u64, u64)> {
        let pattern = Pattern::new().unwrap();
        let mut spots = Vec::new();
        let note = |_: &_, Spot { line, column }| spots.push((line, column));
        let seen = window(&pattern).look_through(Pieces(bytes, piece), None, note);
        assert_eq!(seen.unwrap(), Seen::Whole(bytes.len() as u64));
        spots
    }

    fn token() -> Vec<u8> {
        Plaintext::generate(Kind::Token).unwrap().reveal().as_bytes().to_vec()
    }

    fn widened(text: &[u8], big: bool) -> Vec<u8> {
        text.iter().flat_map(|byte| if big { [0, *byte] } else { [*byte, 0] }).collect()
    }

    #[test]
    fn lines_and_columns_are_those_of_an_editor() {
        let token = token();
        let text = [b"\xc3\xa9 ", &token[..], b"\n\n  ", &token, &token, b"\n"].concat();
        assert_eq!(spots(&text, 7), [(1, 3), (3, 3), (3, 43)]);
        for big in [false, true] {
            let text = widened(&[b"ab\n c", &token[..]].concat(), big);
            assert_eq!(spots(&text, 1), [(2, 3)]);
        }
    }

    #[test]
    fn nothing_is_lost_or_told_twice_at_the_border_of_windows() {
        let token = token();
        for width in [1, 2] {
            let text = if width == 1 { token.clone() } else { widened(&token, false) };
            for before in WINDOW - text.len() - 2..WINDOW + 2 {
                let bytes = [&vec![b'.'; before][..], &text, &[b'.'; WINDOW]].concat();
                assert_eq!(spots(&bytes, WINDOW), [(1, (before / width) as u64 + 1)], "{before}");
            }
        }
        let line = [&vec![b'.'; 1000][..], &token].concat();
        assert_eq!(spots(&line, 7), [(1, 1001)]);
    }

    #[test]
    fn what_is_no_text_is_passed_over_where_it_is_long() {
        let pattern = Pattern::new().unwrap();
        let mut window = window(&pattern);
        let mut look = |bytes: &[u8], length| window.look_through(bytes, length, |_, _| ()).unwrap();
        let (binary, wide) = (b"\x7fELF\x02\x01\0\0", widened(b"text", true));
        assert_eq!(look(binary, Some(BINARY + 1)), Seen::PassedOver);
        assert_eq!(look(binary, Some(BINARY)), Seen::Whole(8));
        assert_eq!(look(binary, None), Seen::Whole(8));
        assert_eq!(look(&wide, Some(BINARY + 1)), Seen::Whole(8));
    }

    proptest! {
        #[test]
        fn windows_find_what_one_look_finds(
            gaps in proptest::collection::vec(0usize..2 * WINDOW, 1..6), piece in 1usize..2 * WINDOW, big: bool,
        ) {
            let mut text = Vec::new();
            let mut expected = Vec::new();
            for gap in gaps {
                text.extend(std::iter::repeat_n(b'x', gap));
                expected.push((1, text.len() as u64 + 1));
                text.extend(token());
            }
            prop_assert_eq!(spots(&text, piece), expected.clone());
            prop_assert_eq!(spots(&widened(&text, big), piece), expected);
        }
    }
}
