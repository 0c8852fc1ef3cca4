//! Putting a successor in the place of a token.

use super::repeat::{Made, Minted, Once, made};
use super::tokens::limits;
use super::{Caller, Control, Fault, Faults, expiry};
use crate::credential::{Kind, Plaintext};
use crate::model::{Lifetime, Scope};
use crate::store::{NotDone, Refused, Rotation};

/// How long the old value lives on where the caller does not say.
const OVERLAP: Lifetime = Lifetime::hours(1);

/// A rotation as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct Rotate {
    pub overlap: Option<String>,
    pub expires_in: Option<String>,
    pub once: Option<Once>,
    pub faults: Faults,
}

impl Control {
    /// # Errors
    /// When a field is wrong, there is no such token that the caller may see, it cannot be rotated, or the store cannot
    /// be written.
    pub async fn rotate_token(&self, caller: &Caller, id: &str, asked: Rotate) -> Result<Minted, Fault> {
        caller.require(Scope::Mint)?;
        let now = self.now();
        let act = caller.act_once(now, asked.once);
        if let Some(repeat) = self.earlier(&act).await? {
            return self.minted_before(&repeat).await;
        }
        let mut token = self.visible_token(caller, id).await?;
        let config = self.config.load_full();
        let mut faults = asked.faults;
        let overlap =
            asked.overlap.as_deref().map(|overlap| faults.take("overlap", Lifetime::parse(overlap)));
        let overlap_ends = overlap.unwrap_or(Some(OVERLAP)).and_then(|overlap| {
            let end = overlap.after(now);
            if end.is_none() {
                faults.add("overlap", "reaches past the year 9999");
            }
            end
        });
        let _hurry = overlap_ends.is_some_and(|end| end <= now).then(|| self.reached.hurry());
        let already = faults.clone();
        loop {
            let mut faults = already.clone();
            let end =
                expiry::renew(asked.expires_in.as_deref(), token.lifetime, &config.tokens, now, &mut faults);
            faults.none()?;
            let (Some(end), Some(overlap_ends)) = (end, overlap_ends) else {
                return Err(Fault::Invalid(Vec::new()));
            };
            let value = Plaintext::generate(Kind::Token)?;
            let new = Rotation {
                of: token.id,
                seen: token.revision,
                digest: value.digest(),
                hint: value.hint().to_owned(),
                expires_at: end.at,
                lifetime: end.lifetime,
                overlap_ends,
            };
            let rotated = self.store.rotate_token(act.clone(), new, limits(&config.tokens)).await;
            // Edited meanwhile: what the successor is to be like has to be read again.
            if matches!(rotated, Err(NotDone::Refused(Refused::Stale))) {
                token = self.visible_token(caller, id).await?;
                continue;
            }
            return match made(rotated, "token")? {
                Made::Now((token, revision)) => {
                    self.reached.wait(revision).await;
                    Ok(Minted { token, value: Some(value) })
                }
                Made::Before(repeat) => self.minted_before(&repeat).await,
            };
        }
    }
}
