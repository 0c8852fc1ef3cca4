//! Names of apps, environments and members.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Why a name was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 letters, digits, `-`, `_`{also}, and begins with a letter or digit", also = .0)]
pub struct InvalidName(&'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $also:literal, $listed:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// # Errors
            /// When `name` is empty, too long, or holds a character that names may not.
            pub fn parse(name: &str) -> Result<Self, InvalidName> {
                let shaped = (1..=64).contains(&name.len())
                    && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c) || $also.contains(c));
                shaped.then(|| Self(name.into())).ok_or(InvalidName($listed))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// An app as `proxy.toml` names it.
    AppName, "", ""
);
name!(
    /// An environment of an app: `development`, `production`, or another.
    EnvironmentName, "", ""
);
name!(
    /// A person or automation that uses the admin side.
    MemberName, ".@+", ", `.`, `@`, `+`"
);

/// A name as a small number, equal exactly where the names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameRef(NonZeroU32);

impl NameRef {
    /// The number of the name that came after `before` others.
    #[must_use]
    pub fn nth(before: usize) -> Self {
        let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    /// Never zero.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// The name with this number; `None` for zero.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }
}

/// What a token opens: one app, or every app that has the token's environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenApp {
    Every,
    One(AppName),
}

impl TokenApp {
    /// # Errors
    /// When `app` is neither `*` nor a name.
    pub fn parse(app: &str) -> Result<Self, InvalidName> {
        if app == "*" { Ok(Self::Every) } else { AppName::parse(app).map(Self::One) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Every => "*",
            Self::One(app) => app.as_str(),
        }
    }
}

impl fmt::Display for TokenApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_no_surprises() {
        for good in ["a", "shop", "Shop-2_x", "0"] {
            assert_eq!(AppName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a b", "a/b", "é", "*", "a\n", &"a".repeat(65)] {
            assert!(AppName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MemberName::parse("ann+ci@example.com").is_ok());
        assert_eq!(TokenApp::parse("*").unwrap(), TokenApp::Every);
    }
}
