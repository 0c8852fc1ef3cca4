//! What a token may be used for: methods and a path, as in `GET,HEAD /healthz`.

use std::fmt;

use http::Method;

use super::{InvalidPattern, PathPattern, PlainPath};

/// Why a scope was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    #[error("a scope is methods, one space and a path, as in `GET,HEAD /healthz` or `* /api/*`")]
    Shape,
    #[error("the methods of a scope are HTTP methods joined by `,`, or `*` alone for every method")]
    Method,
    #[error("in a scope {0}")]
    Path(#[from] InvalidPattern),
}

/// Methods, and the paths that they may be used on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenScope {
    /// Empty: every method.
    methods: Box<[Method]>,
    path: PathPattern,
}

impl TokenScope {
    /// # Errors
    /// When `text` is no such scope, or one that nothing could satisfy.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let (methods, path) = text.split_once(' ').ok_or(InvalidScope::Shape)?;
        let methods = match methods {
            "*" => Box::default(),
            listed => listed.split(',').map(method).collect::<Result<_, _>>()?,
        };
        Ok(Self { methods, path: PathPattern::parse(path)? })
    }

    #[must_use]
    pub fn allows(&self, method: &Method, path: PlainPath<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(method)) && self.path.matches(path)
    }
}

fn method(name: &str) -> Result<Method, InvalidScope> {
    // A `*` is a token by HTTP's grammar, but whoever writes it among others means something else.
    if name.contains('*') {
        return Err(InvalidScope::Method);
    }
    Method::from_bytes(name.as_bytes()).map_err(|_| InvalidScope::Method)
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.methods.is_empty() {
            f.write_str("*")?;
        }
        for (place, method) in self.methods.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{method}")?;
        }
        write!(f, " {}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_as_written() {
        for text in ["GET /healthz", "GET,HEAD /healthz", "POST /webhooks/*", "* /api/*", "PURGE /", "get /a"]
        {
            assert_eq!(TokenScope::parse(text).unwrap().to_string(), text);
        }
        let wrong = |text| TokenScope::parse(text).unwrap_err();
        for text in ["", "GET", "/healthz", "GET\t/a"] {
            assert_eq!(wrong(text), InvalidScope::Shape, "{text:?}");
        }
        for text in
            [" /a", ", /a", "GET, /a", "GET,* /a", "G\u{e9}T /a", "GET/HEAD /a", "** /a", "\"GET\" /a"]
        {
            assert_eq!(wrong(text), InvalidScope::Method, "{text:?}");
        }
        assert_eq!(wrong("GET  /a"), InvalidScope::Path(InvalidPattern::Relative));
        assert_eq!(wrong("GET *"), InvalidScope::Path(InvalidPattern::Relative));
        assert_eq!(wrong("GET /a*/b"), InvalidScope::Path(InvalidPattern::Star));
        assert_eq!(wrong("GET /a/../b"), InvalidScope::Path(InvalidPattern::Doubtful));
    }

    #[test]
    fn a_scope_wants_its_method_and_its_path() {
        let allows = |scope: &str, method: &str, path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            PlainPath::new(path).is_some_and(|path| TokenScope::parse(scope).unwrap().allows(&method, path))
        };
        assert!(allows("GET,HEAD /healthz", "HEAD", "/healthz"));
        assert!(!allows("GET,HEAD /healthz", "POST", "/healthz"));
        assert!(!allows("GET /healthz", "get", "/healthz"), "methods have case");
        assert!(!allows("GET /healthz", "HEAD", "/healthz"), "only what is listed");
        assert!(allows("* /api/*", "PURGE", "/api/a/b") && !allows("* /api/*", "GET", "/api"));
        assert!(!allows("* /*", "GET", "/a//b"));
    }
}
