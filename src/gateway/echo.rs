//! The echo guard: an app that reflects what its requests were given must not show callers the secrets in it. What is
//! found in an answer is replaced by a mark.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, response};
use memchr::{memchr, memchr_iter, memchr3, memmem};

use super::inject::Injected;
use super::spelling::MARKS;
use crate::secrets::Value;

/// Stands where a secret was.
const MARK: &[u8] = b"[redacted]";
/// How far into a body it is searched.
const REACH: usize = 1 << 20;

/// Searches one body, piece by piece.
#[derive(Debug)]
pub(super) struct Redactor {
    injected: Arc<Injected>,
    /// The end of what came, where it may be the beginning of a secret.
    held: Vec<u8>,
    /// How much further it is searched.
    left: usize,
}

/// A body that was to be searched, and cannot be.
#[derive(Debug)]
pub(super) struct Compressed;

/// Replaces secrets in the values of fields; returns how many there were.
pub(super) fn clean(fields: &mut HeaderMap, injected: &Injected) -> u64 {
    let mut found = 0;
    for value in fields.values_mut() {
        if let (Some((cleaned, count)), _) = redact(value.as_bytes(), injected, true) {
            // What stood around it was valid.
            *value =
                HeaderValue::try_from(cleaned).unwrap_or_else(|_| HeaderValue::from_static("[redacted]"));
            found += count;
        }
    }
    found
}

impl Redactor {
    /// For an answer whose body is to be searched. Its length may change: the head must not tell it any more.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub(super) fn new(
        injected: &Arc<Injected>,
        method: &Method,
        head: &mut response::Parts,
    ) -> Result<Option<Box<Self>>, Compressed> {
        let empty = *method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !injected.bodies || empty || !is_text(&head.headers) {
            return Ok(None);
        }
        if is_compressed(&head.headers) {
            return Err(Compressed);
        }
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::ACCEPT_RANGES);
        Ok(Some(Box::new(Self { injected: injected.clone(), held: Vec::new(), left: REACH })))
    }

    /// What may go out of what has come so far, and how many secrets were replaced in it.
    pub(super) fn push(&mut self, data: Bytes) -> (Bytes, u64) {
        if self.left == 0 && self.held.is_empty() {
            return (data, 0);
        }
        self.left = self.left.saturating_sub(data.len());
        let all = if self.held.is_empty() {
            data
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(&data);
            Bytes::from(all)
        };
        let (cleaned, end) = redact(&all, &self.injected, self.left == 0);
        self.held.extend_from_slice(&all[end..]);
        cleaned.map_or_else(|| (all.slice(..end), 0), |(cleaned, count)| (Bytes::from(cleaned), count))
    }

    /// The same of what was held back, once nothing follows.
    pub(super) fn finish(&mut self) -> (Bytes, u64) {
        let held = std::mem::take(&mut self.held);
        let (cleaned, _) = redact(&held, &self.injected, true);
        cleaned.map_or_else(|| (Bytes::from(held), 0), |(cleaned, count)| (Bytes::from(cleaned), count))
    }
}

/// With the mark in the place of every secret, and how many that were, `None` where there is none; and up to where that
/// is. Unless the text `is_all`, it ends where a secret may begin that goes on behind it: another that lies within that
/// one is then left for when that is known.
fn redact(text: &[u8], injected: &Injected, is_all: bool) -> (Option<(Vec<u8>, u64)>, usize) {
    let secrets: &[_] = &sought(text, injected);
    let (mut cleaned, mut count, mut done) = (Vec::new(), 0, 0);
    // Where each comes next: a text may be full of them, and is gone through once for each secret and no more.
    let find = |secret: &[u8], from| {
        let rest = text.get(from..).filter(|rest| rest.len() >= secret.len())?;
        Some(from + memmem::find(rest, secret)?)
    };
    let mut next: Vec<_> = secrets
        .iter()
        .flat_map(|part| *part)
        .filter_map(|value| Some((find(value.reveal(), 0)?, value.reveal())))
        .collect();
    let open = |done| if is_all { text.len() } else { open(text, done, secrets) };
    let mut end = open(0);
    // Of several that begin at once, the longest.
    while let Some((at, secret)) =
        next.iter().min_by_key(|(at, secret)| (*at, Reverse(secret.len()))).copied()
        && at < end
    {
        cleaned.extend_from_slice(&text[done..at]);
        cleaned.extend_from_slice(MARK);
        (done, count) = (at + secret.len(), count + 1);
        next.retain_mut(|(at, secret)| {
            if *at >= done {
                return true;
            }
            let found = find(secret, done);
            *at = found.unwrap_or(done);
            found.is_some()
        });
        if done > end {
            end = open(done);
        }
    }
    if count == 0 {
        return (None, end);
    }
    cleaned.extend_from_slice(&text[done..end]);
    (Some((cleaned, count)), end)
}

/// What a text may hold. Without a mark in it, or without what all spellings begin with, one can at most begin there, and
/// then what it is of begins there too.
fn sought<'a>(text: &[u8], injected: &'a Injected) -> [&'a [Value]; 2] {
    let [percent, backslash, ampersand, plus] = MARKS;
    let marked = memchr3(percent, backslash, ampersand, text).is_some() || memchr(plus, text).is_some();
    let begun =
        || injected.beginnings.iter().any(|beginning| memmem::find(text, beginning.reveal()).is_some());
    [&injected.secrets, if marked && begun() { &injected.spelled } else { &[] }]
}

/// Where from `done` on a secret may begin that goes on behind the text.
fn open(text: &[u8], done: usize, secrets: &[&[Value]]) -> usize {
    let begins = |secret: &Value| {
        let secret = secret.reveal();
        let from = done.max((text.len() + 1).saturating_sub(secret.len()));
        let tail = text.get(from..)?;
        let initial = *secret.first()?;
        memchr_iter(initial, tail).find(|at| secret.starts_with(&tail[*at..])).map(|at| from + at)
    };
    secrets.iter().flat_map(|part| *part).filter_map(begins).min().unwrap_or(text.len())
}

fn is_compressed(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn is_text(fields: &HeaderMap) -> bool {
    let mut kinds = fields.get_all(header::CONTENT_TYPE).iter().peekable();
    // What a client is not told it guesses, as is the case with small servers' pages.
    kinds.peek().is_none() || kinds.any(names_text)
}

fn names_text(kind: &HeaderValue) -> bool {
    const WORDS: [&str; 10] = [
        "json",
        "jsonl",
        "xml",
        "javascript",
        "ecmascript",
        "x-www-form-urlencoded",
        "yaml",
        "toml",
        "graphql",
        "x-sh",
    ];
    let kinds = kind.to_str().unwrap_or_default().split(',');
    let kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let names_text = |kind: &str| {
        // What browsers guess about as well.
        matches!(kind, "" | "unknown/unknown" | "*/*")
            || ["text", "multipart/", "message/"].iter().any(|begin| kind.starts_with(begin))
            || WORDS.iter().any(|word| kind.ends_with(word))
    };
    kinds.into_iter().any(|kind| names_text(&kind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn injected(secrets: &[&str]) -> Injected {
        Injected::guarding(secrets.iter().map(|secret| Value::copied(secret)).collect())
    }

    #[test]
    fn what_may_be_shown_as_text_is_looked_through() {
        for (kind, is_text) in [
            ("text/html; charset=utf-8", true),
            ("", true),
            ("unknown/unknown", true),
            ("application/json, text/html", true),
            ("application/jsonl", true),
            ("multipart/form-data; boundary=a", true),
            ("image/svg+xml", true),
            ("image/png", false),
            ("application/octet-stream", false),
            ("application/grpc", false),
        ] {
            assert_eq!(names_text(&HeaderValue::from_static(kind)), is_text, "{kind}");
        }
    }

    fn in_pieces(secrets: &[&str], pieces: &[&[u8]]) -> (String, u64) {
        let mut redactor = Redactor { injected: Arc::new(injected(secrets)), held: Vec::new(), left: REACH };
        let (mut out, mut count) = (Vec::new(), 0);
        for piece in pieces {
            let (part, found) = redactor.push(Bytes::copy_from_slice(piece));
            out.extend_from_slice(&part);
            count += found;
        }
        let (rest, found) = redactor.finish();
        out.extend_from_slice(&rest);
        (String::from_utf8(out).unwrap(), count + found)
    }

    #[test]
    fn fields_lose_secrets_and_nothing_else() {
        let mut fields = HeaderMap::new();
        fields.append("a", HeaderValue::from_static("x hunter2 hunter2;"));
        fields.append("a", HeaderValue::from_static("hunter"));
        fields.append("b", HeaderValue::from_static("Basic hunter2hunter3"));
        let found = clean(&mut fields, &injected(&["hunter2", "hunter2hunter3"]));
        assert_eq!(found, 3);
        let values: Vec<_> = fields.values().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values, ["x [redacted] [redacted];", "hunter", "Basic [redacted]"]);
    }

    #[test]
    fn a_secret_across_pieces_is_found_and_what_only_begins_like_one_passes() {
        for (pieces, out, found) in [
            (&[&b"hunter2"[..]][..], "[redacted]", 1),
            (&[b"a hun", b"ter2 b"], "a [redacted] b", 1),
            (&[b"h", b"u", b"n", b"t", b"e", b"r", b"2"], "[redacted]", 1),
            (&[b"hunhunter2", b""], "hun[redacted]", 1),
            (&[b"hun", b"hun", b"ter", b"3"], "hunhunter3", 0),
            (&[b"the end is hunter"], "the end is hunter", 0),
            (&[b"hunter2hunt", b"er2"], "[redacted][redacted]", 2),
            (&[], "", 0),
        ] {
            assert_eq!(in_pieces(&["hunter2"], pieces), (out.to_owned(), found), "{pieces:?}");
        }
        assert_eq!(in_pieces(&["ababab", "abababcd"], &[b"xabab", b"abcd"]).0, "x[redacted]");
        let nested = ["PREFIX-hunter2-TAIL", "hunter2"];
        for (pieces, out) in [
            (&[&b"a PREFIX-hunter2"[..], b"-TAIL b"][..], "a [redacted] b"),
            (&[b"a PREFIX-hunter2", b" b"], "a PREFIX-[redacted] b"),
            (&[b"a PREFIX-hunter2"], "a PREFIX-[redacted]"),
        ] {
            assert_eq!(in_pieces(&nested, pieces), (out.to_owned(), 1), "{pieces:?}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_body_is_searched() {
        let long = vec![b'x'; REACH];
        let (out, found) = in_pieces(&["hunter2"], &[b"hunter2", &long, b"hunter2"]);
        assert_eq!((found, out.ends_with("xhunter2")), (1, true));
    }

    #[test]
    fn text_is_told_by_its_type() {
        for (kind, encoding, text) in [
            ("text/html; charset=utf-8", "", true),
            ("application/json", "identity", true),
            ("application/problem+json", "", true),
            ("text/event-stream", "", true),
            ("text/html", "gzip", true),
            ("image/png", "", false),
            ("application/octet-stream", "", false),
            ("", "", true),
            ("", "gzip", true),
        ] {
            let mut fields = HeaderMap::new();
            for (name, value) in [("content-type", kind), ("content-encoding", encoding)] {
                if !value.is_empty() {
                    fields.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(
                (is_text(&fields), is_compressed(&fields)),
                (text, encoding == "gzip"),
                "{kind} {encoding}"
            );
            fields.append("content-type", HeaderValue::from_static("text/plain"));
            assert!(is_text(&fields), "{kind} and text");
        }
    }

    proptest! {
        /// The same of spellings, which are looked for only where a mark is in sight.
        #[test]
        fn cuts_make_no_difference_to_spellings(
            text in proptest::collection::vec("ab|ab/|ab/c&d|ab%2F|ab%2Fc%26d|c&amp;d|ab/c&amp;d|[+]ab|x", 0..30),
            cuts in proptest::collection::vec(0_usize..200, 0..8),
        ) {
            let text = text.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
            let secrets = ["ab/c&d", "+ab/c&d"];
            let (out, found) = in_pieces(&secrets, &pieces);
            prop_assert!(["ab/c&d", "ab%2Fc%26d", "ab/c&amp;d"].iter().all(|secret| !out.contains(secret)), "{}", out);
            prop_assert_eq!((out, found), in_pieces(&secrets, &[text.as_bytes()]));
        }

        /// However a text is cut, no secret comes through, and what holds none comes through as it is.
        #[test]
        fn cuts_make_no_difference(
            text in proptest::collection::vec("ab|abc|abab|c|x", 0..40),
            secrets in proptest::sample::subsequence(vec!["ababab", "abababcab", "babcab", "bc", "xc"], 1..5),
            cuts in proptest::collection::vec(0_usize..120, 0..8),
        ) {
            let text = text.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
            let (out, found) = in_pieces(&secrets, &pieces);
            prop_assert_eq!((out, found), in_pieces(&secrets, &[text.as_bytes()]));
            let (out, found) = in_pieces(&secrets[..1], &pieces);
            prop_assert_eq!(out, text.replace(secrets[0], "[redacted]"));
            prop_assert_eq!(found as usize, text.matches(secrets[0]).count());
        }
    }
}
