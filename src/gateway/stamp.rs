//! The time of an access-log line: RFC 3339 in UTC, to the microsecond. What changes once a second is formatted once a
//! second.

use jiff::Timestamp;

/// What was last written.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    /// Without fraction and zone.
    whole: usize,
    text: String,
}

impl Stamp {
    pub(super) fn text(&mut self, at: Timestamp) -> &str {
        let (second, micros) =
            (at.as_microsecond().div_euclid(1_000_000), at.as_microsecond().rem_euclid(1_000_000));
        if self.second != Some(second) {
            let whole = Timestamp::from_second(second).unwrap_or_default().to_string();
            self.text = whole.trim_end_matches('Z').to_owned();
            (self.second, self.whole) = (Some(second), self.text.len());
        }
        self.text.truncate(self.whole);
        self.text.push('.');
        let mut digits = itoa::Buffer::new();
        // A one before the six digits keeps their zeros.
        self.text.push_str(&digits.format(1_000_000 + micros)[1..]);
        self.text.push('Z');
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
                    let text = stamp.text(at);
                    prop_assert!(text.len() == 27 && text.ends_with('Z'), "{text}");
                    prop_assert_eq!(text.parse::<Timestamp>().unwrap(), at);
                }
            }
        }
    }
}
