//! What a request's own address says about signing in: where to go on after it, and what the session is to be like.

use http::Uri;
use http::uri::PathAndQuery;

use super::query;
use crate::model::Landing;

/// What a request asks of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Usual,
    /// To stay as it is.
    NoSession,
    /// To be usable in frames of other sites.
    Frames,
}

/// The name of the pair that tells the wish.
pub const WISH: &str = "portcullis-session";

impl Wish {
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        let text = uri.query().unwrap_or_default();
        let mut wishes = query::pairs(text, WISH).map(|pair| &text[pair.value]);
        match wishes.next() {
            Some("none") => Self::NoSession,
            Some("samesite-none") => Self::Frames,
            _ => Self::Usual,
        }
    }
}

/// Where a request went, without the pair that carried a token (`parameter` names it) and without the wish.
#[must_use]
pub fn landing(target: &PathAndQuery, parameter: Option<&str>) -> Option<Landing> {
    let mut text = target.as_str().to_owned();
    for name in [parameter, Some(WISH)].into_iter().flatten() {
        text = query::remove_from_url(&text, name).unwrap_or(text);
    }
    Landing::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signed_in_goes_and_the_rest_stays() {
        let of = |target: &str| {
            landing(&target.parse().unwrap(), Some("t")).map(|landing| landing.as_str().to_owned())
        };
        assert_eq!(of("/a?t=x&portcullis-session=samesite-none&b=1%2f").as_deref(), Some("/a?b=1%2f"));
        assert_eq!(of("/a?%74=x").as_deref(), Some("/a"));
        assert_eq!(of("//evil.example/?t=x"), None);
    }

    #[test]
    fn wishes_are_read_from_the_query() {
        let wish = |query: &str| Wish::of(&format!("/?{query}").parse().unwrap());
        assert_eq!(wish("a&portcullis-session=none"), Wish::NoSession);
        assert_eq!(wish("portcullis%2Dsession=samesite-none"), Wish::Frames);
        assert_eq!(wish("portcullis-session=else"), Wish::Usual);
        assert_eq!(wish("none"), Wish::Usual);
    }
}
