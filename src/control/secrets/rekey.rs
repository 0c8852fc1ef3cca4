//! Sealing everything under another key.
//!
//! The order is what makes it safe: the next key is on disk beside the one in use before anything is sealed with it; one
//! transaction seals everything anew and says so; then the next key takes the place of the one before. A start finds
//! out from the store which of the two it is.

use super::super::{Caller, Control, Fault, Once};
use crate::secrets::{Change, Owner};
use crate::store::{Act, NotDone, Refused, Reseal};

/// What was sealed anew.
#[derive(Clone, Debug)]
pub struct Rekeyed {
    pub secrets: u64,
    /// Which key it is now, and nothing of it.
    pub key: String,
}

impl Control {
    /// Makes another key and seals every secret with it, all of them or none.
    ///
    /// # Errors
    /// When the caller may not, a secret does not open, or the key file or the store cannot be written.
    pub async fn rekey_secrets(&self, caller: &Caller, once: Option<Once>) -> Result<Rekeyed, Fault> {
        caller.require_workspace()?;
        let act = caller.act_once(self.now(), once);
        if let Some(repeat) = self.earlier(&act).await? {
            return Ok(Rekeyed { secrets: repeat.ended, key: repeat.subject });
        }
        let control = self.clone();
        // A task of its own: a caller that goes away must not leave it half done.
        let turning = tokio::spawn(async move { control.turn_key(act).await });
        turning.await.unwrap_or(Err(Fault::NoKey))
    }

    async fn turn_key(&self, act: Act) -> Result<Rekeyed, Fault> {
        let change = self.safe.keyring.change().await.map_err(|e| Fault::Conflict(e.to_string()))?;
        let change = std::sync::Arc::new(change);
        let key = change.next().to_owned();
        let sealer = change.clone();
        let reseal: Reseal = Box::new(move |stored| sealer.reseal(Owner::of(&stored.secret), &stored.sealed));
        match self.store.rekey_secrets(act, key.clone(), reseal).await {
            Ok(secrets) => {
                finish(&change);
                Ok(Rekeyed { secrets, key })
            }
            Err(NotDone::Refused(refused)) => {
                change.abandon();
                if let Refused::Repeated(repeat) = refused {
                    return Ok(Rekeyed { secrets: repeat.ended, key: repeat.subject });
                }
                Err(Fault::refused(refused.into(), "secret"))
            }
            Err(NotDone::Unavailable(e)) => {
                // Whether it was written is for the store to say; if it cannot, both keys stay, and the next start asks it.
                match self.store.sealing_key().await {
                    Ok(Some(now)) if now == key => finish(&change),
                    Ok(_) => change.abandon(),
                    Err(_) => {
                        tracing::error!("a change of the key came to no clear end: restart the gateway")
                    }
                }
                Err(Fault::Unavailable(e))
            }
        }
    }
}

/// It is sealed, whatever becomes of the files: the key waits beside the old one until it can take its place.
fn finish(change: &Change) {
    if let Err(e) = change.finish() {
        tracing::error!("the new key waits beside the key file, and takes its place at the next start: {e}");
    }
}
