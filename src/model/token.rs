//! External access tokens, without their values.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::{EnvironmentName, Lifetime, MemberName, OnPublish, Rules, TokenApp, TokenId};

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

/// How a revocation came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

/// The publish that replaced a token's deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub at: Timestamp,
    /// The id that was published.
    pub deployment: String,
    pub by: String,
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
    pub rules: Rules,
    pub hint: String,
    pub created_at: Timestamp,
    /// `None`: the operator.
    pub created_by: Option<MemberName>,
    /// Whether that member was removed: whoever bears the name now is another.
    pub orphaned: bool,
    pub expires_at: Option<Timestamp>,
    /// How long it lives in all, for a successor to have the same; `None`: for ever.
    pub lifetime: Option<Lifetime>,
    /// How long it was meant to when it was minted, whatever brought its end forward since; `None`: for ever.
    pub minted_for: Option<Lifetime>,
    /// Where live tokens are counted, it is in the place of its predecessor until then, as long as that one lives.
    pub counts_from: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub last_used_from: Option<IpAddr>,
    /// By itself, or with its member.
    pub revoked: Option<Ended>,
    pub replaced: Option<Replaced>,
    /// When it was seen to have ended: for it, time does not go back behind that.
    pub seen_ended: Option<Timestamp>,
    pub predecessor: Option<TokenId>,
    pub successor: Option<TokenId>,
    /// Changes with each edit.
    pub revision: u64,
}

impl Token {
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.replaced_at(now).is_some() {
            Status::Replaced
        } else if self.expires_at.is_some_and(|end| end <= self.judged_at(now)) {
            Status::Expired
        } else {
            Status::Active
        }
    }

    /// When it ended because its deployment was replaced, if it has by `now`.
    #[must_use]
    pub fn replaced_at(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.replaced.as_ref()?.at.as_millisecond();
        let ended = self.on_publish.has_ended(at, self.judged_at(now).as_millisecond());
        self.grace_ends_at().filter(|_| ended)
    }

    fn judged_at(&self, now: Timestamp) -> Timestamp {
        self.seen_ended.map_or(now, |seen| now.max(seen))
    }

    /// When the grace ends, or has ended, that the publish of another deployment left it.
    #[must_use]
    pub fn grace_ends_at(&self) -> Option<Timestamp> {
        let end = self.on_publish.end(self.replaced.as_ref()?.at.as_millisecond())?;
        Timestamp::from_millisecond(end).ok()
    }

    /// When it will end by itself, as far as is known: by its expiry, or with the grace that a publish left it.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.grace_ends_at(), self.expires_at].into_iter().flatten().min()
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
}
