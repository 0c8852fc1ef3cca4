//! Paths as rules see them: patterns, and the paths on which every server agrees.

use std::fmt;

/// Why a pattern was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("a path begins with `/`")]
    Relative,
    #[error("a `*` stands at the end of a path and nowhere else")]
    Star,
    #[error(
        "this path means different things to different servers: no `//`, `.` or `..` segments, `;`, `\\`, `%2F` and the like"
    )]
    Doubtful,
}

/// A path that every server reads the same way. Only such a path can satisfy a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainPath<'a>(&'a str);

impl<'a> PlainPath<'a> {
    /// `None` if two servers could disagree about `path`: by decoding it once, twice or not at all, by folding its
    /// segments, or by cutting path parameters off. Reference: RFC 3986, sections 3.3 and 6.2.
    #[must_use]
    pub fn new(path: &'a str) -> Option<Self> {
        let segments = path.strip_prefix('/')?.split('/');
        let count = segments.clone().count();
        let plain = segments.enumerate().all(|(place, segment)| {
            // An empty segment is fine only as the end of a folder's path.
            let whole = !segment.is_empty() || place + 1 == count;
            whole && segment != "." && segment != ".." && are_plain(segment.as_bytes())
        });
        plain.then_some(Self(path))
    }
}

/// RFC 3986's path characters less `;`, with every escape one of a character that no server acts on.
fn are_plain(mut segment: &[u8]) -> bool {
    while let Some((byte, rest)) = segment.split_first() {
        segment = match byte {
            b'%' => {
                let [high, low, rest @ ..] = rest else { return false };
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
                let decoded = (high << 4 | low) as u8;
                if decoded.is_ascii_control()
                    || matches!(decoded, b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#')
                {
                    return false;
                }
                rest
            }
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => rest,
            b'-' | b'.' | b'_' | b'~' => rest,
            byte if byte.is_ascii_alphanumeric() => rest,
            _ => return false,
        };
    }
    true
}

/// A path, or with a `*` at its end everything that begins with what stands before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    Exact(Box<str>),
    Prefix(Box<str>),
}

impl PathPattern {
    /// # Errors
    /// When `text` is no such pattern, or one that no plain path could match.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if !text.starts_with('/') {
            return Err(InvalidPattern::Relative);
        }
        let (path, prefix) = match text.strip_suffix('*') {
            Some(path) => (path, true),
            None => (text, false),
        };
        if path.contains('*') {
            return Err(InvalidPattern::Star);
        }
        PlainPath::new(path).ok_or(InvalidPattern::Doubtful)?;
        Ok(if prefix { Self::Prefix(path.into()) } else { Self::Exact(path.into()) })
    }

    #[must_use]
    pub fn matches(&self, path: PlainPath<'_>) -> bool {
        match self {
            Self::Exact(exact) => path.0 == &**exact,
            Self::Prefix(prefix) => path.0.starts_with(&**prefix),
        }
    }

    /// Whether it matches every path there is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if &**prefix == "/")
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_servers_agree_on() {
        for plain in
            ["/", "/a", "/a/", "/a/b.c", "/a..b/c", "/%20a", "/a%C3%A9", "/a:b@c,d=e+f*g", "/.well-known/x"]
        {
            assert!(PlainPath::new(plain).is_some(), "{plain}");
        }
    }

    #[test]
    fn paths_that_servers_may_disagree_on() {
        for doubtful in [
            "",
            "*",
            "a",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e%2e/a",
            "/%2E",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;b",
            "/..;/a",
            "/a%3bb",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/%252e",
            "/a%",
            "/a%2",
            "/a%zz",
            "/é",
            "/a b",
            "/a\"b",
            "/a#b",
            "/a%23",
            "/a?b",
            "/a%3fb",
            "/a|b",
            "/a[b",
            "/a\u{7f}",
        ] {
            assert!(PlainPath::new(doubtful).is_none(), "{doubtful}");
        }
    }

    #[test]
    fn patterns_match_exactly_or_by_what_they_begin_with() {
        let matches = |pattern: &str, path: &str| {
            PlainPath::new(path).is_some_and(|path| PathPattern::parse(pattern).unwrap().matches(path))
        };
        assert!(matches("/assets/*", "/assets/") && matches("/assets/*", "/assets/a/b"));
        assert!(!matches("/assets/*", "/assets") && !matches("/assets/*", "/assets/../admin"));
        assert!(
            matches("/health", "/health")
                && !matches("/health", "/health/")
                && !matches("/health", "/Health")
        );
        assert!(matches("/a*", "/ab/c") && matches("/*", "/"));
        assert_eq!(PathPattern::parse("a"), Err(InvalidPattern::Relative));
        assert_eq!(PathPattern::parse("/*/a"), Err(InvalidPattern::Star));
        assert_eq!(PathPattern::parse("/a/**"), Err(InvalidPattern::Star));
        assert_eq!(PathPattern::parse("/a/../b"), Err(InvalidPattern::Doubtful));
        assert!(PathPattern::parse("/*").unwrap().is_everything());
    }

    proptest! {
        /// Whatever a server does to a plain path (decode, fold, cut), a rule's verdict stays the same.
        #[test]
        fn decoding_and_folding_do_not_lead_out_of_a_prefix(rest in "[a-z./%2eEfF5cC;\\\\0]{0,20}") {
            let path = format!("/public/{rest}");
            if let Some(plain) = PlainPath::new(&path) {
                prop_assert!(PathPattern::parse("/public/*").unwrap().matches(plain));
                let decoded = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
                prop_assert!(!decoded.contains("..") || !decoded.split('/').any(|segment| segment == ".."));
                prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
            }
        }
    }
}
