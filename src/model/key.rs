//! Management keys and what they may do.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{AppName, KeyId, MemberName, Status};

/// One thing a management key may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Read,
    Mint,
    Deploy,
    Delete,
    Secrets,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Mint, Self::Deploy, Self::Delete, Self::Secrets, Self::Admin];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Mint => "mint",
            Self::Deploy => "deploy",
            Self::Delete => "delete",
            Self::Secrets => "secrets",
            Self::Admin => "admin",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    #[must_use]
    pub fn every() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether `scope` is in the set; `admin` is everything.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0 || self.0 & (1 << Scope::Admin as u8) != 0
    }

    /// The scopes as given, in their fixed order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & (1 << *scope as u8) != 0)
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

/// A management key as stored, without its value.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: KeyId,
    pub member: MemberName,
    /// Whether that member was removed: whoever bears the name now is another.
    pub orphaned: bool,
    pub scopes: Scopes,
    pub app: Option<AppName>,
    pub label: String,
    pub hint: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// When it was seen to have ended: for it, time does not go back behind that.
    pub seen_ended: Option<Timestamp>,
    /// By itself, or with its member.
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    pub last_used_at: Option<Timestamp>,
    pub last_used_from: Option<IpAddr>,
}

impl Key {
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked_at.is_some() {
            Status::Revoked
        } else if self.has_expired(now) {
            Status::Expired
        } else {
            Status::Active
        }
    }

    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        let now = self.seen_ended.map_or(now, |seen| now.max(seen));
        self.expires_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_everything_and_nothing_else_is() {
        let admin: Scopes = [Scope::Admin].into_iter().collect();
        let read: Scopes = [Scope::Read].into_iter().collect();
        for scope in Scope::ALL {
            assert!(admin.allow(scope));
            assert_eq!(read.allow(scope), scope == Scope::Read);
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scopes::every().iter().count(), 6);
    }
}
