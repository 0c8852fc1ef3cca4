//! Reports of leaked credentials: whoever holds one may have it ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::lookup::Found;
use super::notices::is_open;
use super::place::stored_place;
use super::repeat::{Made, made};
use super::{Caller, Control, Fault, Faults, Holding, Once, Page, cursor, page, page_length};
use crate::config::{Config, LeakAction};
use crate::credential::{Digest, Kind};
use crate::index::Reached;
use crate::model::{Channel, Key, Leak, LeakDone, LeakId, LeakKind, Lifetime, Scope, Status, Token};
use crate::store::{
    self, Act, Graces, Held, LeakFilter, NOTICES, Outlets, Piece, Places, Reaction, Reported, StoreError,
};

/// Credentials that are reported at once.
const MOST: usize = 500;
/// What is written in one transaction, so that nothing else waits long.
const AT_ONCE: usize = 64;
/// Places of one credential that a report may name; those beyond say no more.
const PLACES: usize = 100;
/// Those of them that its owner is told of at once.
const TOLD: usize = 10;

/// A report as it was made; `faults` is what was already found wrong with it.
#[derive(Debug, Default)]
pub struct ReportLeaks {
    pub tokens: Option<Vec<String>>,
    pub source: Option<String>,
    /// Where they were found.
    pub url: Option<String>,
    /// The same where it was in several places.
    pub places: Option<Vec<String>>,
    pub once: Option<Once>,
    pub faults: Faults,
}

/// A credential that somebody found, and where.
#[derive(Clone, Debug)]
pub struct FoundLeak {
    pub digest: Digest,
    pub place: String,
}

/// What a report did to one of its credentials.
#[derive(Debug)]
pub enum Reacted {
    /// Nothing is known of it.
    Unknown,
    Known {
        of: Holding,
        status: Status,
        done: LeakDone,
        /// Requests ended before their answer began, and answers cut short.
        requests: u64,
        streams: u64,
        /// Whether it ended the last key that might do everything everywhere, as far as the caller may know.
        last_admin: bool,
    },
}

/// Which leaks to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListLeaks {
    /// Only those of the credential with this id.
    pub subject: Option<String>,
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

/// How many leaks are known of each kind, and how many notices wait and were given up, as they were counted last. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct LeakCounts(Arc<Mutex<Option<LeakCount>>>);

#[derive(Clone, Debug)]
pub struct LeakCount {
    pub leaks: Vec<(LeakKind, u64)>,
    pub waiting: u64,
    /// Those that wait for a channel that is not configured.
    pub held: u64,
    pub given_up: u64,
    /// Notices that there was no room for, since the start.
    pub dropped: u64,
}

impl LeakCounts {
    /// `None`: they have not been counted yet.
    #[must_use]
    pub fn last(&self) -> Option<LeakCount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Control {
    /// Ends what was reported, as `leaks.action` has it. Whoever has a credential's value has shown enough: it need not
    /// be their own. Whose it is, only those are told who may see that.
    ///
    /// # Errors
    /// When a field is wrong, the caller may not, or the store cannot be written.
    pub async fn report_leaks(&self, caller: &Caller, asked: ReportLeaks) -> Result<Vec<Reacted>, Fault> {
        caller.require(Scope::Mint)?;
        let mut faults = asked.faults;
        let source = faults.text::<120>("source", asked.source.as_deref());
        let source = source.map(|source| stored_place(source.as_str()));
        if asked.source.as_deref().is_none_or(|source| source.trim().is_empty()) {
            faults.add("source", "is missing: who found them, as in `nightly scan`");
        } else if source.as_deref() == Some("") {
            faults.add("source", "must not hold a password or a token: who found them, as in `nightly scan`");
        }
        let digests = digests(asked.tokens.as_deref(), &mut faults);
        let places = found_in(asked.url, asked.places, digests.len(), &mut faults);
        faults.none()?;
        let Some(source) = source else { return Err(Fault::Invalid(Vec::new())) };
        let _turn = self.turns.take(caller).await;
        let _hurry = self.reached.hurry();
        let in_each = |digest: &Digest| {
            let digest = *digest;
            places.iter().map(move |place| FoundLeak { digest, place: place.clone() })
        };
        let mut found: Vec<_> = digests.iter().flat_map(in_each).collect();
        if let Some(own) = self.own_key(caller, &digests).await? {
            // Where the report breaks off, it can be made again.
            found.sort_by_key(|found| found.digest == own);
        }
        let act = caller.act_once(self.now(), asked.once);
        let done = made(self.end_leaked(act, &source, found).await, "credential")?;
        let reactions = match done {
            Made::Now(reactions) => reactions,
            // The values are known to it, and what became of them is told as it is now.
            Made::Before(repeat) => {
                let held = self.store.held(digests.clone()).await?;
                return Ok(digests
                    .iter()
                    .map(|digest| self.standing(caller, digest, &held, repeat.at))
                    .collect());
            }
        };
        let mut told = Vec::with_capacity(digests.len());
        for digest in &digests {
            told.push(match reactions.get(digest) {
                None => Reacted::Unknown,
                Some(reaction) => self.told(caller, reaction.clone()).await,
            });
        }
        Ok(told)
    }

    /// The key that the caller calls with, where it is among these.
    async fn own_key(&self, caller: &Caller, digests: &[Digest]) -> Result<Option<Digest>, Fault> {
        let Some(own) = caller.key() else { return Ok(None) };
        let held = self.store.held(digests.to_vec()).await?;
        let is_own = |held: &Held| matches!(held, Held::Key(key) if key.id == own);
        Ok(held.into_iter().find(|(_, held)| is_own(held)).map(|(digest, _)| digest))
    }

    /// The same of a report whose signature said who made it: for each, whether it is one of ours. `None` where whoever
    /// made the very same was told before; else it may be made again, and ends nothing then that had ended.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn report_signed(
        &self,
        source: &str,
        found: Vec<FoundLeak>,
        once: &Once,
    ) -> Result<Option<Vec<bool>>, Fault> {
        let act = self.signed(source, once);
        if self.earlier(&act).await?.is_some() {
            return Ok(None);
        }
        let _hurry = self.reached.hurry();
        let act = Act { once: None, ..act };
        let place = |found: FoundLeak| FoundLeak { place: stored_place(&found.place), ..found };
        let digests: Vec<_> = found.iter().map(|found| found.digest).collect();
        let found = found.into_iter().map(place).collect();
        let reactions =
            self.end_leaked(act, source, found).await.map_err(|e| Fault::refused(e, "credential"))?;
        let revisions = reactions.values().map(|reaction| reaction.of.revision);
        self.reached.wait(revisions.max().unwrap_or(0)).await;
        Ok(Some(digests.iter().map(|digest| reactions.contains_key(digest)).collect()))
    }

    /// Remembers that whoever made a signed report was told what came of it.
    ///
    /// # Errors
    /// When the store cannot be written: the same may be made again.
    pub async fn told_signed(&self, source: &str, once: &Once) -> Result<(), Fault> {
        let done = self.store.remember(self.signed(source, once)).await;
        // The same may have come twice at once.
        made(done, "report").map(drop)
    }

    fn signed(&self, source: &str, once: &Once) -> Act {
        let once = Some(store::Once { key: once.key, request: once.request, lasts: true });
        Act { at: self.now(), actor: source.to_owned(), key: None, from: source.to_owned(), once }
    }

    /// How many leaks and notices there are.
    #[must_use]
    pub fn leak_counts(&self) -> LeakCounts {
        self.leak_counts.clone()
    }

    pub(super) async fn count_leaks(&self) {
        // What cannot be read is what it was.
        if let Ok((leaks, (waiting, given_up))) = self.store.count_leaks().await {
            let mut dropped = self.leak_counts.last().map_or(0, |last| last.dropped);
            if waiting + given_up > NOTICES {
                let more = self.store.bound_notices().await.unwrap_or_default();
                if more > 0 {
                    tracing::warn!(
                        "{more} notices were dropped: there is room for {NOTICES} that are not delivered"
                    );
                }
                dropped += more;
            }
            let config = self.config.load_full();
            let shut = Channel::ALL.into_iter().filter(|channel| !is_open(*channel, &config.notify));
            let held = self.store.waiting_notices(shut.collect()).await.unwrap_or_default().min(waiting);
            let count = LeakCount { leaks, waiting: waiting - held, held, given_up, dropped };
            *self.leak_counts.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(count);
        }
    }

    /// In transactions of bounded size. All end before further places are noted; only with the last is a report
    /// remembered as made, and one that broke off can be made again.
    async fn end_leaked(
        &self,
        act: Act,
        source: &str,
        found: Vec<FoundLeak>,
    ) -> Result<HashMap<Digest, Reaction>, store::NotDone> {
        let config = self.config.load_full();
        let ends = |grace: Lifetime| grace.after(act.at);
        let named = config.leaks.grace.iter().filter_map(|(name, grace)| Some((name.clone(), ends(*grace)?)));
        let all = match config.leaks.action {
            LeakAction::Revoke => None,
            LeakAction::Grace(grace) => ends(grace),
        };
        let graces = Arc::new(Graces { all, named: named.collect() });
        let places = places(&found);
        let (each, further) = in_order(found);
        let each = each.into_iter().map(|found| (found, false));
        let all = each.chain(further.into_iter().map(|found| (found, true)));
        let reports = all.map(|(found, further)| Reported {
            digest: found.digest,
            source: source.to_owned(),
            place: found.place,
            places: places.get(&found.digest).cloned().unwrap_or_default(),
            further,
        });
        let mut reports = reports.peekable();
        let mut reactions = HashMap::new();
        let (mut first, mut unread) = (true, false);
        loop {
            let piece: Vec<_> = reports.by_ref().take(AT_ONCE).collect();
            let digests: Vec<_> = piece.iter().map(|reported| reported.digest).collect();
            let last = reports.peek().is_none();
            let piece = Piece { reports: piece, first, last: last && !unread };
            let done = self.store.report_leaks(act.clone(), piece, graces.clone(), outlets(&config)).await;
            first = false;
            self.outbox.send_replace(());
            let done = done?;
            unread |= done.unread;
            for (digest, reaction) in digests.into_iter().zip(done.each) {
                // What the first place did is what became of it.
                if let Some(reaction) = reaction {
                    reactions.entry(digest).or_insert(reaction);
                }
            }
            if last && unread {
                // It may live: that is not told as if there were none.
                let told = "one that was reported cannot be read; the others have ended".to_owned();
                return Err(StoreError::Unavailable(told).into());
            }
            if last {
                return Ok(reactions);
            }
        }
    }

    async fn told(&self, caller: &Caller, reaction: Reaction) -> Reacted {
        let Reaction { of, done, last_admin } = reaction;
        let receipt = wait(&self.reached, of.revision, of.fresh).await;
        self.shown(caller, of.of, done, receipt, last_admin)
    }

    /// What was reported at a moment before, as it is now.
    fn standing(&self, caller: &Caller, digest: &Digest, held: &[(Digest, Held)], at: Timestamp) -> Reacted {
        let Some((_, of)) = held.iter().find(|(found, _)| found == digest) else { return Reacted::Unknown };
        let by_then = match of {
            Held::Token(token) => {
                let revoked = token.revoked.as_ref().map(|ended| ended.at);
                revoked.filter(|_| Token { revoked: None, ..(**token).clone() }.status(at) == Status::Active)
            }
            Held::Key(key) => key
                .revoked_at
                .filter(|_| Key { revoked_at: None, ..(**key).clone() }.status(at) == Status::Active),
        };
        let done = if by_then == Some(at) { LeakDone::Revoked } else { LeakDone::AlreadyEnded };
        self.shown(caller, of.clone(), done, (0, 0), false)
    }

    fn shown(&self, caller: &Caller, of: Held, done: LeakDone, receipt: (u64, u64), last: bool) -> Reacted {
        let now = self.now();
        let Found { holding, status } = caller.found(of, now);
        // It lives on by a grace that an earlier report left it.
        let done =
            if status == Status::Active && done == LeakDone::AlreadyEnded { LeakDone::Grace } else { done };
        let (requests, streams) = receipt;
        let last_admin = last && matches!(holding, Holding::Key(Some(_)));
        Reacted::Known { of: holding, status, done, requests, streams, last_admin }
    }

    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_leaks(&self, caller: &Caller, asked: ListLeaks) -> Result<Page<Leak>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), LeakId::parse, &mut faults);
        faults.none()?;
        let filter = LeakFilter {
            owner: caller.only_own().cloned(),
            within: caller.app().cloned(),
            subject: asked.subject,
            before,
            limit: length + 1,
        };
        Ok(page(self.store.leaks(filter).await?, length, |leak| leak.id.to_string()))
    }
}

/// Each credential once, and then the further places of them; both in the order of the report.
fn in_order(found: Vec<FoundLeak>) -> (Vec<FoundLeak>, Vec<FoundLeak>) {
    let mut places: HashMap<Digest, HashSet<String>> = HashMap::new();
    let (mut each, mut further) = (Vec::new(), Vec::new());
    for found in found {
        let known = places.entry(found.digest).or_default();
        let to = if known.is_empty() { &mut each } else { &mut further };
        if known.len() < PLACES && known.insert(found.place.clone()) {
            to.push(found);
        }
    }
    (each, further)
}

/// Where each credential was found in all.
fn places(found: &[FoundLeak]) -> HashMap<Digest, Arc<Places>> {
    let mut known: HashSet<(Digest, &str)> = HashSet::new();
    let mut places: HashMap<Digest, Places> = HashMap::new();
    for FoundLeak { digest, place } in found.iter().filter(|found| !found.place.is_empty()) {
        if known.insert((*digest, place)) {
            let of = places.entry(*digest).or_default();
            of.count += 1;
            if of.first.len() < TOLD {
                of.first.push(place.clone());
            }
        }
    }
    places.into_iter().map(|(digest, places)| (digest, Arc::new(places))).collect()
}

/// By which ways notices go out.
pub(super) fn outlets(config: &Config) -> Outlets {
    let smtp = config.notify.smtp.as_ref();
    Outlets {
        email: smtp.is_some(),
        fallback: smtp.is_some_and(|smtp| smtp.to.is_some()),
        webhook: config.notify.webhook.is_some(),
    }
}

async fn wait(reached: &Reached, revision: u64, fresh: bool) -> (u64, u64) {
    let receipt = reached.wait(revision).await;
    if fresh { (receipt.requests, receipt.streams) } else { (0, 0) }
}

/// Where all of so many credentials were found, as it may be kept.
fn found_in(
    url: Option<String>,
    places: Option<Vec<String>>,
    credentials: usize,
    faults: &mut Faults,
) -> Vec<String> {
    if url.is_some() && places.is_some() {
        faults.add("places", "cannot be given beside `url`: all of them together, or one alone");
    }
    let (field, given) = match places {
        Some(places) if !places.is_empty() => ("places", places),
        _ => ("url", vec![url.unwrap_or_default()]),
    };
    if given.len() > PLACES || given.len() * credentials > MOST {
        faults.add(field, format!("must be at most {PLACES}, and with all `tokens` in each at most {MOST}"));
        return Vec::new();
    }
    let taken = given.iter().filter_map(|place| faults.text::<1000>(field, Some(place)));
    taken.map(|place| stored_place(place.as_str())).collect()
}

fn digests(asked: Option<&[String]>, faults: &mut Faults) -> Vec<Digest> {
    const FIELD: &str = "tokens";
    let asked = asked.unwrap_or_default();
    if asked.is_empty() {
        faults.add(FIELD, "is missing: a list of tokens, management keys or links' codes, each whole");
    }
    if asked.len() > MOST {
        faults.add(FIELD, format!("must be at most {MOST}"));
        return Vec::new();
    }
    let parse = |text: &String| {
        let text = text.trim().as_bytes();
        Kind::ALL.into_iter().find_map(|kind| Digest::of(kind, text))
    };
    let found = asked.iter().map(parse).collect::<Option<Vec<_>>>();
    if found.is_none() {
        faults.add(
            FIELD,
            "each must be a whole token or management key: `pct_` or `pcm_` and 36 more characters",
        );
    }
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_first_and_their_places_are_bounded() {
        let found = |digest: u8, place: &str| FoundLeak {
            digest: Digest::from_bytes([digest; 32]),
            place: place.to_owned(),
        };
        let mut report = vec![found(1, "a"), found(1, "a"), found(1, "b"), found(2, "a")];
        report.extend((0..10_000).map(|place| found(1, &place.to_string())));
        report.push(found(3, ""));
        let (each, further) = in_order(report);
        let each: Vec<_> = each.iter().map(|found| found.digest.as_bytes()[0]).collect();
        assert_eq!(each, [1, 2, 3]);
        assert_eq!((further.len(), further[0].place.as_str()), (PLACES - 1, "b"));
    }
}
