//! The walls of the house: what a compiler does not check and a reader relies on.

mod syntax;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenTree};

use syntax::{
    attributes, crate_paths, each_level, is_group, is_ident, is_punct, line, modules, reexports, tokens,
    without_tests,
};

/// Past this a file holds more than one thing.
const LINES: usize = 500;

/// What each room may import from others. The edges have no cycle: the whole is built from the bottom up.
const EDGES: [(&str, Imports); 21] = [
    ("credential", Imports::Only(&[])),
    ("model", Imports::Only(&["credential"])),
    ("telemetry", Imports::Only(&[])),
    ("tls", Imports::Only(&[])),
    ("config", Imports::Only(&["tls", "model", "credential"])),
    ("board", Imports::Only(&["model", "telemetry"])),
    ("outgoing", Imports::Only(&[])),
    ("secrets", Imports::Only(&["outgoing", "model", "telemetry"])),
    ("index", Imports::Only(&["model", "credential", "telemetry"])),
    (
        "gateway",
        Imports::Only(&["config", "index", "board", "secrets", "tls", "model", "credential", "telemetry"]),
    ),
    ("store", Imports::Only(&["model", "credential", "telemetry"])),
    (
        "control",
        Imports::Only(&["store", "config", "index::Reached", "secrets", "model", "credential", "telemetry"]),
    ),
    ("sync", Imports::Only(&["store", "index", "board", "secrets", "model", "credential", "telemetry"])),
    ("leaks", Imports::Only(&["control", "config", "board", "outgoing", "model", "credential", "telemetry"])),
    (
        "admin",
        Imports::Only(&[
            "control",
            "index",
            "board",
            "leaks",
            "config",
            "tls",
            "model",
            "credential",
            "telemetry",
        ]),
    ),
    ("cli", Imports::Only(&["admin::wire", "leaks::scan", "config", "tls", "model", "credential"])),
    ("serve", Imports::AllBut(&["cli", "demo"])),
    ("demo", Imports::Only(&["serve", "cli::client", "config"])),
    ("main", Imports::Only(&["cli", "serve", "demo"])),
    // The map names the rooms and uses none.
    ("lib", Imports::Only(&[])),
    // Whatever a glob or a renamed crate brings in cannot be followed.
    ("*", Imports::Only(&[])),
];

enum Imports {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// One source file.
struct Source {
    path: PathBuf,
    text: String,
    /// Only compiled for tests and benchmarks.
    for_tests: bool,
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches"] {
        read_sources(root, Path::new(folder), &mut sources);
    }
    assert!(sources.len() > 10, "where are the sources?");
    let mut found = unreached(&mut sources);
    for source in &sources {
        found.extend(judge(source));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Everything wrong with one file.
fn judge(source: &Source) -> Vec<String> {
    let all = tokens(&source.text);
    let mut found = form(source);
    found.extend(silenced(source, &all));
    if !source.for_tests {
        let shipped = without_tests(&all);
        found.extend(forbidden_imports(source, &shipped));
        found.extend(foreign_reexports(source, &shipped));
        found.extend(panics(source, &shipped));
    }
    found
}

/// Length, head, and notes to oneself.
fn form(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let length = source.text.lines().count();
    if length > LINES {
        found.push(source.at(length, &format!("{length} lines: split it, {LINES} is the most")));
    }
    if !source.text.starts_with("//!") {
        found.push(source.at(1, "begins without a `//!` that says what the file is for"));
    }
    // Put together here, so that this file does not find itself.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for (number, text) in source.text.lines().enumerate() {
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        if let Some(note) = words.find(|word| notes.contains(word)) {
            found.push(source.at(number + 1, &format!("{note}: do it, or file it")));
        }
    }
    found
}

/// Lints allowed and tests ignored without a reason.
fn silenced(source: &Source, tokens: &[TokenTree]) -> Vec<String> {
    let mut found = Vec::new();
    for (attribute, line) in attributes(tokens) {
        each_level(&attribute, &mut |level| {
            for window in level.windows(2) {
                let reasons = is_group(&window[1], Delimiter::Parenthesis);
                let lint = is_ident(&window[0], "allow") || is_ident(&window[0], "expect");
                if lint && reasons.is_some_and(|inside| !inside.iter().any(|token| is_ident(token, "reason")))
                {
                    found.push(source.at(line, "a lint is silenced without `reason = \"…\"`"));
                }
            }
        });
        if attribute.first().is_some_and(|token| is_ident(token, "ignore")) {
            found.push(source.at(line, "a test is ignored: make it run, or remove it"));
        }
    }
    found
}

/// Paths into rooms that this file's room must not know.
fn forbidden_imports(source: &Source, shipped: &[TokenTree]) -> Vec<String> {
    let room = source.room();
    let root = if room == "main" { "portcullis" } else { "crate" };
    crate_paths(shipped, root, source.depth())
        .into_iter()
        .filter(|path| !may_import(&room, &path.segments))
        .map(|path| source.at(path.line, &format!("{room} must not import {}", path.segments.join("::"))))
        .collect()
}

fn may_import(room: &str, path: &[String]) -> bool {
    let Some(first) = path.first() else { return false };
    let known = |name: &str| EDGES.iter().any(|(known, _)| *known == name && name != "*");
    if first == room {
        return true;
    }
    known(first)
        && EDGES.iter().any(|(from, imports)| {
            *from == room
                && match imports {
                    Imports::Only(allowed) => allowed.iter().any(|allowed| {
                        let mut segments = path.iter();
                        allowed.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
                    }),
                    Imports::AllBut(forbidden) => !forbidden.contains(&first.as_str()),
                }
        })
}

/// Names of one room that another hands on as its own.
fn foreign_reexports(source: &Source, shipped: &[TokenTree]) -> Vec<String> {
    let room = source.room();
    let mut found = Vec::new();
    for reexport in reexports(shipped) {
        let line = reexport.first().map_or(1, line);
        let from_the_map = room == "lib" || room == "main";
        let paths = crate_paths(&reexport, "crate", source.depth());
        if from_the_map || paths.iter().any(|path| path.segments.first() != Some(&room)) {
            found.push(source.at(line, "`pub use` of another room: name it where it lives"));
        }
    }
    found
}

/// What can bring the program down, unless the line above says why it cannot.
fn panics(source: &Source, shipped: &[TokenTree]) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().collect();
    let mut found = Vec::new();
    each_level(shipped, &mut |level| {
        for window in level.windows(2) {
            let TokenTree::Ident(name) = &window[1] else { continue };
            let called = (is_punct(&window[0], '.') || is_punct(&window[0], ':'))
                && (name == "unwrap" || name == "expect");
            found.extend(called.then(|| (line(&window[1]), format!(".{name}()"))));
        }
        for window in level.windows(2) {
            let panicking = ["panic", "todo", "unimplemented", "unreachable"]
                .iter()
                .find(|name| is_ident(&window[0], name) && is_punct(&window[1], '!'));
            found.extend(panicking.map(|name| (line(&window[0]), format!("{name}!"))));
        }
    });
    found.retain(|(line, _)| {
        let above = line.checked_sub(2).and_then(|above| lines.get(above)).map_or("", |above| above.trim());
        let comment = above.starts_with("//") && !above.starts_with("///") && !above.starts_with("//!");
        !comment && !above.contains("reason =")
    });
    found
        .into_iter()
        .map(|(line, what)| source.at(line, &format!("{what} without a reason on the line above")))
        .collect()
}

/// Marks the files that only tests see, and finds those that nothing sees.
fn unreached(sources: &mut [Source]) -> Vec<String> {
    let contents: BTreeMap<_, _> =
        sources.iter().map(|source| (source.path.clone(), source.text.clone())).collect();
    let mut reached = BTreeMap::new();
    let mut ahead = vec![(PathBuf::from("src/lib.rs"), false), (PathBuf::from("src/main.rs"), false)];
    while let Some((path, for_tests)) = ahead.pop() {
        let Some(text) = contents.get(&path) else { continue };
        if reached.insert(path.clone(), for_tests).is_some() {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default();
        let owns_folder = ["lib", "main", "mod"].iter().any(|name| stem == *name);
        let folder = if owns_folder { path.with_file_name("") } else { path.with_extension("") };
        for (name, only_tests) in modules(&tokens(text)) {
            let seen_by_tests = for_tests || only_tests;
            ahead.push((folder.join(format!("{name}.rs")), seen_by_tests));
            ahead.push((folder.join(&name).join("mod.rs"), seen_by_tests));
        }
    }
    let mut found = Vec::new();
    for source in sources.iter_mut().filter(|source| source.path.starts_with("src")) {
        match reached.get(&source.path) {
            Some(for_tests) => source.for_tests = *for_tests,
            None => found.push(source.at(1, "no `mod` leads here: declare it or remove it")),
        }
    }
    found
}

fn read_sources(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries {
        let path = folder.join(entry.unwrap().file_name());
        if root.join(&path).is_dir() {
            read_sources(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path)).unwrap();
            sources.push(Source { for_tests: !path.starts_with("src"), path, text });
        }
    }
}

impl Source {
    /// The first name below `src`: a folder, or a file without its ending.
    fn room(&self) -> String {
        let first = self.path.components().nth(1).map(|name| name.as_os_str().to_string_lossy().into_owned());
        first.unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    /// How many `super` lead from this file's module to the crate's root.
    fn depth(&self) -> usize {
        let folders = self.path.components().count() - 1;
        let stem = self.path.file_stem().unwrap_or_default();
        folders - usize::from(["lib", "main", "mod"].iter().any(|name| stem == *name))
    }

    fn at(&self, line: usize, message: &str) -> String {
        format!("{}:{line}: {message}", self.path.display())
    }
}

mod samples {
    //! Each check, shown to find what it is for.

    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: format!("//! Sample.\n{text}"), for_tests: false }
    }

    fn found(path: &str, text: &str) -> String {
        judge(&source(path, text)).join("\n")
    }

    #[test]
    fn imports_off_the_edges_are_found_however_written() {
        for (path, text) in [
            ("src/gateway/route.rs", "use crate::store::Store;"),
            ("src/gateway/route.rs", "use crate::{model::Token, store};"),
            ("src/gateway/route.rs", "use crate::{model::{self, Token}, sync::{Feed as F}};"),
            ("src/gateway/route.rs", "fn f() -> crate::admin::wire::Token { g() }"),
            ("src/gateway/route.rs", "fn f() { matches!(x, Some(crate::control::Mint)) }"),
            ("src/gateway/route.rs", "use super::super::store::Store;"),
            ("src/gateway/mod.rs", "use super::store::Store;"),
            ("src/sync.rs", "use super::admin;"),
            ("src/gateway/mod.rs", "mod inner { use super::super::store::Store; }"),
            ("src/gateway/route.rs", "use crate::*;"),
            ("src/gateway/route.rs", "use crate as everything;"),
            ("src/control/token.rs", "use crate::index;"),
            ("src/control/token.rs", "use crate::index::Writer;"),
            ("src/control/token.rs", "use crate::index::{Reached, Index};"),
            ("src/cli/token.rs", "use crate::admin::problem::Problem;"),
            ("src/demo.rs", "use crate::cli::token;"),
            ("src/serve.rs", "use crate::cli::client::Client;"),
            ("src/model/token.rs", "use crate::index::Index;"),
            ("src/nowhere.rs", "use crate::model::Token;"),
            ("src/main.rs", "use portcullis::store::Store;"),
            ("src/lib.rs", "use crate::store::Store;"),
        ] {
            assert!(found(path, text).contains("must not import"), "{path}: {text}");
        }
    }

    #[test]
    fn imports_on_the_edges_pass() {
        for (path, text) in [
            ("src/gateway/route.rs", "use crate::{config, index::{Index, Identity}, model::{self, Token}};"),
            ("src/gateway/upstream/pool.rs", "use super::super::reject::Reject; use crate::gateway::route;"),
            ("src/gateway/mod.rs", "mod inner { use super::route; } pub(crate) fn f() {}"),
            ("src/control/token.rs", "use crate::index::Reached;"),
            ("src/cli/token.rs", "use super::client; use crate::admin::wire::{Page, Token};"),
            ("src/demo.rs", "use crate::{cli::client::Client, serve::Server};"),
            ("src/serve.rs", "use crate::{admin, gateway, store::Store};"),
            ("src/main.rs", "use portcullis::{cli::{self, Failure}, demo, serve::Server};"),
            ("src/gateway/route.rs", "#[cfg(test)] mod tests { use crate::store::Store; }"),
            ("src/gateway/route.rs", "#[cfg(test)] use crate::store::Store;"),
            ("src/gateway/route.rs", "// crate::store\nconst A: &str = \"crate::store\";"),
        ] {
            assert_eq!(found(path, text), "", "{path}: {text}");
        }
    }

    #[test]
    fn reexports_of_other_rooms_are_found() {
        for (path, text) in [
            ("src/config/mod.rs", "pub use crate::model::Token;"),
            ("src/config/mod.rs", "pub(crate) use crate::{model::Token};"),
            ("src/config/mod.rs", "mod a { pub use super::super::model::Token; }"),
            ("src/lib.rs", "pub mod model; pub use model::Token;"),
        ] {
            assert!(found(path, text).contains("`pub use`"), "{text}");
        }
        assert_eq!(
            found("src/config/mod.rs", "mod load; pub use load::Loaded; pub use crate::config::a;"),
            ""
        );
    }

    #[test]
    fn panics_need_a_reason() {
        for text in [
            "fn f() { a.unwrap() }",
            "fn f() { a.expect(\"b\") }",
            "fn f() { a.map(Result::unwrap) }",
            "fn f() { panic!(\"b\") }",
            "fn f() { g(|| todo!()) }",
            "fn f() { unreachable!() }",
        ] {
            assert!(found("src/sync.rs", text).contains("without a reason"), "{text}");
        }
        for text in [
            "fn f() {\n    // Just inserted.\n    a.unwrap()\n}",
            "fn f() { a.unwrap_or_default() }",
            "#[cfg(test)]\nmod tests { fn f() { a.unwrap() } }",
            "#[cfg(all(test, unix))]\nfn f() { a.unwrap() }",
        ] {
            assert_eq!(found("src/sync.rs", text), "", "{text}");
        }
        assert!(found("src/sync.rs", "#[cfg(not(test))] fn f() { a.unwrap() }").contains("without a reason"));
        assert!(
            found("src/sync.rs", "#[cfg(test)] use b; fn f() { a.unwrap() }").contains("without a reason")
        );
    }

    #[test]
    fn silenced_lints_need_a_reason_and_no_test_is_ignored() {
        for text in [
            "#[allow(dead_code)] fn f() {}",
            "#![expect(unused)]",
            "#[cfg_attr(test, allow(unused))] fn f() {}",
        ] {
            assert!(found("src/sync.rs", text).contains("a lint is silenced"), "{text}");
        }
        assert_eq!(found("src/sync.rs", "#[expect(unused, reason = \"later\")] fn f() {}"), "");
        for text in [
            concat!("#[", "ignore] fn f() {}"),
            "#[cfg(test)] mod t { #[test] #[ ignore = \"slow\" ] fn f() {} }",
        ] {
            assert!(found("src/sync.rs", text).contains("a test is ignored"), "{text}");
        }
    }

    #[test]
    fn long_headless_and_unfinished_files_are_found() {
        assert!(found("src/sync.rs", &"\n".repeat(LINES)).contains("lines: split it"));
        let headless = Source { text: "fn f() {}".into(), ..source("src/sync.rs", "") };
        assert!(judge(&headless).join("").contains("begins without"));
        for note in [concat!("// TO", "DO: later"), concat!("// FIX", "ME"), concat!("/* XX", "X */")] {
            assert!(found("src/sync.rs", note).contains("do it, or file it"), "{note}");
        }
        assert_eq!(found("src/sync.rs", concat!("// A mktemp template ends in XX", "XXXX.")), "");
    }

    #[test]
    fn files_that_nothing_declares_are_found() {
        let mut sources = [
            source("src/lib.rs", "pub mod a; mod b;"),
            source("src/a.rs", "mod c; #[cfg(test)] mod tests;"),
            source("src/a/c.rs", ""),
            source("src/a/tests.rs", "fn f() { a.unwrap() }"),
            source("src/b/mod.rs", "mod d;"),
            source("src/b/d.rs", ""),
            source("src/c.rs", ""),
        ];
        let found = unreached(&mut sources);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("src/c.rs"));
        assert_eq!(sources.iter().filter(|source| source.for_tests).count(), 1);
        assert!(sources[3].for_tests);
    }
}
