//! Credentials that were found where they do not belong, or that are used as if somebody had found them.

use jiff::Timestamp;

use super::LeakId;

/// How it came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeakKind {
    /// Somebody who held it said so.
    Report,
    /// A browser told an app the address of a page, with the token in it.
    Referer,
    /// A program that looks at links for others came with a token in its link.
    Crawler,
    /// It was revoked, and requests with it keep coming.
    RevokedInUse,
    /// It was used from a network that it had not been used from before.
    NewNetwork,
}

impl LeakKind {
    pub const ALL: [Self; 5] =
        [Self::Report, Self::Referer, Self::Crawler, Self::RevokedInUse, Self::NewNetwork];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Referer => "referer",
            Self::Crawler => "crawler",
            Self::RevokedInUse => "revoked_in_use",
            Self::NewNetwork => "new_network",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeakDone {
    Revoked,
    /// It ends sooner than it would have.
    Grace,
    AlreadyEnded,
    /// Its owner was warned.
    Warned,
}

impl LeakDone {
    const ALL: [Self; 4] = [Self::Revoked, Self::Grace, Self::AlreadyEnded, Self::Warned];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Grace => "grace",
            Self::AlreadyEnded => "already_ended",
            Self::Warned => "warned",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|done| done.as_str() == name)
    }
}

/// A leak or a warning, as it is remembered after the credential itself is forgotten.
#[derive(Clone, Debug)]
pub struct Leak {
    pub id: LeakId,
    pub kind: LeakKind,
    /// The id of the token or management key.
    pub subject: String,
    /// Who found it.
    pub source: String,
    /// Where it was, as the source has it; empty where that is not known.
    pub place: String,
    /// Whose it is; `None`: the operator's.
    pub member: Option<String>,
    pub app: Option<String>,
    pub environment: Option<String>,
    pub label: String,
    pub hint: String,
    pub done: LeakDone,
    /// When it ends, where it was left to live for a while.
    pub ends_at: Option<Timestamp>,
    /// From where a sign of it came last.
    pub client: Option<String>,
    /// What that called itself.
    pub agent: Option<String>,
    /// How often it was told of, or seen.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}
