//! The query form of a token: finding its pair, and taking that pair out while leaving every other byte alone.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// The first pair of a query whose decoded name is `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Name, `=` and value, without the `&` on either side.
    pub whole: Range<usize>,
    /// The value as sent; empty where there is no `=`.
    pub value: Range<usize>,
}

/// Finds the pairs of `query` (without its `?`) that are named `name`.
pub fn pairs<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Pair> + 'a {
    let first = name.bytes().next();
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        // However a name is encoded, that makes it no shorter.
        let text = rest.filter(|text| text.len() >= name.len())?;
        let end = memchr(b'&', text.as_bytes()).unwrap_or(text.len());
        let start = query.len() - text.len();
        rest = text.get(end + 1..);
        Some(start..start + end)
    })
    .filter_map(move |whole| {
        let pair = &query[whole.clone()];
        // Most differ in the first character already, which means another only where it is one of two.
        let begin = pair.bytes().next();
        if pair.len() < name.len() || begin != first && !matches!(begin, Some(b'%' | b'+')) {
            return None;
        }
        let (found, value) = match memchr(b'=', pair.as_bytes()) {
            Some(equals) => (&pair[..equals], whole.start + equals + 1..whole.end),
            None => (pair, whole.end..whole.end),
        };
        is_name(found, name).then_some(Pair { whole, value })
    })
}

/// Percent-decodes `value` into `buffer`; `None` where it does not fill it exactly.
#[must_use]
pub fn decode<const N: usize>(value: &str) -> Option<[u8; N]> {
    if memchr(b'%', value.as_bytes()).is_none() {
        return value.as_bytes().try_into().ok();
    }
    let mut decoded = percent_encoding::percent_decode_str(value);
    let mut buffer = [0; N];
    for place in &mut buffer {
        *place = decoded.next()?;
    }
    decoded.next().is_none().then_some(buffer)
}

/// `query` without every pair named `name`, each taken out with one `&`; `None` if there is none.
#[must_use]
pub fn remove(query: &str, name: &str) -> Option<String> {
    let mut rest = query.to_owned();
    loop {
        let Some(Pair { whole, .. }) = pairs(&rest, name).next() else { break };
        let cut = match whole.start.checked_sub(1) {
            Some(ampersand) => ampersand..whole.end,
            None => 0..rest.len().min(whole.end + 1),
        };
        rest.replace_range(cut, "");
    }
    (rest.len() != query.len()).then_some(rest)
}

/// `target` (a path or URL with or without a query and a fragment) without every pair named `name` in its query;
/// `None` if there is none.
#[must_use]
pub fn remove_from_url(target: &str, name: &str) -> Option<String> {
    let (before, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
    let (path, query) = before.split_once('?')?;
    let rest = remove(query, name)?;
    let mark = if rest.is_empty() { "" } else { "?" };
    Some(format!("{path}{mark}{rest}{fragment}"))
}

fn is_name(found: &str, name: &str) -> bool {
    if memchr2(b'%', b'+', found.as_bytes()).is_some() {
        // `+` is a space in forms, and nobody's parameter name holds one by accident.
        let plain = found.bytes().map(|byte| if byte == b'+' { b' ' } else { byte });
        let mut wanted = name.bytes();
        let mut found = DecodeBytes(plain);
        loop {
            match (found.next(), wanted.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }
    found == name
}

/// Percent-decoding over any bytes, since `+` is translated first.
struct DecodeBytes<I>(I);

impl<I: Iterator<Item = u8> + Clone> Iterator for DecodeBytes<I> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let byte = self.0.next()?;
        if byte != b'%' {
            return Some(byte);
        }
        let mut ahead = self.0.clone();
        let mut digit = || (ahead.next()? as char).to_digit(16);
        let Some(decoded) = digit().and_then(|high| Some((high << 4 | digit()?) as u8)) else {
            return Some(byte);
        };
        self.0 = ahead;
        Some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_pair_goes_with_one_ampersand() {
        for (query, rest) in [
            ("t=x", Some("")),
            ("t=x&b=2", Some("b=2")),
            ("a=1&t=x", Some("a=1")),
            ("a=1&t=x&b=2", Some("a=1&b=2")),
            ("a=1&&t=x&&b=2", Some("a=1&&&b=2")),
            ("&t=x", Some("")),
            ("t=x&", Some("")),
            ("t", Some("")),
            ("%74=x&a=%zz", Some("a=%zz")),
            ("t=1&t=2&c", Some("c")),
            ("tt=x", None),
            ("T=x", None),
            ("", None),
            ("a=t", None),
        ] {
            assert_eq!(remove(query, "t").as_deref(), rest, "{query}");
        }
    }

    #[test]
    fn urls_keep_their_fragments_and_lose_an_emptied_query() {
        assert_eq!(remove_from_url("http://a/b?t=x#t=y", "t").as_deref(), Some("http://a/b#t=y"));
        assert_eq!(remove_from_url("/b?a&t=x", "t").as_deref(), Some("/b?a"));
        assert_eq!(remove_from_url("/b#?t=x", "t"), None);
        assert_eq!(remove_from_url("/b", "t"), None);
    }

    #[test]
    fn values_decode_to_an_exact_length() {
        assert_eq!(decode::<3>("a%62c"), Some(*b"abc"));
        assert_eq!(decode::<3>("abcd"), None);
        assert_eq!(decode::<3>("ab"), None);
        assert_eq!(decode::<3>("%2"), None);
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z%&=+;?/]{0,6}",
            Just("t=x".to_owned()),
            Just("%74=1".to_owned()),
            Just("a=1".to_owned()),
            Just(String::new()),
        ]
    }

    proptest! {
        /// The reference: split at `&`, drop the named pairs, join again.
        #[test]
        fn what_remains_is_the_rest_byte_for_byte(pieces in proptest::collection::vec(piece(), 0..8)) {
            let query = pieces.join("&");
            let named = |pair: &&str| {
                let name = pair.split('=').next().unwrap().replace('+', " ");
                percent_encoding::percent_decode_str(&name).eq(*b"t")
            };
            let rest: Vec<&str> = query.split('&').filter(|pair| !named(pair)).collect();
            let expected = (rest.len() != query.split('&').count()).then(|| rest.join("&"));
            prop_assert_eq!(remove(&query, "t"), expected);
        }

        #[test]
        fn any_text_is_taken(query: String, name in "[a-z]{1,3}") {
            let rest = remove(&query, &name).unwrap_or(query);
            prop_assert_eq!(pairs(&rest, &name).count(), 0);
            let _ = remove_from_url(&rest, &name);
        }
    }
}
