//! Times as people say them.

use jiff::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How far `at` is from `now`, in the largest unit that still tells something.
#[must_use]
pub fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let away = seconds.unsigned_abs();
    let (unit, length) = match away {
        0..45 => return if seconds > 0 { "in a moment" } else { "just now" }.to_owned(),
        45..5_400 => ("minute", MINUTE),
        5_400..129_600 => ("hour", HOUR),
        129_600..5_184_000 => ("day", DAY),
        5_184_000..63_072_000 => ("month", 2_629_746),
        _ => ("year", 31_556_952),
    };
    // To the nearest: what was minted a second ago for 7 days ends "in 7 days".
    let count = ((away + length / 2) / length).max(1);
    let plural = if count == 1 { "" } else { "s" };
    if seconds > 0 { format!("in {count} {unit}{plural}") } else { format!("{count} {unit}{plural} ago") }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn distances_read_as_people_say_them() {
        let now: Timestamp = "2026-11-21T12:00:00.5Z".parse().unwrap();
        let day = i64::try_from(DAY).unwrap();
        for (seconds, words) in [
            (0, "just now"),
            (-44, "just now"),
            (10, "in a moment"),
            (-60, "1 minute ago"),
            (3_599, "in 60 minutes"),
            (7_200, "in 2 hours"),
            (day, "in 24 hours"),
            (7 * day - 1, "in 7 days"),
            (-30 * day, "30 days ago"),
            (91 * day, "in 3 months"),
            (5 * 365 * day, "in 5 years"),
        ] {
            let at = now + SignedDuration::from_secs(seconds);
            assert_eq!(distance(at, now), words, "{seconds}");
        }
        assert!(distance(Timestamp::MIN, Timestamp::MAX).ends_with("years ago"));
    }
}
