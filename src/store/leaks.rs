//! What the store keeps of leaks, and of the notices that tell of them.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::sqlite::{leaks, networks, outbox, repeats};
use super::{Act, Held, NotDone, Revocation, Store, StoreError};
use crate::credential::Digest;
use crate::model::{
    Agent, AppName, Channel, Leak, LeakDone, LeakId, LeakKind, MemberName, Notice, NoticeId, Token, TokenId,
};

/// Notices that are kept in all.
pub const NOTICES: u64 = outbox::MOST;

/// By which ways notices go out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outlets {
    pub email: bool,
    /// Whether letters go somewhere of what has no owner with an address.
    pub fallback: bool,
    pub webhook: bool,
}

/// Until when tokens that leaked live on, where they do.
#[derive(Clone, Debug, Default)]
pub struct Graces {
    /// Of all; of one that is named as well, the earlier.
    pub all: Option<Timestamp>,
    /// By their id, or by app, environment and label, as in `shop/production/nightly backup`.
    pub named: Vec<(String, Timestamp)>,
}

impl Graces {
    pub(super) fn of(&self, token: &Token) -> Option<Timestamp> {
        let id = token.id.to_string();
        // A label alone is anybody's to give.
        let full = format!("{}/{}/{}", token.app.as_str(), token.environment.as_str(), token.label.as_str());
        let named = self.named.iter().filter(|(name, _)| *name == id || *name == full);
        match (named.map(|(_, end)| *end).min(), self.all) {
            (Some(named), Some(all)) => Some(named.min(all)),
            (named, all) => named.or(all),
        }
    }
}

/// As much of a report as is written at once.
#[derive(Clone, Debug)]
pub struct Piece {
    pub reports: Vec<Reported>,
    /// Whether it begins the report. Whoever was admitted then is for all of it: it may end their own key.
    pub first: bool,
    /// Whether it ends the report, which is not made until then.
    pub last: bool,
}

/// What became of a piece, in its order.
#[derive(Debug)]
pub struct Reactions {
    /// `None` where nothing is known of one.
    pub each: Vec<Option<Reaction>>,
    /// Whether one of those is there and cannot be read. The report is not remembered as made then.
    pub unread: bool,
}

/// A credential that somebody found.
#[derive(Clone, Debug)]
pub struct Reported {
    pub digest: Digest,
    /// Who found it.
    pub source: String,
    /// Where, as far as that is known.
    pub place: String,
    /// Everywhere that the same report found it.
    pub places: Arc<Places>,
    /// Whether another of those came before this one.
    pub further: bool,
}

/// The places of one credential in one report.
#[derive(Debug, Default)]
pub struct Places {
    /// Those that its owner is told.
    pub first: Vec<String>,
    /// All of them.
    pub count: u64,
}

/// What a report did.
#[derive(Clone, Debug)]
pub struct Reaction {
    pub of: Revocation<Held>,
    pub done: LeakDone,
    /// Whether it ended the last key that might do everything everywhere.
    pub last_admin: bool,
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
    pub subject: Option<String>,
    pub before: Option<LeakId>,
    pub limit: usize,
}

/// A sign that a token may have leaked.
#[derive(Clone, Debug)]
pub struct Suspect {
    pub token: TokenId,
    pub kind: LeakKind,
    pub count: u64,
    /// Tells it from others of its kind.
    pub place: String,
    pub client: IpAddr,
    pub agent: Option<Agent>,
}

/// The first use of a token from a network.
#[derive(Clone, Debug)]
pub struct FirstUse {
    pub token: TokenId,
    pub network: String,
    pub address: IpAddr,
}

/// How long before its end a token's owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    Week,
    Day,
}

/// What came of an attempt to send a notice.
#[derive(Clone, Debug)]
pub enum Settlement {
    Delivered,
    Again { due: Timestamp, error: String },
    GivenUp { at: Timestamp, error: String },
}

impl Store {
    /// Ends what was reported as leaked, all of the piece or nothing; tokens live on as `graces` have it.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn report_leaks(
        &self,
        act: Act,
        piece: Piece,
        graces: Arc<Graces>,
        outlets: Outlets,
    ) -> Result<Reactions, NotDone> {
        self.0.writer.command(move |work| leaks::report(work, &act, &piece, &graces, outlets)).await
    }

    /// Remembers a call that may come again, and does nothing else.
    ///
    /// # Errors
    /// When it is remembered already, or could not be written.
    pub async fn remember(&self, act: Act) -> Result<(), NotDone> {
        self.0.writer.command(move |work| repeats::remember(work, &act)).await
    }

    /// Notes signs that tokens may have leaked, and has the owners told of those that are new; and with them up to
    /// which use of a network they are, `seen`.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn suspect_tokens(
        &self,
        act: Act,
        suspects: Vec<Suspect>,
        seen: Option<u64>,
        outlets: Outlets,
    ) -> Result<(), NotDone> {
        self.0.writer.command(move |work| leaks::suspect(work, &act, &suspects, seen, outlets)).await
    }

    /// Which tokens were used from another network than before, as far as nobody was told; none unless they are
    /// `wanted`. With what is then to be noted as seen, if anything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn first_uses(
        &self,
        wanted: bool,
        limit: usize,
    ) -> Result<(Vec<FirstUse>, Option<u64>), StoreError> {
        self.0.upkeep.read(move |conn| networks::first_uses(conn, wanted, limit)).await
    }

    /// The leaks that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn leaks(&self, filter: LeakFilter) -> Result<Vec<Leak>, StoreError> {
        self.0.lists.read(move |conn| leaks::list::list(conn, &filter)).await
    }

    /// How many leaks are known of each kind, and how many notices wait and were given up.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_leaks(&self) -> Result<(Vec<(LeakKind, u64)>, (u64, u64)), StoreError> {
        self.0.upkeep.read(|conn| Ok((leaks::list::count(conn)?, outbox::count(conn)?))).await
    }

    /// How many notices wait for these channels.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn waiting_notices(&self, channels: Vec<Channel>) -> Result<u64, StoreError> {
        self.0
            .upkeep
            .read(move |conn| channels.iter().map(|channel| outbox::waiting(conn, *channel)).sum())
            .await
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
        self.0.upkeep.read(move |conn| outbox::due(conn, channel, now, limit)).await
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
        self.0.lists.read(move |conn| outbox::list(conn, before, limit)).await
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

    /// Has a notice sent again at once, also where it was given up; all of it, as it is then.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn retry_notice(&self, act: Act, id: NoticeId) -> Result<Vec<Notice>, NotDone> {
        self.0.writer.command(move |work| outbox::retry(work, &act, id)).await
    }

    /// A notice that is not delivered, by each of its channels.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn notice(&self, id: NoticeId) -> Result<Vec<Notice>, StoreError> {
        self.0.lookups.read(move |conn| outbox::of(conn, id)).await
    }

    /// Drops notices that there is no room for; returns how many.
    ///
    /// # Errors
    /// When a piece could not be written; earlier pieces stay done.
    pub async fn bound_notices(&self) -> Result<u64, StoreError> {
        self.0.writer.bulk(outbox::Bound::default()).await
    }

    /// Forgets notices that were given up long ago, and leaks of which nothing was heard for longer.
    ///
    /// # Errors
    /// When a piece could not be written; earlier pieces stay done.
    pub async fn trim_notices(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.0.writer.bulk(outbox::Trim::new(now)).await
    }
}
