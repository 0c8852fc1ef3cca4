//! Spans of time as people write them: `250ms`, `10s`, `5m`, `1h`, `7d`, `3mo`, `1y`.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Why a span was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a duration is a whole number and a unit: ms, s, m (minutes), h, d, mo (calendar months) or y, as in `7d`"
)]
pub struct UnknownLifetime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

const UNITS: [(&str, Unit); 7] = [
    ("ms", Unit::Millisecond),
    ("s", Unit::Second),
    ("m", Unit::Minute),
    ("h", Unit::Hour),
    ("d", Unit::Day),
    ("mo", Unit::Month),
    ("y", Unit::Year),
];

/// A count of one unit. Months and years follow the calendar: three months from 30 November is 28 February.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    count: u32,
    unit: Unit,
}

impl Lifetime {
    #[must_use]
    pub const fn hours(count: u32) -> Self {
        Self { count, unit: Unit::Hour }
    }

    #[must_use]
    pub const fn days(count: u32) -> Self {
        Self { count, unit: Unit::Day }
    }

    #[must_use]
    pub const fn months(count: u32) -> Self {
        Self { count, unit: Unit::Month }
    }

    #[must_use]
    pub const fn years(count: u32) -> Self {
        Self { count, unit: Unit::Year }
    }

    /// The whole seconds from `start` to `end`, one at the least.
    #[must_use]
    pub fn between(start: Timestamp, end: Timestamp) -> Self {
        let seconds = end.duration_since(start).as_secs().max(1);
        Self { count: u32::try_from(seconds).unwrap_or(u32::MAX), unit: Unit::Second }
    }

    /// # Errors
    /// When `text` is not a whole number directly followed by a unit.
    pub fn parse(text: &str) -> Result<Self, UnknownLifetime> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(UnknownLifetime)?;
        let (count, unit) = text.split_at(digits);
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(UnknownLifetime)?;
        Ok(Self { count: count.parse().map_err(|_| UnknownLifetime)?, unit })
    }

    /// As one number of 40 bits.
    #[must_use]
    pub const fn packed(self) -> u64 {
        (self.count as u64) << 8 | self.unit as u64
    }

    /// What was packed.
    #[must_use]
    pub const fn unpacked(packed: u64) -> Self {
        let unit = match packed & 0xff {
            0 => Unit::Millisecond,
            1 => Unit::Second,
            2 => Unit::Minute,
            3 => Unit::Hour,
            4 => Unit::Day,
            5 => Unit::Month,
            _ => Unit::Year,
        };
        Self { count: (packed >> 8) as u32, unit }
    }

    /// The moment this long after `start`, by the UTC calendar; `None` past the year 9999.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Option<Timestamp> {
        start.to_zoned(TimeZone::UTC).checked_add(self.span()?).ok().map(|end| end.timestamp())
    }

    /// The moment this long before `end`, by the UTC calendar; `None` before the calendar begins.
    #[must_use]
    pub fn before(self, end: Timestamp) -> Option<Timestamp> {
        end.to_zoned(TimeZone::UTC).checked_sub(self.span()?).ok().map(|start| start.timestamp())
    }

    fn span(self) -> Option<Span> {
        let count = i64::from(self.count);
        match self.unit {
            Unit::Millisecond => Span::new().try_milliseconds(count),
            Unit::Second => Span::new().try_seconds(count),
            Unit::Minute => Span::new().try_minutes(count),
            Unit::Hour => Span::new().try_hours(count),
            Unit::Day => Span::new().try_days(count),
            Unit::Month => Span::new().try_months(count),
            Unit::Year => Span::new().try_years(count),
        }
        .ok()
    }

    /// The fixed length, for timeouts; `None` for months and years, which have none.
    #[must_use]
    pub fn fixed(self) -> Option<Duration> {
        let count = u64::from(self.count);
        match self.unit {
            Unit::Millisecond => Some(Duration::from_millis(count)),
            Unit::Second => Some(Duration::from_secs(count)),
            Unit::Minute => Some(Duration::from_secs(count * 60)),
            Unit::Hour => Some(Duration::from_secs(count * 3_600)),
            Unit::Day => Some(Duration::from_secs(count * 86_400)),
            Unit::Month | Unit::Year => None,
        }
    }

    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.into_iter().find(|(_, unit)| *unit == self.unit).map_or("", |(name, _)| name);
        write!(f, "{}{unit}", self.count)
    }
}

/// When a token is to end, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    In(Lifetime),
    At(Timestamp),
    Never,
}

impl Expiry {
    /// Reads an explicit end: a date (the end of that day, UTC) or an RFC 3339 time.
    #[must_use]
    pub fn parse_at(text: &str) -> Option<Self> {
        if is_like(text, "0000-00-00") {
            let next = text.parse::<Date>().ok()?.checked_add(1.day()).ok()?;
            return Some(Self::At(next.to_zoned(TimeZone::UTC).ok()?.timestamp()));
        }
        is_rfc_3339(text).then(|| text.parse().ok().map(Self::At))?
    }
}

/// Whether `text` has the form of RFC 3339's `date-time`. jiff reads much more: ISO 8601's other spellings, offsets of
/// more than a day, names of time zones.
fn is_rfc_3339(text: &str) -> bool {
    let Some((start, rest)) = text.split_at_checked("0000-00-00T00:00:00".len()) else { return false };
    let digits = rest
        .strip_prefix('.')
        .map_or(0, |rest| 1 + rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let (fraction, offset) = rest.split_at(digits);
    let of_utc = matches!(offset, "Z" | "z");
    let numeric = (is_like(offset, "+00:00") || is_like(offset, "-00:00"))
        && &offset[1..3] < "24"
        && &offset[4..] < "60";
    is_like(&start.replace(['t', ' '], "T"), "0000-00-00T00:00:00") && fraction != "." && (of_utc || numeric)
}

/// Whether `text` is `form` with any digits where that has zeros.
fn is_like(text: &str, form: &str) -> bool {
    let alike = |(c, form): (u8, u8)| if form == b'0' { c.is_ascii_digit() } else { c == form };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_follow_the_calendar() {
        let three = Lifetime::parse("3mo").unwrap();
        assert_eq!(three.after(at("2026-11-30T12:00:00Z")), Some(at("2027-02-28T12:00:00Z")));
        assert_eq!(
            Lifetime::parse("1y").unwrap().after(at("2028-02-29T00:00:00Z")),
            Some(at("2029-02-28T00:00:00Z"))
        );
        assert_eq!(three.before(at("2027-02-28T12:00:00Z")), Some(at("2026-11-28T12:00:00Z")));
        assert_eq!(three.fixed(), None);
    }

    #[test]
    fn every_unit_reads_and_writes_itself() {
        for text in ["250ms", "10s", "5m", "1h", "7d", "3mo", "1y"] {
            assert_eq!(Lifetime::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "7", "d", "7 d", "-1h", "1.5h", "1w", "1H", "99999999999s", "1mos"] {
            assert!(Lifetime::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_date_is_its_whole_day() {
        assert_eq!(Expiry::parse_at("2026-12-31"), Some(Expiry::At(at("2027-01-01T00:00:00Z"))));
        assert_eq!(
            Expiry::parse_at("2026-12-31T10:00:00+01:00"),
            Some(Expiry::At(at("2026-12-31T09:00:00Z")))
        );
        for bad in ["2026-02-30", "tomorrow", "20261231", "2026-W53-4", "+2026-12-31", "2026-12-31Z", ""] {
            assert_eq!(Expiry::parse_at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_time_is_one_of_rfc_3339() {
        let ten = Some(Expiry::At(at("2026-12-31T10:00:00Z")));
        for good in [
            "2026-12-31T10:00:00Z",
            "2026-12-31t10:00:00z",
            "2026-12-31 10:00:00+00:00",
            "2026-12-31T10:00:00.000Z",
            "2026-12-31T12:30:00+02:30",
            "2026-12-30T10:01:00-23:59",
        ] {
            assert_eq!(Expiry::parse_at(good), ten, "{good:?}");
        }
        for bad in [
            "2026-12-31T10:00:00",
            "2026-12-31T10Z",
            "2026-12-31T10:00Z",
            "2026-12-31T100000Z",
            "2026-12-31T10:00:00,5Z",
            "2026-12-31T10:00:00.Z",
            "2026-12-31T10:00:00+25:00",
            "2026-12-31T10:00:00+01:60",
            "2026-12-31T10:00:00+01",
            "2026-12-31T10:00:00+0100",
            "+002026-12-31T10:00:00Z",
            "2026-12-31T10:00:00Z[Europe/Paris]",
            "2026-12-31T25:00:00Z",
            "2026-02-30T10:00:00Z",
            "2026-12-31T10:00:00é",
            "2026-12-31T10:00:0é0Z",
        ] {
            assert_eq!(Expiry::parse_at(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_no_panic() {
        assert_eq!(Lifetime::parse("4000000000y").unwrap().after(Timestamp::now()), None);
        assert_eq!(Lifetime::parse("4000000000y").unwrap().before(Timestamp::now()), None);
    }
}
