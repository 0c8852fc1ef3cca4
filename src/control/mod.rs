//! Commands: who may do what, and what is valid. The only writer of rows. A command returns when its change is on
//! disk and in force, not before.

mod apps;
mod audit;
mod caller;
mod calm;
mod clock;
mod deployments;
mod expiry;
mod fault;
mod keys;
mod leaks;
mod lookup;
mod members;
mod notices;
mod place;
mod repeat;
mod rotation;
mod rules;
#[cfg(test)]
pub(crate) mod sample;
mod secrets;
mod shares;
#[cfg(test)]
mod tests;
mod tokens;
mod turns;
mod upkeep;
mod uses;
mod warnings;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;

use self::clock::Clock;
use self::turns::Turns;
use self::uses::KeyUses;
use crate::config::Config;
use crate::index::Reached;
use crate::secrets::Safe;
use crate::store::Store;

pub use apps::{AppView, EnvironmentView, ListApps};
pub use audit::{Backup, Entries, ListEntries, SearchEntries};
pub use caller::Caller;
pub use deployments::{ListDeployments, Publish, Release, Sight, Switched};
pub use fault::{Fault, Faults, FieldFault};
pub use keys::{ListKeys, MintKey, MintedKey};
pub use leaks::{FoundLeak, LeakCount, LeakCounts, ListLeaks, Reacted, ReportLeaks};
pub use lookup::{Found, Holding, LookUp};
pub use members::{AddMember, EditMember, ListMembers};
pub use notices::{ListNotices, Sent, is_open};
pub use repeat::{Minted, Once};
pub use rotation::Rotate;
pub use secrets::{AskedGrant, EditSecret, ListSecrets, Needed, Needs, PutSecret, Rekeyed, SecretView};
pub use shares::{Link, MintShare, MintedShare, Spent};
pub use tokens::{EditToken, ListTokens, MintToken, RevokeToken, Revoked};
pub use upkeep::Expiring;
pub use warnings::Suspected;

/// Items on a page where the caller does not say.
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 500;

/// A page of a list, newest first.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// The commands. Clones share everything.
#[derive(Clone, Debug)]
pub struct Control {
    store: Store,
    reached: Reached,
    config: Arc<ArcSwap<Config>>,
    safe: Safe,
    clock: Clock,
    key_uses: KeyUses,
    turns: Turns,
    expiring: Expiring,
    leak_counts: LeakCounts,
    /// Whoever sends notices waits for it.
    outbox: watch::Sender<()>,
}

impl Control {
    #[must_use]
    pub fn new(store: Store, reached: Reached, config: Arc<ArcSwap<Config>>, safe: Safe) -> Self {
        let (clock, key_uses, expiring) = (Clock::system(), KeyUses::default(), Expiring::default());
        let told = key_uses.clone();
        store.key_uses_told_by(move |key| told.of(key));
        Self {
            store,
            reached,
            config,
            safe,
            clock,
            key_uses,
            turns: Turns::default(),
            expiring,
            leak_counts: LeakCounts::default(),
            outbox: watch::Sender::default(),
        }
    }

    /// Now, as exactly as it is stored.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.store.hindsight().tell(now.as_millisecond());
        now
    }

    /// Whether the store's last read and last write succeeded.
    #[must_use]
    pub fn store_is_healthy(&self) -> bool {
        self.store.healthy()
    }

    /// How many tokens in use are about to end.
    #[must_use]
    pub fn expiring(&self) -> Expiring {
        self.expiring.clone()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The name of the query parameter that carries a token; `None` where that form is off.
    #[must_use]
    pub fn query_parameter(&self) -> Option<String> {
        self.config.load().tokens.query_parameter.clone()
    }
}

/// How many items a page is to have, and the number below which it begins: for lists that are not the store's.
pub fn page_bounds(limit: Option<&str>, before: Option<&str>, faults: &mut Faults) -> (usize, Option<u64>) {
    (page_length(limit, faults), cursor(before, |text| text.parse().ok(), faults))
}

/// How many items a page is to have.
fn page_length(asked: Option<&str>, faults: &mut Faults) -> usize {
    let Some(asked) = asked else { return PAGE };
    match asked.parse() {
        Ok(limit) if (1..=LONGEST_PAGE).contains(&limit) => limit,
        _ => {
            faults.add("limit", format!("must be a whole number from 1 to {LONGEST_PAGE}"));
            PAGE
        }
    }
}

/// Where the last page ended.
fn cursor<T>(asked: Option<&str>, parse: impl FnOnce(&str) -> Option<T>, faults: &mut Faults) -> Option<T> {
    let found = asked.and_then(parse);
    if asked.is_some() && found.is_none() {
        faults.add("cursor", "must be the `next_cursor` of an earlier answer");
    }
    found
}

/// Cuts what was read one beyond the page, and says where to go on.
fn page<T>(mut items: Vec<T>, length: usize, id: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > length;
    items.truncate(length);
    let next_cursor = items.last().filter(|_| more).map(id);
    Page { items, next_cursor }
}
