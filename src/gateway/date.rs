//! The `Date` of answers, put together once in a while. Reference: RFC 9110, section 5.6.7.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::time::Instant;

use super::clock;

/// As many characters as every date has.
const LENGTH: usize = 29;
/// How late it may be.
const LATE: Duration = Duration::from_millis(100);

/// The date as it was when this was last asked.
#[derive(Debug, Default)]
pub(super) struct Date {
    looked: Cell<Option<Instant>>,
    text: Cell<[u8; LENGTH]>,
}

impl Date {
    pub(super) fn text(&self) -> [u8; LENGTH] {
        let now = clock::now();
        if self.looked.get().is_none_or(|looked| now.saturating_duration_since(looked) >= LATE) {
            self.looked.set(Some(now));
            let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).ok();
            // Only a year of five digits would not fit.
            let text = text.and_then(|text| text.as_bytes().try_into().ok());
            self.text.set(text.unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT"));
        }
        self.text.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_date_of_now_as_http_has_it() {
        let date = Date::default();
        let (before, text) = (Timestamp::now().as_second(), date.text());
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.ends_with(" GMT"), "{text}");
        let read = jiff::fmt::rfc2822::parse(text).unwrap().timestamp().as_second();
        assert!((before..=Timestamp::now().as_second()).contains(&read), "{text}");
    }
}
