//! Rules on text: paths, queries, tokens and the configuration.

use std::path::Path;

use percent_encoding::percent_decode;
use proptest::prelude::*;

use portcullis::config;
use portcullis::credential::{Kind, Plaintext};
use portcullis::gateway::query;
use portcullis::model::{PathPattern, PlainPath};

use super::fuzz;
use super::mutate::{Sample, mutated};

const NAME: &str = "project-protection-bypass";

fn texts(samples: &[&str], pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let samples = samples.iter().map(|sample| sample.as_bytes().to_vec()).collect();
    mutated(samples, pieces).prop_map(|Sample(bytes)| String::from_utf8_lossy(&bytes).into_owned())
}

fn decode(path: &str) -> String {
    percent_decode(path.as_bytes()).decode_utf8_lossy().into_owned()
}

/// RFC 3986, section 5.2.4, as a server would that folds segments.
fn fold(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<_> = path.split('/').collect();
    for (place, segment) in segments.iter().enumerate() {
        let last = place + 1 == segments.len();
        match *segment {
            "." => kept.extend(last.then_some("")),
            ".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
                kept.extend(last.then_some(""));
            }
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

#[test]
fn a_path_that_a_rule_may_take_is_the_same_for_every_server() {
    let samples =
        ["/", "/public/a", "/public/a/b.c", "/public/%20a/%C3%A9", "/a..b/.c/d~e", "/public/../admin", "/x/"];
    let pieces = &[
        "..", "/", "//", "/./", "/../", "%2e", "%2E%2e", "%2f", "%5C", "\\", ";", ";x=y", "%3b", "%00",
        "%25", "%252e", "#", "?", "%23", "%3f", "%0a", "%c0%ae", "%u002e", "*", "public", "é",
    ];
    fuzz(texts(&samples, pieces), |path| {
        let Some(plain) = PlainPath::new(&path) else { return Ok(()) };
        let once = decode(&path);
        let twice = decode(&once);
        prop_assert_eq!(&once, &twice);
        for text in [&path, &once] {
            prop_assert_eq!(&fold(text), text);
            prop_assert_eq!(&text.replace('\\', "/"), text);
            prop_assert_eq!(&text.replace("//", "/"), text);
            for cut in [';', '?', '#', '\0', '\r', '\n'] {
                prop_assert!(!text.contains(cut), "{:?} in {:?}", cut, text);
            }
        }
        prop_assert_eq!(once.matches('/').count(), path.matches('/').count());
        prop_assert!(path.parse::<http::uri::PathAndQuery>().is_ok_and(|parsed| parsed.path() == path));
        // What a rule lets through stays below it, whoever reads it.
        for pattern in ["/public/*", "/public/a", "/*"] {
            let pattern = PathPattern::parse(pattern).unwrap();
            if pattern.matches(plain) {
                match &pattern {
                    PathPattern::Exact(exact) => prop_assert_eq!(&**exact, &*once),
                    PathPattern::Prefix(prefix) => prop_assert!(once.starts_with(&**prefix)),
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_pattern_that_is_taken_reads_back() {
    let pieces = &["*", "/*", "//", "..", "%2e", "/"];
    fuzz(texts(&["/", "/a/*", "/assets/x.css", "/*"], pieces), |text| {
        if let Ok(pattern) = PathPattern::parse(&text) {
            prop_assert_eq!(pattern.to_string(), text);
        }
        Ok(())
    });
}

#[test]
fn once_the_token_is_taken_out_no_pair_of_its_name_is_left_and_the_rest_is_untouched() {
    let samples = [
        "project-protection-bypass=pct_x",
        "a=1&project-protection-bypass=pct_x&b=2",
        "a=1&&%70roject-protection-bypass=1&project-protection-bypass",
        "q=project-protection-bypass&x=%26project-protection-bypass%3D1",
    ];
    let pieces = &[
        "&",
        "&&",
        "=",
        "%26",
        "%3D",
        "%",
        "%2",
        "+",
        ";",
        "#",
        "?",
        "project-protection-bypass=",
        "%2D",
        "%2d",
        "&project-protection-bypass=pct_y&",
        "project%2dprotection%2Dbypass",
    ];
    fuzz(texts(&samples, pieces), |query| {
        // The reference: split, decode the names, drop, join.
        let named = |pair: &str| {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            percent_decode(name.as_bytes()).eq(NAME.bytes())
        };
        let kept: Vec<_> = query.split('&').filter(|pair| !named(pair)).collect();
        let changed = kept.len() != query.split('&').count();
        let removed = query::remove(&query, NAME);
        prop_assert_eq!(&removed, &changed.then(|| kept.join("&")));
        let rest = removed.unwrap_or_else(|| query.clone());
        prop_assert_eq!(query::pairs(&rest, NAME).count(), 0);
        prop_assert_eq!(query::remove(&rest, NAME), None);

        // The same within a URL: only what stands between the first `?` and the first `#` is a query.
        let url = format!("/p/{query}?{query}#{query}");
        let (before, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
        let expected = before.split_once('?').and_then(|(path, query)| {
            let rest = query::remove(query, NAME)?;
            Some(if rest.is_empty() {
                format!("{path}{fragment}")
            } else {
                format!("{path}?{rest}{fragment}")
            })
        });
        prop_assert_eq!(query::remove_from_url(&url, NAME), expected);
        Ok(())
    });
}

/// The token format in other words: the checksum is recomputed here.
#[test]
fn nothing_but_a_token_reads_as_one() {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    fn checksum(random: &[u8]) -> Vec<u8> {
        let mut sum = u64::from(crc32fast::hash(random));
        let mut digits = vec![b'0'; 6];
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[(sum % 62) as usize];
            sum /= 62;
        }
        digits
    }
    let samples = [
        b"pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17".to_vec(),
        b"pct_0000000000000000000000000000002C8GjS".to_vec(),
        b"pcm_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17".to_vec(),
    ];
    let random = prop::collection::vec(prop::sample::select(&DIGITS[..]), 30)
        .prop_map(|random| Sample([b"pct_", &random[..], &checksum(&random)].concat()));
    let near = mutated(samples.to_vec(), &["pct_", "pcm_", "PCT_", "0", "z", "-", "_", " ", "é"]);
    fuzz(prop_oneof![near, random], |Sample(bytes)| {
        for (kind, prefix) in [(Kind::Token, b"pct_"), (Kind::Key, b"pcm_")] {
            let sound = bytes.len() == 40
                && bytes.starts_with(prefix)
                && bytes[4..].iter().all(u8::is_ascii_alphanumeric)
                && bytes[34..] == checksum(&bytes[4..34]);
            let parsed = Plaintext::parse(kind, &bytes);
            prop_assert_eq!(parsed.is_some(), sound);
            prop_assert!(parsed.is_none_or(|token| token.reveal().as_bytes() == bytes));
        }
        Ok(())
    });
}

#[test]
fn any_configuration_is_judged() {
    let samples = [include_str!("../../../proxy.toml.example"), MINIMAL];
    let pieces = &[
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        "\"",
        "'",
        "\"\"\"",
        "#",
        ",",
        ".",
        "\n",
        "\u{0}",
        "é",
        "-",
        "0x",
        "1e9",
        "99999999999999999999",
        "true",
        "[apps.shop]",
        "[apps.shop.environments.production]",
        "\"$Secret{KEY}\"",
        "1979-05-27T07:32:00Z",
        "..",
        "\\u0000",
        "0s",
        "-1",
    ];
    fuzz(texts(&samples, pieces), |text| {
        match config::parse(&text, Path::new("proxy.toml"), Path::new("."), []) {
            Ok(loaded) => prop_assert!(loaded.config.apps.iter().all(|app| !app.environments.is_empty())),
            Err(error) => {
                let told = error.to_string();
                prop_assert!(!told.is_empty());
                for mistake in told.lines() {
                    prop_assert!(mistake.starts_with("proxy.toml:"), "{}", told);
                }
            }
        }
        Ok(())
    });
}

const MINIMAL: &str = r#"
[apps.shop.environments.production]
hosts = ["shop.localhost", "*.shop.localhost"]
upstreams = ["http://127.0.0.1:3000", "unix:/run/app.sock"]
public_paths = ["/assets/*"]
timeouts = { connect = "5s" }
"#;
