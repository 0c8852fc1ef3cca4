//! What was found, as one JSON document.

use serde::Serialize;

use super::place;
use super::standing::{Ending, Finding, Standing};
use crate::admin::wire::{Key, Token};
use crate::cli::failure::Failure;
use crate::leaks::scan::{self, Report};

#[derive(Serialize)]
struct Document<'a> {
    items: Vec<Item<'a>>,
    /// Finds of credentials that are too many to list.
    unlisted: u64,
    files: u64,
    objects: u64,
    bytes: u64,
    passed_over: u64,
    warnings: Vec<String>,
    warnings_unlisted: u64,
    failures: Vec<String>,
}

/// One credential.
#[derive(Serialize)]
struct Item<'a> {
    kind: &'static str,
    hint: &'a str,
    /// The same for the same credential, wherever and whenever it is found.
    fingerprint: String,
    /// As it was when it was found: as the admin API has it, or `unknown`; null where nobody was asked.
    status: Option<&'a str>,
    /// Whether it was ended on this occasion.
    revoked: bool,
    /// Why it was not, where that was wished.
    error: Option<&'a str>,
    token: Option<&'a Token>,
    key: Option<&'a Key>,
    places: Vec<Place<'a>>,
    places_unlisted: u64,
}

#[derive(Serialize)]
struct Place<'a> {
    /// Null in standard input, in what git says, and where no commit has the file.
    path: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
    repository: Option<String>,
    commit: Option<&'a str>,
    blob: Option<&'a str>,
    /// As people read it.
    text: String,
}

pub(super) fn of(findings: &[Finding], report: &Report) -> Result<Vec<u8>, Failure> {
    let document = Document {
        items: findings.iter().map(item).collect(),
        unlisted: report.unlisted,
        files: report.files,
        objects: report.objects,
        bytes: report.bytes,
        passed_over: report.passed_over,
        warnings: report.warnings.iter().map(|warning| super::fit(warning)).collect(),
        warnings_unlisted: report.unsaid,
        failures: report.failures.iter().map(|failure| super::fit(failure)).collect(),
    };
    written(&document)
}

/// A document as bytes.
pub(super) fn written(document: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(document)
        .map_err(|error| Failure::Failed(format!("the result cannot be written as JSON: {error}")))
}

fn item(finding: &Finding) -> Item<'_> {
    let (status, holding) = match &finding.standing {
        Standing::Unasked => (None, None),
        Standing::Unknown => (Some("unknown"), None),
        Standing::Known(holding) => (Some(&*holding.status), Some(holding)),
    };
    Item {
        kind: finding.leak.kind.name(),
        hint: &finding.leak.hint,
        fingerprint: finding.leak.fingerprint(),
        status,
        revoked: matches!(finding.ending, Ending::Done),
        error: match &finding.ending {
            Ending::Failed(why) => Some(why),
            Ending::None | Ending::Done => None,
        },
        token: holding.and_then(|holding| holding.token.as_ref()),
        key: holding.and_then(|holding| holding.key.as_ref()),
        places: finding.leak.places.iter().map(located).collect(),
        places_unlisted: finding.leak.untold,
    }
}

fn located(at: &scan::Place) -> Place<'_> {
    Place {
        path: place::file(at).map(place::path),
        line: at.spot.map(|spot| spot.line),
        column: at.spot.map(|spot| spot.column),
        repository: place::repository(at).map(place::path),
        commit: place::commit(at),
        blob: place::blob(at),
        text: place::text(at, true),
    }
}
