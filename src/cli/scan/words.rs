//! What was found, for people.

use std::collections::BTreeSet;

use super::standing::{Ending, Finding, Standing};
use super::{fit, place};
use crate::admin::wire::Holding;
use crate::credential::Kind;
use crate::leaks::scan::Report;

/// A line for each place, in the order of the places.
pub(super) fn lines(findings: &[Finding]) -> String {
    let places =
        || findings.iter().flat_map(|finding| finding.leak.places.iter().map(move |at| (at, finding)));
    let repositories: BTreeSet<_> = places().filter_map(|(at, _)| place::repository(at)).collect();
    let mut places: Vec<_> = places().collect();
    places.sort_by_key(|(at, _)| *at);
    let mut lines: Vec<_> = places
        .into_iter()
        .map(|(at, finding)| format!("{}: {}", place::text(at, repositories.len() > 1), of(finding)))
        .collect();
    for finding in findings.iter().filter(|finding| finding.leak.untold > 0) {
        lines.push(format!("{} more places: {}", finding.leak.untold, of(finding)));
    }
    lines.join("\n")
}

/// A credential and what is known of it, in a sentence.
pub(super) fn of(finding: &Finding) -> String {
    let kind = match finding.leak.kind {
        Kind::Token => "token",
        Kind::Key => "management key",
        Kind::Share => "sign-in link",
    };
    let hint = &finding.leak.hint;
    let known = match &finding.standing {
        Standing::Unasked => "may live: nobody was asked".to_owned(),
        Standing::Unknown => "unknown to this gateway".to_owned(),
        Standing::Known(holding) => {
            let owner = owner(holding);
            match &finding.ending {
                Ending::Done => format!("was LIVE, is revoked now: {owner}"),
                Ending::Failed(why) => format!("LIVE and not revoked ({why}): {owner}"),
                Ending::None if finding.standing.lives() => format!("LIVE: {owner}"),
                Ending::None => format!("{}: {owner}", fit(&holding.status)),
            }
        }
    };
    format!("{kind} …{hint}, {known}")
}

pub(super) fn summary(findings: &[Finding], report: &Report) -> String {
    let objects = match report.objects {
        0 => String::new(),
        objects => format!(", {} of histories", count(objects, "object", "objects")),
    };
    let passed_over = match report.passed_over {
        0 => String::new(),
        binaries => {
            let binaries = count(binaries, "long binary", "long binaries");
            format!(", {binaries} passed over (--all looks through them)")
        }
    };
    let unlisted = match report.unlisted {
        0 => String::new(),
        unlisted => format!(", and {unlisted} times others that are too many to list"),
    };
    let lives =
        |test: fn(&Standing) -> bool| findings.iter().filter(|finding| test(&finding.standing)).count();
    let (live, unasked) = (lives(Standing::lives), lives(|standing| matches!(standing, Standing::Unasked)));
    let may = if unasked > 0 { format!(", {unasked} may live") } else { String::new() };
    format!(
        "{}{objects}, {}{passed_over}: {} found{unlisted}, {live} live{may}",
        count(report.files, "file", "files"),
        size(report.bytes),
        findings.len()
    )
}

/// Which one it is, and whose.
fn owner(holding: &Holding) -> String {
    let label = |label: &str| if label.is_empty() { String::new() } else { format!(" “{label}”") };
    let text = match (&holding.token, &holding.key) {
        (Some(token), _) => {
            let app = if token.app == "*" { "every app" } else { &token.app };
            let (label, environment) = (label(&token.label), &token.environment);
            format!("{}{label} of {} for {app}, {environment}", token.id, token.created_by)
        }
        (None, Some(key)) => {
            format!("{}{} of {}, which may {}", key.id, label(&key.label), key.member, key.scopes.join(", "))
        }
        (None, None) => "another member's".to_owned(),
    };
    fit(&text)
}

fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A number of bytes, roughly.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1000.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS.get(unit).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_three_digits_or_so() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
