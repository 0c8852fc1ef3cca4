//! What the store keeps of leaks, and of the notices that tell of them.

use jiff::Timestamp;

use super::sqlite::{leaks, outbox};
use super::{Act, Held, NotDone, Revocation, Store, StoreError};
use crate::credential::Digest;
use crate::model::{AppName, Channel, Leak, LeakDone, LeakId, LeakKind, MemberName, Notice, NoticeId};

/// By which ways notices go out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outlets {
    pub email: bool,
    pub webhook: bool,
}

/// A credential that somebody found.
#[derive(Clone, Debug)]
pub struct Reported {
    pub digest: Digest,
    /// Who found it.
    pub source: String,
    /// Where, as far as that is known.
    pub place: String,
}

/// What a report did.
#[derive(Debug)]
pub struct Reaction {
    pub of: Revocation<Held>,
    pub done: LeakDone,
}

impl Reaction {
    pub(super) fn subject(&self) -> String {
        match &self.of.of {
            Held::Token(token) => token.id.to_string(),
            Held::Key(key) => key.id.to_string(),
        }
    }
}

/// Which leaks to list. Every part that is there must match.
#[derive(Clone, Debug)]
pub struct LeakFilter {
    pub owner: Option<MemberName>,
    pub within: Option<AppName>,
    pub before: Option<LeakId>,
    pub limit: usize,
}

/// What came of an attempt to send a notice.
#[derive(Clone, Debug)]
pub enum Settlement {
    Delivered,
    Again { due: Timestamp, error: String },
    GivenUp { at: Timestamp, error: String },
}

impl Store {
    /// Ends what was reported as leaked, all of it or nothing; with `grace_ends`, tokens live on until then.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn report_leaks(
        &self,
        act: Act,
        reports: Vec<Reported>,
        grace_ends: Option<Timestamp>,
        outlets: Outlets,
    ) -> Result<Vec<Option<Reaction>>, NotDone> {
        self.0.writer.command(move |work| leaks::report(work, &act, &reports, grace_ends, outlets)).await
    }

    /// The leaks that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn leaks(&self, filter: LeakFilter) -> Result<Vec<Leak>, StoreError> {
        self.0.readers.read(move |conn| leaks::list(conn, &filter)).await
    }

    /// How many leaks are known of each kind, and how many notices wait and were given up.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_leaks(&self) -> Result<(Vec<(LeakKind, u64)>, (u64, u64)), StoreError> {
        self.0.readers.read(|conn| Ok((leaks::count(conn)?, outbox::count(conn)?))).await
    }

    /// The notices to send by now, and when the next of the others is due.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn due_notices(
        &self,
        channel: Channel,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Notice>, Option<Timestamp>), StoreError> {
        self.0.readers.read(move |conn| outbox::due(conn, channel, now, limit)).await
    }

    /// The notices that are not delivered, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn notices(
        &self,
        before: Option<(NoticeId, Channel)>,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        self.0.readers.read(move |conn| outbox::list(conn, before, limit)).await
    }

    /// Notes what came of an attempt to send a notice.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn settle_notice(
        &self,
        id: NoticeId,
        channel: Channel,
        settlement: Settlement,
    ) -> Result<(), NotDone> {
        self.0.writer.command(move |work| outbox::settle(work, id, channel, &settlement)).await
    }

    /// Forgets notices that were given up long ago.
    ///
    /// # Errors
    /// When a piece could not be written; earlier pieces stay done.
    pub async fn trim_notices(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.0.writer.bulk(outbox::Trim::new(now)).await
    }
}
