//! `docs/capabilities.md`: what it promises is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::app::App;
use crate::support::gateway::Gateway;

const PAGE: &str = include_str!("../../docs/capabilities.md");

#[test]
fn every_row_is_true() {
    let gateway = Gateway::before(&App::echo());
    let document = gateway.admin("GET /v1/openapi.json", None).json();
    let rows: Vec<_> = PAGE.lines().filter_map(row).collect();
    assert!(rows.len() > 50, "where is the table?");
    let mut called = BTreeSet::new();
    for [capability, command, call, test] in rows {
        let (flags, words): (Vec<_>, Vec<_>) = command.split(' ').partition(|word| word.starts_with("--"));
        let help = gateway.cli(&[&words[..], &["--help"]].concat());
        let usage = format!("Usage: portcullis {command} ", command = words.join(" "));
        assert!(help.stdout.contains(&usage), "{capability}: `{command}` is no command: {help:?}");
        for flag in flags {
            let flag = format!("{flag} ");
            let known = help.stdout.lines().any(|line| format!("{} ", line.trim()).contains(&flag));
            assert!(known, "{capability}: `{command}` has no {flag}");
        }
        let (method, path) = call.split_once(' ').unwrap();
        let described = &document["paths"][path][method.to_ascii_lowercase()];
        assert!(described.is_object(), "{capability}: there is no {call}");
        called.insert(call);
        let (file, name) = test.split_once("::").unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(file).with_extension("rs");
        let text = fs::read_to_string(path).unwrap_or_default();
        assert!(text.contains(&format!("#[test]\nfn {name}() {{")), "{capability}: there is no test {test}");
    }
    // Two ways to one member, and what others watch the process by.
    let apart = ["GET /v1/members", "GET /v1/members/{name}", "GET /v1/apps", "GET /healthz", "GET /readyz"];
    let paths = document["paths"].as_object().unwrap().iter();
    let calls = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase());
        methods.map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    });
    for call in calls {
        assert!(called.contains(call.as_str()) || apart.contains(&call.as_str()), "no row tells of {call}");
    }
}

/// The cells of a row that tells a capability.
fn row(line: &'static str) -> Option<[&'static str; 4]> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [capability, command, call, test] = cells[..] else { return None };
    let code = |cell: &'static str| cell.strip_prefix('`')?.strip_suffix('`');
    Some([capability, code(command)?, code(call)?, code(test)?])
}
