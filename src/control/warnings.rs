//! Warnings that a token may have leaked. Nothing is ended by them.

use std::net::IpAddr;

use super::leaks::outlets;
use super::{Control, Fault};
use crate::model::{Agent, LeakKind, TokenId};
use crate::store::{Act, FirstUse, Suspect};

/// Who warns.
const PROGRAM: &str = "portcullis";
/// Uses from new networks that are read at once.
const AT_ONCE: usize = 256;

/// A sign that a token may have leaked.
#[derive(Clone, Debug)]
pub struct Suspected {
    pub token: TokenId,
    pub kind: LeakKind,
    pub count: u64,
    /// Tells it from others of its kind; empty where one is like another.
    pub place: String,
    pub client: IpAddr,
    pub agent: Option<Agent>,
}

impl Control {
    /// Notes these, and has owners told of those that are new; and with them which networks were `seen`.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn warn(&self, suspected: Vec<Suspected>, seen: Option<u64>) -> Result<(), Fault> {
        if suspected.is_empty() && seen.is_none() {
            return Ok(());
        }
        let act = Act {
            at: self.now(),
            actor: PROGRAM.to_owned(),
            key: None,
            from: PROGRAM.to_owned(),
            once: None,
        };
        let suspects = suspected.into_iter().map(|suspected| {
            let Suspected { token, kind, count, place, client, agent } = suspected;
            Suspect { token, kind, count, place, client, agent }
        });
        let outlets = outlets(&self.config.load());
        let done = self.store.suspect_tokens(act, suspects.collect(), seen, outlets).await;
        self.outbox.send_replace(());
        done.map_err(|e| Fault::refused(e, "token"))
    }

    /// Tokens that were used from another network than before, of which nobody was warned, where owners want to hear
    /// of it; and what is seen with them, if anything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new_networks(&self) -> Result<(Vec<Suspected>, Option<u64>), Fault> {
        let wanted = self.config.load().leaks.new_networks;
        let (uses, seen) = self.store.first_uses(wanted, AT_ONCE).await?;
        let suspected = uses.into_iter().map(|FirstUse { token, network, address }| Suspected {
            token,
            kind: LeakKind::NewNetwork,
            count: 1,
            place: network,
            client: address,
            agent: None,
        });
        Ok((suspected.collect(), seen))
    }
}
