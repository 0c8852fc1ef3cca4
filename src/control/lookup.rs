//! Telling what credentials are by their digests, so that whoever finds one need not send it.

use super::{Caller, Control, Fault, Faults};
use crate::credential::Digest;
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

/// A digest that is of something.
#[derive(Debug)]
pub struct Found {
    pub digest: Digest,
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
    pub async fn look_up(&self, caller: &Caller, asked: LookUp) -> Result<Vec<Found>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let digests = digests(asked.digests.as_deref(), &mut faults);
        faults.none()?;
        let now = self.now();
        let held = self.store.held(digests).await?;
        let told = held.into_iter().map(|(digest, held)| match held {
            Held::Token(token) => {
                let status = token.status(now);
                let visible = caller.may_see_token(&token).then_some(token);
                Found { digest, holding: Holding::Token(visible), status }
            }
            Held::Key(key) => {
                let status = key.status(now);
                let visible = caller.may_see_key(&key).then_some(key);
                Found { digest, holding: Holding::Key(visible), status }
            }
        });
        Ok(told.collect())
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
