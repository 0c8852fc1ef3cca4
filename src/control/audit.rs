//! The audit log, as far as the caller may read it.

use std::path::Path;

use super::{Caller, Control, Fault, Faults, Page, cursor, page, page_length};
use crate::model::{Entry, Scope, TokenId};
use crate::store::{self, EntryFilter, Side};

/// Which entries to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListEntries {
    /// The number of the last entry that the caller has.
    pub after: Option<String>,
    pub limit: Option<String>,
    pub faults: Faults,
}

/// Which entries to show, newest first, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct SearchEntries {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

/// Entries, oldest first.
#[derive(Debug)]
pub struct Entries {
    pub items: Vec<Entry>,
    /// Where to go on, if there is more already.
    pub next: Option<u64>,
}

/// A copy of the store in a file that is gone once this is.
#[derive(Debug)]
pub struct Backup(store::Backup);

impl Backup {
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Control {
    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_entries(&self, caller: &Caller, asked: ListEntries) -> Result<Entries, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let after = match asked.after.as_deref().map(str::parse) {
            None => 0,
            Some(Ok(after)) => after,
            Some(Err(_)) => {
                faults.add("after", "must be the `seq` of an entry, or 0");
                0
            }
        };
        faults.none()?;
        let filter = EntryFilter { side: Side::After(after), limit: length + 1, ..visible(caller) };
        let _turn = self.turns.take(caller).await;
        let mut items = self.store.audit(filter).await?;
        let more = items.len() > length;
        items.truncate(length);
        let next = items.last().filter(|_| more).map(|entry| entry.seq);
        Ok(Entries { items, next })
    }

    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn search_entries(&self, caller: &Caller, asked: SearchEntries) -> Result<Page<Entry>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), |text| text.parse().ok(), &mut faults);
        faults.none()?;
        let filter = EntryFilter {
            actor: asked.actor,
            action: asked.action,
            subject: asked.subject,
            side: Side::Before(before.unwrap_or(u64::MAX)),
            limit: length + 1,
            ..visible(caller)
        };
        let _turn = self.turns.take(caller).await;
        Ok(page(self.store.audit(filter).await?, length, |entry| entry.seq.to_string()))
    }

    /// Which of these tokens the caller may see.
    ///
    /// # Errors
    /// When the caller may not, or the store cannot be read.
    pub async fn visible_tokens(&self, caller: &Caller, ids: Vec<TokenId>) -> Result<Vec<TokenId>, Fault> {
        caller.require(Scope::Read)?;
        let (owner, within) = (caller.only_own().cloned(), caller.app().cloned());
        if owner.is_none() && within.is_none() || ids.is_empty() {
            return Ok(ids);
        }
        Ok(self.store.owned_tokens(ids, owner, within).await?)
    }

    /// Writes into the audit log that the configuration was read again. It is in force already: a store that cannot be
    /// written does not undo it.
    pub async fn note_reload(&self, caller: &Caller, changed: &[String]) {
        if let Err(error) = self.store.note_reload(caller.act(self.now()), changed.to_vec()).await {
            tracing::error!("the reload is missing from the audit log: {error}");
        }
    }

    /// Writes into the audit log that somebody signed in to the dashboard, which a store that cannot be written does not
    /// keep them from.
    pub async fn note_sign_in(&self, caller: &Caller) {
        if let Err(error) = self.store.note_sign_in(caller.act(self.now())).await {
            tracing::error!("a sign-in is missing from the audit log: {error}");
        }
    }

    /// Writes into the audit log that somebody ended all sessions of the dashboard, which has happened already.
    pub async fn note_signed_out(&self, caller: &Caller, sessions: u64) {
        if let Err(error) = self.store.note_signed_out(caller.act(self.now()), sessions).await {
            tracing::error!("the end of {sessions} sessions is missing from the audit log: {error}");
        }
    }

    /// A copy of the whole store as it is now.
    ///
    /// # Errors
    /// When the caller may not, others are being taken, or it cannot be written.
    pub async fn backup(&self, caller: &Caller) -> Result<Backup, Fault> {
        caller.require_workspace()?;
        let made = self.store.backup(caller.act(self.now())).await.map_err(|e| Fault::refused(e, "store"))?;
        made.map(Backup).ok_or_else(|| {
            Fault::Conflict("other backups are being taken: try again when one is done".to_owned())
        })
    }
}

/// All entries that the caller may see.
fn visible(caller: &Caller) -> EntryFilter {
    let own = caller.key().filter(|_| caller.only_own().is_some());
    EntryFilter { own, within: caller.app().cloned(), ..EntryFilter::default() }
}
