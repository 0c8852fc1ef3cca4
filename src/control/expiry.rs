//! When a new token is to end.

use jiff::Timestamp;

use super::Faults;
use crate::config;
use crate::model::{Expiry, Lifetime};

/// The word for no end.
pub(super) const NEVER: &str = "never";

/// When a token ends, and what lifetime that was; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at: Option<Timestamp>,
    pub(super) lifetime: Option<Lifetime>,
}

/// Judges what was asked for. `None` where faults were added.
pub(super) fn judge(
    expires_in: Option<&str>,
    expires_at: Option<&str>,
    rules: &config::Tokens,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<End> {
    let expiry = match (expires_in, expires_at) {
        (Some(lifetime), None) => listed(lifetime, rules, faults)?,
        (None, Some(text)) => {
            let Some(expiry) = Expiry::parse_at(text) else {
                faults.add(
                    "expires_at",
                    "must be a date (2026-12-31) or an RFC 3339 time (2026-12-31T18:00:00Z)",
                );
                return None;
            };
            expiry
        }
        (None, None) => {
            let choices = choices(rules);
            faults.add(
                "expires_in",
                format!("must be one of {choices}; or give `expires_at`, a date or a time"),
            );
            return None;
        }
        (Some(_), Some(_)) => {
            faults.add("expires_at", "give either `expires_in` or `expires_at`, not both");
            return None;
        }
    };
    match expiry {
        Expiry::Never => Some(End { at: None, lifetime: None }),
        Expiry::In(lifetime) => {
            let at = within("expires_in", lifetime.after(now), rules, now, faults)?;
            Some(End { at: Some(at), lifetime: Some(lifetime) })
        }
        Expiry::At(end) => {
            let at = within("expires_at", Some(end), rules, now, faults)?;
            Some(End { at: Some(at), lifetime: Some(Lifetime::between(now, at)) })
        }
    }
}

/// The end of a token that follows another: as asked for, or after as long as the other was minted for.
pub(super) fn renew(
    asked: Option<&str>,
    original: Option<Lifetime>,
    rules: &config::Tokens,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<End> {
    let Some(lifetime) = original.filter(|_| asked.is_none()) else {
        let never = asked.is_none().then_some(NEVER);
        return judge(asked.or(never), None, rules, now, faults);
    };
    let at = within("expires_in", lifetime.after(now), rules, now, faults)?;
    Some(End { at: Some(at), lifetime: Some(lifetime) })
}

/// The end of what may last as long as anybody likes; `None`: for ever, or faults were added.
pub(super) fn free(
    lifetime: Option<&str>,
    end: Option<&str>,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<Timestamp> {
    let (field, end) = match (lifetime, end) {
        (Some(_), Some(_)) => {
            faults.add("expires_at", "give either `expires_in` or `expires_at`, not both");
            return None;
        }
        (None, None) | (Some(NEVER), None) => return None,
        (Some(lifetime), None) => {
            ("expires_in", faults.take("expires_in", Lifetime::parse(lifetime))?.after(now))
        }
        (None, Some(text)) => match Expiry::parse_at(text) {
            Some(Expiry::At(end)) => ("expires_at", Some(end)),
            _ => {
                let message = "must be a date (2026-12-31) or an RFC 3339 time (2026-12-31T18:00:00Z)";
                faults.add("expires_at", message);
                return None;
            }
        },
    };
    let end = end.and_then(|end| Timestamp::from_millisecond(end.as_millisecond()).ok());
    let end = end.filter(|end| *end > now);
    if end.is_none() {
        faults.add(field, "must end after now and before the year 10000");
    }
    end
}

/// An end that is to come, and not too far off.
fn within(
    field: &str,
    end: Option<Timestamp>,
    rules: &config::Tokens,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<Timestamp> {
    let latest = rules.max_lifetime.after(now).unwrap_or(Timestamp::MAX);
    match end.and_then(|end| Timestamp::from_millisecond(end.as_millisecond()).ok()) {
        Some(end) if end <= now => {
            faults.add(field, "must be in the future");
            None
        }
        Some(end) if end <= latest => Some(end),
        _ => {
            let (max, latest) = (rules.max_lifetime, latest.strftime("%Y-%m-%dT%H:%M:%SZ"));
            faults.add(field, format!("must be at most {max} from now, {latest}"));
            None
        }
    }
}

fn listed(text: &str, rules: &config::Tokens, faults: &mut Faults) -> Option<Expiry> {
    let expiry = match text {
        NEVER => rules.allow_never.then_some(Expiry::Never),
        _ => Lifetime::parse(text).ok().filter(|asked| rules.lifetimes.contains(asked)).map(Expiry::In),
    };
    if expiry.is_none() {
        let hint = if text == NEVER { " (`tokens.allow_never` is off)" } else { "" };
        faults.add("expires_in", format!("must be one of {}{hint}", choices(rules)));
    }
    expiry
}

fn choices(rules: &config::Tokens) -> String {
    let never = rules.allow_never.then(|| NEVER.to_owned());
    rules.lifetimes.iter().map(Lifetime::to_string).chain(never).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn rules(allow_never: bool) -> config::Tokens {
        let lifetimes = ["1h", "7d", "1y"].map(|text| Lifetime::parse(text).unwrap()).to_vec();
        let max_lifetime = Lifetime::parse("3mo").unwrap();
        config::Tokens { lifetimes, max_lifetime, allow_never, ..sample::config().tokens }
    }

    fn ask(lifetime: Option<&str>, end: Option<&str>, never: bool) -> Result<Option<String>, String> {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let mut faults = Faults::default();
        let judged = judge(lifetime, end, &rules(never), now, &mut faults);
        match faults.none() {
            Ok(()) => Ok(judged.unwrap().at.map(|end| end.to_string())),
            Err(super::super::Fault::Invalid(faults)) => {
                Err(format!("{}: {}", faults[0].field, faults[0].message))
            }
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn an_end_is_one_of_the_choices_or_an_explicit_time() {
        assert_eq!(ask(Some("7d"), None, false), Ok(Some("2026-12-07T12:00:00Z".to_owned())));
        assert_eq!(ask(None, Some("2026-12-31"), false), Ok(Some("2027-01-01T00:00:00Z".to_owned())));
        assert_eq!(
            ask(None, Some("2026-11-30T12:00:01Z"), false),
            Ok(Some("2026-11-30T12:00:01Z".to_owned()))
        );
        assert_eq!(ask(Some("never"), None, true), Ok(None));
    }

    #[test]
    fn a_successor_lives_as_long_as_its_predecessor_was_to() {
        let now: Timestamp = "2028-02-29T12:00:00Z".parse().unwrap();
        let renewed = |asked, original: Option<&str>, never| {
            let mut faults = Faults::default();
            let original = original.map(|text| Lifetime::parse(text).unwrap());
            let end = renew(asked, original, &rules(never), now, &mut faults);
            faults.none().map(|()| end.unwrap().at.map(|at| at.to_string())).map_err(|_| ())
        };
        assert_eq!(renewed(None, Some("7d"), false), Ok(Some("2028-03-07T12:00:00Z".to_owned())));
        assert_eq!(renewed(None, Some("1mo"), false), Ok(Some("2028-03-29T12:00:00Z".to_owned())));
        assert_eq!(renewed(None, Some("90s"), false), Ok(Some("2028-02-29T12:01:30Z".to_owned())));
        assert_eq!(renewed(Some("1h"), Some("7d"), false), Ok(Some("2028-02-29T13:00:00Z".to_owned())));
        assert_eq!(renewed(None, Some("1y"), false), Err(()), "beyond the maximum");
        assert_eq!(renewed(Some("2h"), Some("7d"), false), Err(()), "not offered");
        assert_eq!(renewed(None, None, true), Ok(None));
        assert_eq!(renewed(None, None, false), Err(()), "never is no longer allowed");
    }

    #[test]
    fn anything_else_says_what_would_be_right() {
        let fault = |lifetime, end| ask(lifetime, end, false).unwrap_err();
        assert_eq!(fault(Some("2h"), None), "expires_in: must be one of 1h, 7d, 1y");
        assert!(fault(Some("never"), None).contains("allow_never"));
        assert!(ask(Some("2h"), None, true).unwrap_err().ends_with("1y, never"));
        assert!(fault(None, None).starts_with("expires_in: must be one of 1h"));
        assert!(fault(Some("7d"), Some("2026-12-31")).starts_with("expires_at: give either"));
        assert_eq!(fault(None, Some("2026-11-30T12:00:00Z")), "expires_at: must be in the future");
        assert!(
            fault(None, Some("2027-03-01"))
                .starts_with("expires_at: must be at most 3mo from now, 2027-02-28")
        );
        assert!(fault(Some("1y"), None).starts_with("expires_in: must be at most 3mo"));
        assert!(fault(None, Some("soon")).contains("RFC 3339"));
    }
}
