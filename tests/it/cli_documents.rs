//! What the program generates about its own command line.

use std::collections::BTreeSet;
use std::fs;

use crate::support::program::Program;

/// Every command, as its own help tells them: the words that lead to each.
pub(crate) fn commands(program: &Program) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![Vec::<String>::new()];
    while let Some(words) = ahead.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = program.run(&arguments).stdout;
        let listed = help.split("Commands:\n").nth(1).unwrap_or_default().lines();
        let names = listed.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            ahead.push([&words[..], &[name.to_owned()]].concat());
        }
        found.insert(words);
    }
    found
}

#[test]
fn shells_complete_every_command() {
    let program = Program::sound();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = program.run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stderr.is_empty(), "{shell}: {ran:?}");
        for word in ["token", "rotate", "external-access", "--expires", "--follow"] {
            // Fish and PowerShell name options without their dashes.
            assert!(ran.stdout.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
    }
    let unknown = program.run(&["completions", "tcsh"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("bash"), "{unknown:?}");
    assert_eq!(program.run(&["completions", "bash", "--config", "x"]).code, 2);
}

#[test]
fn every_command_has_a_manual_page() {
    let program = Program::sound();
    let page = program.run(&["man"]);
    assert!(page.code == 0 && page.stdout.contains(".TH portcullis 1"), "{page:?}");
    assert_eq!(program.run(&["man", "--out", "pages"]).code, 0);
    let names = fs::read_dir(program.path("pages")).unwrap().map(|entry| entry.unwrap().file_name());
    let pages: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
    for words in commands(&program) {
        let name = [&["portcullis".to_owned()], &words[..]].concat().join("-") + ".1";
        assert!(pages.contains(&name), "{name}: {pages:?}");
    }
}
