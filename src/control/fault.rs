//! Why a command was refused.

use percent_encoding::percent_decode;

use crate::credential::{Kind, LENGTH, Plaintext};
use crate::model::Text;
use crate::store::{NotDone, Refused, StoreError};

/// Faults told at once: the fields of a stranger are as many as the stranger likes.
const TOLD: usize = 50;
/// How often text is decoded in search of a credential: whoever passes addresses on may have encoded them again.
const DECODED: usize = 8;

/// What is wrong with text that holds a credential.
pub(super) const CREDENTIAL: &str =
    "holds a token, a management key or a link that signs in: those are never stored";

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    pub field: String,
    pub message: String,
}

/// Everything wrong with a request's fields, the first fault of each.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<FieldFault>);

impl Faults {
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        if self.0.len() < TOLD && !self.0.iter().any(|fault| fault.field == field) {
            self.0.push(FieldFault { field: field.to_owned(), message: message.into() });
        }
    }

    /// Takes the good out of `result`, or notes what is wrong with `field`.
    pub fn take<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(field, e.to_string())).ok()
    }

    /// Takes what `parse` makes of a name, but never a credential: what was written here would be shown for years.
    pub(super) fn name<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if holds_credential(text) {
            self.add(field, CREDENTIAL);
        }
        self.take(field, parse(text))
    }

    /// Takes free text, but never a credential: what was written here would be shown for years.
    pub(super) fn text<const MAX: usize>(&mut self, field: &str, text: Option<&str>) -> Option<Text<MAX>> {
        let text = text.unwrap_or_default();
        if holds_credential(text) {
            self.add(field, CREDENTIAL);
        }
        self.take(field, Text::parse(text))
    }

    /// What was added so far.
    #[must_use]
    pub fn told(&self) -> &[FieldFault] {
        &self.0
    }

    /// # Errors
    /// When anything was added.
    pub fn none(self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Invalid(self.0)) }
    }
}

/// Why a command was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing, or none that the caller may see.
    #[error("there is no such {0}, or none that you may see")]
    NotFound(&'static str),
    #[error("the request has {} wrong or missing fields", .0.len())]
    Invalid(Vec<FieldFault>),
    /// The caller's key or member ended while the call was under way.
    #[error("the management key is no longer in force")]
    Unauthorized,
    #[error("{0}")]
    Conflict(String),
    #[error(
        "{live} tokens {} live already, and `tokens.{}` is {limit}: revoke one that is not needed", if *.per_member { "of this member" } else { "of all members" }, if *.per_member { "max_active_per_member" } else { "max_active" }
    )]
    Limit { per_member: bool, limit: u64, live: u64 },
    #[error("it was changed since: read it again, and edit what is there now")]
    Stale,
    #[error(transparent)]
    Unavailable(StoreError),
    #[error(
        "looking for that took too long and was given up: ask for less, as in one environment of one app"
    )]
    Slow,
    /// What exactly is wrong with the key is in the log.
    #[error("the key that secrets are sealed with cannot be used: nothing was changed")]
    NoKey,
    #[error("the operating system gives no randomness: {0}")]
    NoRandomness(#[from] getrandom::Error),
}

impl Fault {
    /// Why the store did not do something to a `noun`.
    pub(super) fn refused(error: NotDone, noun: &'static str) -> Self {
        let refused = match error {
            NotDone::Unavailable(e) => return e.into(),
            NotDone::Refused(refused) => refused,
        };
        match refused {
            Refused::Caller => Self::Unauthorized,
            Refused::Missing => Self::NotFound(noun),
            Refused::Stale => Self::Stale,
            Refused::Limit { per_member, limit, live } => Self::Limit { per_member, limit, live },
            Refused::Ended(status) => {
                Self::Conflict(format!("the token is {}: only an active one can be rotated", status.as_str()))
            }
            Refused::Graced(end) => Self::Conflict(format!(
                "the token's deployment was replaced, and a successor would end with it at {}: mint a new token",
                end.strftime("%Y-%m-%dT%H:%M:%SZ")
            )),
            Refused::Rotated(successor) => {
                Self::Conflict(format!("the token was rotated before: its successor is {successor}"))
            }
            Refused::Later => Self::field("expires_at", "can only be brought forward"),
            Refused::Taken => Self::Conflict("a member of this name is there already".to_owned()),
            Refused::LastAdmin => Self::Conflict(
                "no other management key may do everything for as long: only the operator, on the admin socket, can end the \
                 last that may"
                    .to_owned(),
            ),
            Refused::Current => {
                Self::Conflict("the environment serves this deployment: publish another first".to_owned())
            }
            Refused::Unopened(name, why) => Self::Conflict(format!(
                "the secret {name} does not open ({why}), so that nothing was sealed anew: set it again or delete it"
            )),
            Refused::Repeated(_) => Self::Conflict("the same call was made before".to_owned()),
            Refused::Reused => Self::field("Idempotency-Key", "was used for another request in the last 24 hours"),
        }
    }

    /// One wrong field.
    pub(super) fn field(field: &str, message: &str) -> Self {
        Self::Invalid(vec![FieldFault { field: field.to_owned(), message: message.to_owned() }])
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Slow => Self::Slow,
            StoreError::Unavailable(_) => Self::Unavailable(error),
        }
    }
}

/// Whether text would show a credential wherever it is shown, also to those who decode it as an address.
pub(super) fn holds_credential(text: &str) -> bool {
    decodings(text).is_none_or(|all| all.iter().any(|text| shows_credential(text)))
}

/// Text as it is and as it is decoded, until that changes nothing; `None` where that takes longer than any honest
/// address.
pub(super) fn decodings(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut all = vec![text.as_bytes().to_vec()];
    for _ in 0..DECODED {
        let last = all.last()?;
        let decoded: Vec<u8> = percent_decode(last).collect();
        if decoded == *last {
            return Some(all);
        }
        all.push(decoded);
    }
    None
}

fn shows_credential(text: &[u8]) -> bool {
    text.windows(LENGTH)
        .any(|found| Kind::ALL.into_iter().any(|kind| Plaintext::parse(kind, found).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_holds_no_credential() {
        let value = Plaintext::generate(Kind::Token).unwrap();
        let mut faults = Faults::default();
        assert!(faults.text::<120>("label", Some("é pct_ pct_short")).is_some());
        faults.text::<120>("label", Some(&format!("leaked: {}!", value.reveal())));
        faults.text::<120>("label", Some("a\nb"));
        for prefix in ["%70ct_", "p%63%74_", "%2570ct_", "%25252570ct_", "%25252525252525252570ct_"] {
            assert!(holds_credential(&format!("x={prefix}{}", &value.reveal()[4..])), "{prefix}");
        }
        assert!(!holds_credential("100%, %zz and %70ct_"));
        let Err(Fault::Invalid(faults)) = faults.none() else { panic!("nothing was found") };
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].message.starts_with("holds a token") && !faults[0].message.contains(value.reveal())
        );
    }
}
