//! `[tokens]`: how tokens are presented and how long they may live.

use http::HeaderName;
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::Tokens;
use super::report::Placed;
use super::section::Section;
use super::value::{Given, boolean, lifetime, number};
use crate::model::Lifetime;

const LIFETIMES: [Lifetime; 7] = [
    Lifetime::hours(1),
    Lifetime::hours(24),
    Lifetime::days(7),
    Lifetime::days(30),
    Lifetime::months(3),
    Lifetime::years(1),
    Lifetime::years(5),
];
/// Longest name of the query parameter.
const PARAMETER_BYTES: usize = 64;

/// Fields that the gateway, HTTP or every app needs for something else.
const TAKEN: [&str; 22] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-portcullis-app",
    "x-portcullis-environment",
    "x-portcullis-token-id",
    "x-portcullis-token-label",
    "x-request-id",
];

pub(super) fn read(section: &mut Section<'_>) -> Tokens {
    let (max_lifetime, lifetimes) = lifetimes(section);
    Tokens {
        query_parameter: section.or(
            "query_parameter",
            Some("project-protection-bypass".to_owned()),
            query_parameter,
        ),
        header: section.or("header", HeaderName::from_static("x-portcullis-token"), header),
        lifetimes,
        max_lifetime,
        allow_never: section.or("allow_never", false, boolean),
        keep_ended: section.or("keep_ended", Lifetime::days(90), lifetime),
        max_active: section.or("max_active", 0, number(0..=u32::MAX)),
        max_active_per_member: section.or("max_active_per_member", 0, number(0..=u32::MAX)),
    }
}

/// Whether one lifetime ends before another does, both begun at the same moment. Calendar months and years differ in
/// length, so that the answer may depend on the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Always,
    Sometimes,
    Never,
}

fn fit(lifetime: Lifetime, max: Lifetime) -> Fit {
    let (mut fits, mut exceeds) = (false, false);
    // A common year and a leap year, a start in each of their months.
    for (year, month) in [2027, 2028].into_iter().flat_map(|year| (1..=12).map(move |month| (year, month))) {
        let Ok(start) = date(year, month, 1).to_zoned(TimeZone::UTC).map(|start| start.timestamp()) else {
            continue;
        };
        match (lifetime.after(start), max.after(start)) {
            (Some(end), Some(bound)) if end <= bound => fits = true,
            _ => exceeds = true,
        }
    }
    match (fits, exceeds) {
        (_, false) => Fit::Always,
        (true, true) => Fit::Sometimes,
        (false, true) => Fit::Never,
    }
}

fn lifetimes(section: &mut Section<'_>) -> (Lifetime, Vec<Lifetime>) {
    let max = section.read("max_lifetime", lifetime);
    let bound = max.as_ref().map_or(Lifetime::years(5), |max| max.value);
    let list = section.full_list("lifetimes", "a list of durations, as in [\"1h\", \"30d\"]", lifetime);
    let Some(list) = list else { return (bound, offered_by_default(section, bound, max.as_ref())) };
    let mut lifetimes: Vec<Lifetime> = Vec::with_capacity(list.items.len());
    for Placed { value, place } in list.items {
        if lifetimes.contains(&value) {
            section.mistake(&place, "lifetimes", &format!("names {value} twice"));
        }
        match fit(value, bound) {
            Fit::Always => {}
            Fit::Sometimes => {
                let doubt =
                    format!("offers {value}, which in some months goes beyond `max_lifetime`, {bound}");
                section.warning(&place, "lifetimes", &doubt);
            }
            Fit::Never => {
                let wrong = format!("offers {value}, which goes beyond `max_lifetime`, {bound}");
                section.mistake(&place, "lifetimes", &wrong);
            }
        }
        lifetimes.push(value);
    }
    (bound, lifetimes)
}

/// The default choices as far as they go: who lowers only the maximum need not spell out the rest.
fn offered_by_default(
    section: &mut Section<'_>,
    bound: Lifetime,
    max: Option<&Placed<Lifetime>>,
) -> Vec<Lifetime> {
    let mut lifetimes: Vec<_> =
        LIFETIMES.into_iter().filter(|offered| fit(*offered, bound) == Fit::Always).collect();
    if lifetimes.is_empty() {
        lifetimes.push(bound);
        if let Some(max) = max {
            let doubt = format!("is below every lifetime offered by default: only {bound} is offered");
            section.warning(&max.place, "max_lifetime", &doubt);
        }
    }
    lifetimes
}

/// A name that stands in a query as it is, without percent-encoding.
fn query_parameter(given: &Given<'_>) -> Result<Option<String>, String> {
    const WHAT: &str = "1 to 64 letters, digits, `-`, `_`, `.` or `~`, or \"\" to switch the query form off";
    let name = given.text(WHAT)?;
    if name.is_empty() {
        return Ok(None);
    }
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
    if !plain || name.len() > PARAMETER_BYTES {
        return Err(format!("wants {WHAT}"));
    }
    Ok(Some(name.to_owned()))
}

fn header(given: &Given<'_>) -> Result<HeaderName, String> {
    const WHAT: &str = "the name of a header field, as in \"X-Portcullis-Token\"";
    let name = HeaderName::from_bytes(given.text(WHAT)?.as_bytes()).map_err(|_| format!("wants {WHAT}"))?;
    // As a CGI-style app would fold it.
    let folded = name.as_str().replace('_', "-");
    if TAKEN.contains(&folded.as_str()) || folded.starts_with("x-forwarded-") {
        return Err(format!(
            "cannot be {name}, which has a meaning of its own: wants another name, as in \"X-Portcullis-Token\""
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_compared_wherever_they_begin() {
        let at = |text: &str| Lifetime::parse(text).unwrap();
        for (lifetime, max, expected) in [
            ("12mo", "1y", Fit::Always),
            ("365d", "1y", Fit::Always),
            ("366d", "1y", Fit::Sometimes),
            ("367d", "1y", Fit::Never),
            ("90d", "3mo", Fit::Sometimes),
            ("24h", "1d", Fit::Always),
            ("86401s", "1d", Fit::Never),
        ] {
            assert_eq!(fit(at(lifetime), at(max)), expected, "{lifetime} in {max}");
        }
    }
}
