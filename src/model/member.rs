//! Who uses the admin side.

use std::fmt;

use jiff::Timestamp;

use super::MemberName;

/// Why an address was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address of at most 254 characters, as in `ann@example.com`")]
pub struct InvalidEmail;

/// Where a member gets mail. Whether it arrives is for the mail to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(Box<str>);

impl Email {
    /// # Errors
    /// When `text` cannot be an address, or holds what has a meaning in mail headers.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
        let fits = text.len() <= 254 && !local.is_empty() && !domain.is_empty();
        let shaped = fits && local.chars().all(plain) && domain.chars().all(plain);
        shaped.then(|| Self(text.into())).ok_or(InvalidEmail)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member who was not removed.
#[derive(Clone, Debug)]
pub struct Member {
    /// Grows with each member; one added again after a removal has another.
    pub number: i64,
    pub name: MemberName,
    pub email: Option<Email>,
    pub created_at: Timestamp,
    /// Changes with each edit.
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_nothing_that_mail_would_act_on() {
        for good in ["ann@example.com", "a+b@localhost", "é@exämple.org"] {
            assert_eq!(Email::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "ann",
            "@a",
            "a@",
            "a b@c",
            "a@b\r\nBcc: x@y",
            "<a@b>",
            "a@b, c@d",
            "a@b@c",
            "\"a\"@b",
            &format!("{}@b", "a".repeat(254)),
        ] {
            assert_eq!(Email::parse(bad), Err(InvalidEmail), "{bad:?}");
        }
    }
}
