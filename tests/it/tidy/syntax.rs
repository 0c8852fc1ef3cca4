//! Just enough of Rust's syntax to judge a source file: its tokens, the paths in it, and what is test code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path such as `crate::index::Reached`, from the crate's root, and the line it is on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CratePath {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// The tokens of a file, comments left out.
pub(super) fn tokens(text: &str) -> Vec<TokenTree> {
    text.parse::<TokenStream>().expect("the compiler takes this file").into_iter().collect()
}

/// The same without items that only tests see.
pub(super) fn without_tests(tokens: &[TokenTree]) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        let attribute = rest.as_slice().first();
        if is_punct(token, '#') && attribute.is_some_and(is_cfg_test) {
            // The item ends with its body, or with a semicolon where it has none.
            rest.find(|token| is_punct(token, ';') || is_group(token, Delimiter::Brace).is_some());
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let mut stripped =
                    proc_macro2::Group::new(group.delimiter(), without_tests(&inner).into_iter().collect());
                stripped.set_span(group.span());
                stripped.into()
            }
            other => other.clone(),
        });
    }
    kept
}

/// Calls `visit` with every level of nesting: the tokens themselves, then the insides of their groups.
pub(super) fn each_level(tokens: &[TokenTree], visit: &mut impl FnMut(&[TokenTree])) {
    visit(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            each_level(&group.stream().into_iter().collect::<Vec<_>>(), visit);
        }
    }
}

/// Every path from the crate's root: those that begin with `root`, and those that climb there with `super` from a
/// module `depth` levels down.
pub(super) fn crate_paths(tokens: &[TokenTree], root: &str, depth: usize) -> Vec<CratePath> {
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(ident) if ident == root => {
                if is_path_separator(tokens, at) {
                    at = leaves(tokens, at + 2, &[], &mut paths);
                } else if tokens.get(at).is_some_and(|next| is_ident(next, "as")) {
                    // The whole crate under another name would hide every path through it.
                    paths.push(CratePath { segments: vec!["*".into()], line: line(token) });
                }
            }
            TokenTree::Ident(ident) if ident == "super" => {
                let mut climbed = 1;
                while is_path_separator(tokens, at)
                    && tokens.get(at + 2).is_some_and(|t| is_ident(t, "super"))
                {
                    climbed += 1;
                    at += 3;
                }
                if climbed >= depth && is_path_separator(tokens, at) {
                    at = leaves(tokens, at + 2, &[], &mut paths);
                }
            }
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let module =
                    at >= 3 && is_ident(&tokens[at - 3], "mod") && group.delimiter() == Delimiter::Brace;
                paths.extend(crate_paths(&inner, root, depth + usize::from(module)));
            }
            _ => {}
        }
    }
    paths
}

/// What each `pub use`, of whatever reach, names: the tokens up to its semicolon.
pub(super) fn reexports(tokens: &[TokenTree]) -> Vec<Vec<TokenTree>> {
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for (at, token) in level.iter().enumerate() {
            let mut next = at + 1;
            if !is_ident(token, "pub") {
                continue;
            }
            if level.get(next).is_some_and(|token| is_group(token, Delimiter::Parenthesis).is_some()) {
                next += 1;
            }
            if level.get(next).is_some_and(|token| is_ident(token, "use")) {
                let path = level[next + 1..].iter().take_while(|token| !is_punct(token, ';'));
                found.push(path.cloned().collect());
            }
        }
    });
    found
}

/// Names in `mod name;`, each with whether only tests see it.
pub(super) fn modules(tokens: &[TokenTree]) -> Vec<(String, bool)> {
    let declared = |tokens: &[TokenTree]| -> Vec<String> {
        tokens
            .windows(3)
            .filter(|window| is_ident(&window[0], "mod") && is_punct(&window[2], ';'))
            .map(|window| window[1].to_string())
            .collect()
    };
    let shipped = declared(&without_tests(tokens));
    declared(tokens)
        .into_iter()
        .map(|name| {
            let for_tests = !shipped.contains(&name);
            (name, for_tests)
        })
        .collect()
}

/// The insides of every attribute.
pub(super) fn attributes(tokens: &[TokenTree]) -> Vec<(Vec<TokenTree>, usize)> {
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for (at, token) in level.iter().enumerate() {
            if !is_punct(token, '#') {
                continue;
            }
            let inner = level.get(at + 1).is_some_and(|token| is_punct(token, '!'));
            let group = level.get(at + 1 + usize::from(inner)).and_then(|t| is_group(t, Delimiter::Bracket));
            found.extend(group.map(|group| (group, line(token))));
        }
    });
    found
}

pub(super) fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

pub(super) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

pub(super) fn is_group(token: &TokenTree, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match token {
        TokenTree::Group(group) if group.delimiter() == delimiter => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}

pub(super) fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at..at + 2), Some([a, b]) if is_punct(a, ':') && is_punct(b, ':'))
}

/// `[cfg(test)]` or `[cfg(all(test, …))]`.
fn is_cfg_test(attribute: &TokenTree) -> bool {
    let inner = is_group(attribute, Delimiter::Bracket).unwrap_or_default();
    let [name, condition] = inner.as_slice() else { return false };
    let condition = is_group(condition, Delimiter::Parenthesis).unwrap_or_default();
    is_ident(name, "cfg")
        && match condition.as_slice() {
            [only] => is_ident(only, "test"),
            [all, list] if is_ident(all, "all") => is_group(list, Delimiter::Parenthesis)
                .unwrap_or_default()
                .split(|token| is_punct(token, ','))
                .any(|part| matches!(part, [only] if is_ident(only, "test"))),
            _ => false,
        }
}

/// Collects the paths that continue `prefix` from `at` on; returns where they end.
fn leaves(tokens: &[TokenTree], mut at: usize, prefix: &[String], paths: &mut Vec<CratePath>) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(ident) if ident != "self" => segments.push(ident.to_string()),
            TokenTree::Punct(star) if star.as_char() == '*' => segments.push("*".into()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punct(token, ',')).filter(|part| !part.is_empty()) {
                    leaves(part, 0, &segments, paths);
                }
                return at + 1;
            }
            _ => {}
        }
        at += 1;
        if !is_path_separator(tokens, at) {
            paths.push(CratePath { segments, line: line(token) });
            return at;
        }
        at += 2;
    }
    at
}
