//! External access tokens, without their values.

use std::fmt;

use jiff::Timestamp;

use super::{EnvironmentName, MemberName, TokenApp, TokenId};

/// Why a label or a description was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("at most {0} characters")]
    TooLong(usize),
    #[error("no control characters")]
    Control,
}

/// Text of at most `MAX` Unicode scalar values and no control character.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text<const MAX: usize>(Box<str>);

/// What a token is called: at most 120 characters.
pub type Label = Text<120>;

impl<const MAX: usize> Text<MAX> {
    /// # Errors
    /// When `text` is too long or holds a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if text.chars().any(char::is_control) {
            return Err(InvalidText::Control);
        }
        if text.chars().nth(MAX).is_some() {
            return Err(InvalidText::TooLong(MAX));
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What publishing another deployment does to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPublish {
    Stop,
    Keep,
    /// Lives on this long.
    Grace(super::Lifetime),
}

impl OnPublish {
    /// Reads `stop`, `keep` or `grace:24h`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "stop" => Some(Self::Stop),
            "keep" => Some(Self::Keep),
            _ => super::Lifetime::parse(text.strip_prefix("grace:")?).ok().map(Self::Grace),
        }
    }
}

impl fmt::Display for OnPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("stop"),
            Self::Keep => f.write_str("keep"),
            Self::Grace(lifetime) => write!(f, "grace:{lifetime}"),
        }
    }
}

/// How a revocation came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

/// Where a token stands at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Expired,
    Revoked,
    Replaced,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Active, Self::Expired, Self::Revoked, Self::Replaced];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A token as stored.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: TokenId,
    pub label: Label,
    pub description: Text<1000>,
    pub app: TokenApp,
    pub environment: EnvironmentName,
    /// `None` for a token that opens every app: it is pinned to none.
    pub deployment: Option<String>,
    pub on_publish: OnPublish,
    pub hint: String,
    pub created_at: Timestamp,
    /// `None`: the operator.
    pub created_by: Option<MemberName>,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked: Option<Ended>,
}

impl Token {
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Status::Expired
        } else {
            Status::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_count_scalar_values_and_refuse_controls() {
        assert!(Label::parse(&"é".repeat(120)).is_ok());
        assert_eq!(Label::parse(&"é".repeat(121)), Err(InvalidText::TooLong(120)));
        assert_eq!(Label::parse("a\nb"), Err(InvalidText::Control));
        assert_eq!(Label::parse("").unwrap().as_str(), "");
    }

    #[test]
    fn publishing_rules_read_as_written() {
        for text in ["stop", "keep", "grace:24h"] {
            assert_eq!(OnPublish::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(OnPublish::parse("grace:"), None);
    }
}
