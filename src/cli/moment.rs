//! Times for people: how far away in plain words, and exactly.

use jiff::Timestamp;

use super::text;
use crate::model::distance;

/// The exact time, RFC 3339 in UTC, to the second.
pub(super) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Both: `2026-12-31T00:00:00Z (in 7 days)`.
pub(super) fn both(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", exact(at), distance(at, now))
}

/// For tables: how far away, or that there is no such time.
pub(super) fn away(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "never".to_owned(), |at| distance(at, now))
}

/// When something was ended, and by whom, to stand behind it: an ending that is asked for again is the earlier one.
pub(super) fn since(at: Option<Timestamp>, by: Option<&str>, now: Timestamp) -> String {
    let by = by.map_or_else(String::new, |by| format!(" by {}", text::plain(by)));
    at.map_or_else(String::new, |at| format!(" ({}{by})", distance(at, now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_and_in_words() {
        let now: Timestamp = "2026-11-21T12:00:00.5Z".parse().unwrap();
        assert_eq!(both(now, now), "2026-11-21T12:00:00Z (just now)");
    }
}
