//! Calls that may come twice and happen once.

use super::{Control, Fault};
use crate::credential::Plaintext;
use crate::model::{Token, TokenId};
use crate::store::{Act, NotDone, Refused, Repeat};

/// Makes a call that comes twice happen once.
#[derive(Clone, Debug)]
pub struct Once {
    /// The SHA-256 of the caller's name for it.
    pub key: [u8; 32],
    /// The SHA-256 of what is asked for.
    pub request: [u8; 32],
}

/// What a creating command came to.
pub(super) enum Made<T> {
    Now(T),
    /// By the same call, earlier.
    Before(Repeat),
}

/// A token, with its value for the one answer that shows it: there is none where an earlier call had that answer.
#[derive(Debug)]
pub struct Minted {
    pub token: Token,
    pub value: Option<Plaintext>,
}

impl Control {
    /// What the same call made before. Looked up ahead of everything else: what was right then may not be now.
    pub(super) async fn earlier(&self, act: &Act) -> Result<Option<Repeat>, Fault> {
        if act.once.is_none() {
            return Ok(None);
        }
        match self.store.repeat(act.clone()).await? {
            None => Ok(None),
            Some(Ok(repeat)) => Ok(Some(repeat)),
            Some(Err(())) => Err(Fault::refused(Refused::Reused.into(), "call")),
        }
    }

    /// The token that the same call was about before.
    pub(super) async fn minted_before(&self, repeat: &Repeat) -> Result<Minted, Fault> {
        self.reached.wait(repeat.revision).await;
        let found = match TokenId::parse(&repeat.subject) {
            Some(id) => self.store.token(id).await?,
            None => None,
        };
        Ok(Minted { token: found.ok_or_else(gone)?, value: None })
    }
}

/// Tells what was made before from what could not be made.
pub(super) fn made<T>(result: Result<T, NotDone>, noun: &'static str) -> Result<Made<T>, Fault> {
    match result {
        Ok(done) => Ok(Made::Now(done)),
        Err(NotDone::Refused(Refused::Repeated(repeat))) => Ok(Made::Before(repeat)),
        Err(e) => Err(Fault::refused(e, noun)),
    }
}

/// What an earlier call made is not there any more.
pub(super) fn gone() -> Fault {
    Fault::Conflict(
        "the same call was made before, and what it made has been deleted since: use another Idempotency-Key"
            .to_owned(),
    )
}
