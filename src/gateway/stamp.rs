//! The time of an access-log line: RFC 3339 in UTC, to the microsecond. What changes once a second is formatted once a
//! second.

use jiff::Timestamp;

/// Without fraction and zone.
const WHOLE: usize = "2000-01-01T00:00:00".len();

/// What was last written.
#[derive(Debug)]
pub(super) struct Stamp {
    second: i64,
    text: [u8; 27],
}

impl Default for Stamp {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }
}

impl Stamp {
    /// The text of a time in microseconds since 1970.
    pub(super) fn text(&mut self, at: i64) -> &[u8] {
        let second = at.div_euclid(1_000_000);
        if self.second != second {
            let whole = Timestamp::from_second(second).unwrap_or_default().to_string();
            for (place, byte) in self.text.iter_mut().zip(whole.bytes()).take(WHOLE) {
                *place = byte;
            }
            self.second = second;
        }
        let mut left = at.rem_euclid(1_000_000) as u32;
        for place in self.text[WHOLE + 1..WHOLE + 7].iter_mut().rev() {
            *place = b'0' + (left % 10) as u8;
            left /= 10;
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_time_reads_back(times in proptest::collection::vec(-62_000_000_000_000_000_i64..253_000_000_000_000_000, 1..5)) {
            let mut stamp = Stamp::default();
            for micros in times {
                for micros in [micros, micros + 1, micros + 999_999] {
                    let at = Timestamp::from_microsecond(micros).unwrap();
                    let text = std::str::from_utf8(stamp.text(micros)).unwrap();
                    prop_assert!(text.len() == 27 && text.ends_with('Z'), "{text}");
                    prop_assert_eq!(text.parse::<Timestamp>().unwrap(), at);
                }
            }
        }
    }
}
