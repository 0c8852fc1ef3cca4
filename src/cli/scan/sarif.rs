//! What was found, as SARIF 2.1.0: so much of it as code-scanning dashboards read.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::standing::{Ending, Finding, Standing};
use super::{document, place, words};
use crate::cli::failure::Failure;
use crate::credential::{Kind, LENGTH};
use crate::leaks::scan::Place;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// What a path keeps as it is in a URI.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'+');

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<Finds>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: [Rule; 3],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    name: &'static str,
    short_description: Text,
    help: Text,
    properties: BTreeMap<&'static str, serde_json::Value>,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

/// A result: the name would be that of the standard library's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Finds {
    rule_id: &'static str,
    level: &'static str,
    message: Text,
    locations: Vec<Location>,
    partial_fingerprints: BTreeMap<&'static str, String>,
    properties: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_location: Option<Physical>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<Logical>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
    start_column: u64,
    end_line: u64,
    end_column: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logical {
    fully_qualified_name: String,
}

pub(super) fn of(findings: &[Finding]) -> Result<Vec<u8>, Failure> {
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "Portcullis",
                    version: env!("CARGO_PKG_VERSION"),
                    rules: Kind::ALL.map(rule),
                },
            },
            column_kind: "unicodeCodePoints",
            results: findings.iter().flat_map(results).collect(),
        }],
    };
    document::written(&log)
}

fn rule(kind: Kind) -> Rule {
    let (name, what, cure) = match kind {
        Kind::Token => ("LeakedToken", "An external access token of Portcullis", "portcullis token revoke"),
        Kind::Key => ("LeakedManagementKey", "A management key of Portcullis", "portcullis key revoke"),
        Kind::Share => ("LeakedSignInLink", "A sign-in link of Portcullis", "portcullis token revoke"),
    };
    let text = |text: String| Text { text };
    Rule {
        id: rule_id(kind),
        name,
        short_description: text(format!("{what} stands where others may read it")),
        help: text(format!(
            "End it with `{cure}`, or all that are found with `portcullis scan --revoke`; then mint another and keep \
             it where secrets are kept. Taking it out of the file alone leaves it in the history."
        )),
        properties: BTreeMap::from([("tags", ["security"].into()), ("security-severity", "9.0".into())]),
    }
}

const fn rule_id(kind: Kind) -> &'static str {
    match kind {
        Kind::Token => "portcullis-token",
        Kind::Key => "portcullis-management-key",
        Kind::Share => "portcullis-sign-in-link",
    }
}

fn results(finding: &Finding) -> impl Iterator<Item = Finds> {
    finding.leak.places.iter().map(move |at| Finds {
        rule_id: rule_id(finding.leak.kind),
        level: match (&finding.standing, &finding.ending) {
            (_, Ending::Done) => "warning",
            (standing, _) if standing.may_live() => "error",
            (Standing::Unasked | Standing::Unknown | Standing::Known(_), _) => "note",
        },
        message: Text { text: format!("{} ({})", words::of(finding), place::text(at, false)) },
        locations: vec![location(at)],
        partial_fingerprints: BTreeMap::from([("portcullisCredential/v1", finding.leak.fingerprint())]),
        properties: place::commit(at).map(|commit| ("commit", commit.to_owned())).into_iter().collect(),
    })
}

fn location(at: &Place) -> Location {
    let Some(file) = place::file(at) else {
        let name = place::text(at, false);
        return Location {
            physical_location: None,
            logical_locations: vec![Logical { fully_qualified_name: name }],
        };
    };
    let path = place::path(file);
    let scheme = if file.is_absolute() { "file://" } else { "" };
    let (line, column) = at.spot.map_or((1, 1), |spot| (spot.line, spot.column));
    let region = Region {
        start_line: line,
        start_column: column,
        end_line: line,
        end_column: if at.spot.is_some() { column + LENGTH as u64 } else { column },
    };
    let uri = format!("{scheme}{}", utf8_percent_encode(&path, PATH));
    Location {
        physical_location: Some(Physical { artifact_location: Artifact { uri }, region }),
        logical_locations: Vec::new(),
    }
}
