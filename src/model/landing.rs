//! Where a browser goes on once it is signed in: a path of the app's host and nothing else, or we would send people with
//! our name on it wherever somebody wanted.

use std::fmt;

use http::uri::PathAndQuery;

/// Paths under this are the gateway's own on every host.
pub const RESERVED: &str = "/.portcullis/";
/// Longer ones are given up: nobody typed them.
const LONGEST: usize = 2048;

/// A path of a host, with its query, that every browser takes for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing(PathAndQuery);

impl Landing {
    /// Takes a target as somebody wrote it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Browsers cut control characters and blanks out, and take a backslash for a slash.
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#');
        let local = text.starts_with('/') && !text.starts_with("//") && text.len() <= LONGEST;
        let landing = Self(text.parse().ok().filter(|_| local && text.bytes().all(plain))?);
        (!landing.0.path().starts_with(RESERVED)).then_some(landing)
    }

    #[must_use]
    pub fn front() -> Self {
        Self(PathAndQuery::from_static("/"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_paths_of_this_host_are_landed_on() {
        for good in ["/", "/a/b?c=d&e", "/?", "/a//b", "/%5C", "/a?b=//c", "/%2F%2Fevil.example"] {
            assert_eq!(
                Landing::parse(good).map(|landing| landing.as_str().to_owned()).as_deref(),
                Some(good)
            );
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "\t//evil.example",
            "/ /evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "?a",
            "*",
            "/a\r\nSet-Cookie: a=b",
            "/a#b",
            "/é",
            "/.portcullis/session",
            &long,
        ] {
            assert_eq!(Landing::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        /// As browsers read a `Location` (the URL standard's parser, as far as it decides about the host).
        #[test]
        fn no_landing_leaves_the_host(text in "[/\\\\\\t\\n a.:@?#-]{0,12}") {
            if let Some(landing) = Landing::parse(&text) {
                let seen: String = landing.as_str().chars().filter(|c| !"\t\n\r".contains(*c)).collect();
                let seen = seen.trim().replace('\\', "/");
                prop_assert!(seen.starts_with('/') && !seen.starts_with("//"), "{seen}");
            }
        }
    }
}
