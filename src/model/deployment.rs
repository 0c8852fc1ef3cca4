//! Published releases of an environment.

use std::fmt;

use jiff::Timestamp;

use super::{Lifetime, Upstream};

/// The deployment an environment serves before anything was published to it.
pub const INITIAL_DEPLOYMENT: &str = "initial";

/// Why an id was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a deployment is 1 to 128 letters, digits, `-`, `_`, `.`, `:`, `+`, `@`, and begins with a letter or digit"
)]
pub struct InvalidDeployment;

/// What a deployment is called: a commit, a version, a colour.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeploymentId(Box<str>);

impl DeploymentId {
    /// # Errors
    /// When `id` is empty, too long, or holds a character that ids may not.
    pub fn parse(id: &str) -> Result<Self, InvalidDeployment> {
        let shaped = (1..=128).contains(&id.len())
            && id.starts_with(|c: char| c.is_ascii_alphanumeric())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:+@".contains(c));
        shaped.then(|| Self(id.into())).ok_or(InvalidDeployment)
    }

    #[must_use]
    pub fn initial() -> Self {
        Self(INITIAL_DEPLOYMENT.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A deployment as stored. An id that is published again after another has a number of its own: what ended with the
/// earlier one stays ended.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: DeploymentId,
    /// 0 for the one that nobody published.
    pub number: u32,
    /// `None` for the one that nobody published.
    pub published_at: Option<Timestamp>,
    pub published_by: Option<String>,
    /// Of the last release under this id; `None`: those of `proxy.toml`.
    pub upstreams: Option<Vec<Upstream>>,
    pub released_at: Option<Timestamp>,
    pub current: bool,
    pub archived_at: Option<Timestamp>,
}

/// What publishing another deployment does to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPublish {
    Stop,
    Keep,
    /// Lives on this long.
    Grace(Lifetime),
}

impl OnPublish {
    /// Reads `stop`, `keep` or `grace:24h`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "stop" => Some(Self::Stop),
            "keep" => Some(Self::Keep),
            _ => Lifetime::parse(text.strip_prefix("grace:")?).ok().map(Self::Grace),
        }
    }

    /// As one number, for keeping many.
    #[must_use]
    pub const fn packed(self) -> u64 {
        match self {
            Self::Stop => 0,
            Self::Keep => 1,
            Self::Grace(lifetime) => lifetime.packed() << 8 | 2,
        }
    }

    /// What was packed.
    #[must_use]
    pub const fn unpacked(packed: u64) -> Self {
        match packed & 0xff {
            1 => Self::Keep,
            2 => Self::Grace(Lifetime::unpacked(packed >> 8)),
            _ => Self::Stop,
        }
    }

    /// When a token ends whose deployment was replaced at `at`; `None`: it does not. In Unix milliseconds.
    #[must_use]
    pub fn end(self, at: i64) -> Option<i64> {
        match self {
            Self::Stop => Some(at),
            Self::Keep => None,
            Self::Grace(lifetime) => {
                let end = lifetime.after(Timestamp::from_millisecond(at).ok()?)?;
                Some(end.as_millisecond())
            }
        }
    }

    /// Whether a token has ended by `now` whose deployment was replaced at `at`. What stops has, whatever the clock
    /// says: it may have been set back since.
    #[must_use]
    pub fn has_ended(self, at: i64, now: i64) -> bool {
        self.end(at).is_some_and(|end| end <= now.max(at))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_deployers_have() {
        for good in ["initial", "blue", "v1.2.3+4", "8ff97c0", "2026-07-01T12:00", "a@b"] {
            assert_eq!(DeploymentId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "a b", "a/b", "é", "a\n", &"a".repeat(129)] {
            assert!(DeploymentId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn publishing_rules_read_as_written() {
        for text in ["stop", "keep", "grace:24h", "grace:1mo"] {
            assert_eq!(OnPublish::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "Stop", "grace", "grace:", "grace:1", "grace:24h "] {
            assert_eq!(OnPublish::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn grace_counts_from_the_publish_that_replaced() {
        let rule = |text| OnPublish::parse(text).unwrap();
        let day = 86_400_000;
        assert_eq!(rule("grace:24h").end(5), Some(day + 5));
        assert!(!rule("grace:24h").has_ended(5, day + 4) && rule("grace:24h").has_ended(5, day + 5));
        assert!(rule("grace:0s").has_ended(5, 5) && rule("grace:0s").has_ended(5, 0));
        assert!(rule("stop").has_ended(5, 0), "a step back of the clock revives nothing");
        assert!(!rule("keep").has_ended(5, i64::MAX));
        let thirty_first = "2027-01-31T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(rule("grace:1mo").end(thirty_first), Some(thirty_first + 28 * day));
    }
}
