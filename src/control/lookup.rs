//! Telling what credentials are by their digests, so that whoever finds one need not send it.

use jiff::Timestamp;

use super::{Caller, Control, Fault, Faults};
use crate::credential::{Digest, Kind};
use crate::model::{Key, Scope, Status, Token};
use crate::store::Held;

/// Digests that are looked up at once.
const MOST: usize = 500;

/// Whose digests they are, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct LookUp {
    pub digests: Option<Vec<String>>,
    pub faults: Faults,
}

/// What a credential is, and how it stands.
#[derive(Debug)]
pub struct Found {
    pub holding: Holding,
    pub status: Status,
}

/// What it is of; `None` where the caller may not see that.
#[derive(Debug)]
pub enum Holding {
    Token(Option<Box<Token>>),
    Key(Option<Box<Key>>),
}

impl Control {
    /// What these digests are of. Whoever has a digest has held the credential, so is told whether it lives, as its
    /// holder would be; whose it is, only who may see that.
    ///
    /// # Errors
    /// When the caller may not, the digests are none, or the store cannot be read.
    pub async fn look_up(&self, caller: &Caller, asked: LookUp) -> Result<Vec<(Digest, Found)>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let digests = digests(asked.digests.as_deref(), &mut faults);
        faults.none()?;
        let now = self.now();
        let held = self.store.held(digests).await?;
        Ok(held.into_iter().map(|(digest, held)| (digest, caller.found(held, now))).collect())
    }
}

impl Holding {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Token(_) => Kind::Token,
            Self::Key(_) => Kind::Key,
        }
    }
}

impl Caller {
    /// What is held, as far as the caller may see it.
    pub(super) fn found(&self, held: Held, now: Timestamp) -> Found {
        match held {
            Held::Token(token) => {
                let status = token.status(now);
                let visible = self.may_see_token(&token).then_some(token);
                Found { holding: Holding::Token(visible), status }
            }
            Held::Key(key) => {
                let status = key.status(now);
                let visible = self.may_see_key(&key).then_some(key);
                Found { holding: Holding::Key(visible), status }
            }
        }
    }
}

fn digests(asked: Option<&[String]>, faults: &mut Faults) -> Vec<Digest> {
    let Some(asked) = asked else {
        faults.add("digests", "is missing: a list of the SHA-256 digests of tokens and management keys");
        return Vec::new();
    };
    if asked.len() > MOST {
        faults.add("digests", format!("must be at most {MOST}"));
        return Vec::new();
    }
    let digests = asked.iter().map(|text| Digest::parse(text)).collect::<Option<Vec<_>>>();
    if digests.is_none() {
        faults
            .add("digests", "each must be 64 lower-case hexadecimal digits: the SHA-256 of the whole value");
    }
    digests.unwrap_or_default()
}
