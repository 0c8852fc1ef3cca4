//! The keys that GitHub signs its reports with, as it publishes them, and when they are looked for: strangers can make us
//! look, and GitHub answers an address only so often.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::GithubKeys;
use crate::outgoing::{Bounds, Trust};

/// How long after one look there is no other; twice as long with each that did not bring what it was for, up to the
/// longest. That is shorter where nothing was brought: what fails will work again, and until then no report is taken.
const SELDOM: Duration = Duration::from_secs(60);
const SELDOMEST: Duration = Duration::from_secs(60 * 60);
const SELDOMEST_FAILED: Duration = Duration::from_secs(4 * 60);
/// After which time they are looked for before any of them counts, so that one that was withdrawn does not count for
/// ever; they are looked for in passing after half of it.
const STALE: Duration = Duration::from_secs(60 * 60);
/// How long they count where every such look fails: leaked tokens are not to live on while their server is down.
const STALEST: Duration = Duration::from_secs(24 * 60 * 60);
const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(10), answer: 256 * 1024 };
/// Reports that wait for a look at once: what they are signed with may not exist.
const WAITING: usize = 2;
/// Keys that are remembered.
const KEYS: usize = 64;

/// Why there is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// GitHub has none of that name.
    Unknown,
    /// Nobody can tell just now.
    Untold,
}

/// The keys by their identifiers. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    known: Arc<Mutex<Known>>,
    waiting: Arc<Semaphore>,
    /// Who looks.
    turn: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where these are from.
    from: Option<GithubKeys>,
    /// As SubjectPublicKeyInfo.
    keys: HashMap<String, Vec<u8>>,
    read: Option<Instant>,
    looked: Option<Instant>,
    /// Looks in a row that brought keys, but not the one they were for.
    fruitless: u32,
    /// The last looks, in a row, that brought nothing.
    failed: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Key(Vec<u8>),
    /// One that counts, though it is time to look again.
    Ageing(Vec<u8>),
    None,
}

#[derive(Deserialize)]
struct Published {
    public_keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    key_identifier: String,
    key: String,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            known: Arc::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The key of this name. Only for one that is not known is anybody asked while the caller waits.
    pub(super) async fn find(&self, source: &GithubKeys, id: &str) -> Result<Vec<u8>, Lack> {
        let found = self.known().find(source, id, Instant::now());
        match found {
            Found::Key(key) => return Ok(key),
            Found::Ageing(key) => {
                let (keys, source, id) = (self.clone(), source.clone(), id.to_owned());
                tokio::spawn(async move { keys.look(&source, &id).await });
                return Ok(key);
            }
            Found::None => {}
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Lack::Untold) };
        self.look(source, id).await;
        let (mut known, now) = (self.known(), Instant::now());
        match known.find(source, id, now) {
            Found::Key(key) | Found::Ageing(key) => Ok(key),
            Found::None => Err(known.lack(now)),
        }
    }

    /// Looks for them, unless somebody did a short while ago.
    async fn look(&self, source: &GithubKeys, id: &str) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        {
            let (mut known, now) = (self.known(), Instant::now());
            // Whoever had the turn before may have found it.
            if matches!(known.find(source, id, now), Found::Key(_)) || !known.may_look(now) {
                return;
            }
            known.looked = Some(now);
        }
        let found = look(source).await;
        if let Err(wrong) = &found {
            tracing::warn!("the keys of GitHub's reports cannot be had: {wrong}");
        }
        self.known().took(id, found.ok(), Instant::now());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&mut self, source: &GithubKeys, id: &str, now: Instant) -> Found {
        if self.from.as_ref() != Some(source) {
            *self = Self { from: Some(source.clone()), ..Self::default() };
        }
        // Whoever could say what became of old ones was just asked in vain.
        let unheard = self.failed > 0 && !self.may_look(now);
        let until = if unheard { STALEST } else { STALE };
        let counts = self.read.is_some_and(|read| now.duration_since(read) < until);
        match self.keys.get(id).filter(|_| counts).cloned() {
            Some(key) if self.is_ageing(now) && self.may_look(now) => Found::Ageing(key),
            Some(key) => Found::Key(key),
            None => Found::None,
        }
    }

    fn is_ageing(&self, now: Instant) -> bool {
        self.read.is_none_or(|read| now.duration_since(read) >= STALE / 2)
    }

    fn may_look(&self, now: Instant) -> bool {
        let (times, longest) = match self.from {
            Some(GithubKeys::Url(_)) if self.failed > 0 => (self.failed, SELDOMEST_FAILED),
            Some(GithubKeys::Url(_)) => (self.fruitless, SELDOMEST),
            // A file is there for us alone.
            Some(GithubKeys::File(_) | GithubKeys::Off) | None => (0, SELDOM),
        };
        let wait = SELDOM.saturating_mul(1 << times.saturating_sub(1).min(16)).min(longest);
        self.looked.is_none_or(|looked| now.duration_since(looked) >= wait)
    }

    /// Takes what a look for `id` brought.
    fn took(&mut self, id: &str, found: Option<HashMap<String, Vec<u8>>>, now: Instant) {
        let Some(found) = found else {
            self.failed = self.failed.saturating_add(1);
            return;
        };
        (self.keys, self.read, self.failed) = (found, Some(now), 0);
        self.fruitless = if self.keys.contains_key(id) { 0 } else { self.fruitless.saturating_add(1) };
    }

    /// What to say of one that is not among them: it may have come since they were read.
    fn lack(&self, now: Instant) -> Lack {
        let lately = self.read.is_some_and(|read| now.duration_since(read) < SELDOM);
        if lately { Lack::Unknown } else { Lack::Untold }
    }
}

async fn look(source: &GithubKeys) -> Result<HashMap<String, Vec<u8>>, String> {
    let text = match source {
        GithubKeys::Off => return Err("they are switched off".to_owned()),
        GithubKeys::File(path) => {
            let path = path.clone();
            let reading = tokio::task::spawn_blocking(move || read(&path));
            reading.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?.into()
        }
        GithubKeys::Url(url) => fetch(url).await?,
    };
    parse(&text)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(BOUNDS.answer as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn fetch(url: &Uri) -> Result<Bytes, String> {
    let trust = Trust::load().await.map_err(|e| e.to_string())?;
    let request = Request::builder()
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .body(Full::default())
        .map_err(|e| e.to_string())?;
    let answer =
        trust.call(url, request, BOUNDS).await.map_err(|failure| format!("their server {failure}"))?;
    if answer.status != StatusCode::OK {
        return Err(format!("their server answered {}", answer.status));
    }
    Ok(answer.body)
}

/// The keys as GitHub publishes them.
pub(super) fn parse(text: &[u8]) -> Result<HashMap<String, Vec<u8>>, String> {
    let published: Published = serde_json::from_slice(text).map_err(|_| {
        "what is there is not `{\"public_keys\": [{\"key_identifier\", \"key\"}, …]}`".to_owned()
    })?;
    let known: HashMap<_, _> = published
        .public_keys
        .into_iter()
        .take(KEYS)
        .filter_map(|key| {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(key.key.as_bytes()).ok()?;
            Some((key.key_identifier, der.to_vec()))
        })
        .collect();
    if known.is_empty() { Err("there is no key among them".to_owned()) } else { Ok(known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> GithubKeys {
        GithubKeys::Url(url.parse().unwrap())
    }

    fn one(id: &str) -> Option<HashMap<String, Vec<u8>>> {
        Some([(id.to_owned(), vec![1])].into_iter().collect())
    }

    #[test]
    fn fruitless_looks_become_seldom_and_old_keys_do_not_count() {
        let (source, start) = (url("https://example.com/"), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut known = Known::default();
        assert_eq!(known.find(&source, "a", start), Found::None);
        assert!(known.may_look(start));
        known.looked = Some(start);
        known.took("a", one("a"), start);
        assert_eq!(known.find(&source, "a", minutes(29)), Found::Key(vec![1]));
        assert_eq!(known.find(&source, "a", minutes(30)), Found::Ageing(vec![1]));
        assert_eq!(known.find(&source, "a", minutes(60)), Found::None);
        assert_eq!((known.lack(start), known.lack(minutes(1))), (Lack::Unknown, Lack::Untold));
        let mut waits = Vec::new();
        let mut at = 0;
        for _ in 0..9 {
            let next = (at + 1..).find(|minute| known.may_look(minutes(*minute))).unwrap();
            waits.push(next - at);
            at = next;
            known.looked = Some(minutes(at));
            known.took("made up", one("a"), minutes(at));
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        // Others' nonsense takes nothing from those that are known.
        assert_eq!(known.find(&source, "a", minutes(at + 1)), Found::Key(vec![1]));
        known.took("a", one("a"), minutes(at));
        assert!(known.may_look(minutes(at + 1)));
        assert_eq!(known.find(&url("https://example.org/"), "a", minutes(at)), Found::None);
    }

    #[test]
    fn looks_that_fail_are_made_again_soon() {
        let (source, start) = (url("https://example.com/"), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut known = Known::default();
        known.find(&source, "a", start);
        let mut waits = Vec::new();
        let mut at = 0;
        for _ in 0..5 {
            known.looked = Some(minutes(at));
            known.took("made up", None, minutes(at));
            let next = (at + 1..).find(|minute| known.may_look(minutes(*minute))).unwrap();
            waits.push(next - at);
            at = next;
        }
        assert_eq!(waits, [1, 2, 4, 4, 4]);
        known.looked = Some(minutes(at));
        known.took("a", one("a"), minutes(at));
        assert!(known.may_look(minutes(at + 1)), "nothing is left of it");
    }

    #[test]
    fn old_keys_count_for_a_day_while_nobody_can_say_that_they_were_withdrawn() {
        let (source, start) = (url("https://example.com/"), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut known = Known::default();
        known.find(&source, "a", start);
        known.took("a", one("a"), start);
        let day = 24 * 60;
        for at in [60, 90, day - 4] {
            assert_eq!(known.find(&source, "a", minutes(at)), Found::None, "others are asked first");
            known.looked = Some(minutes(at));
            known.took("a", None, minutes(at));
            assert_eq!(known.find(&source, "a", minutes(at)), Found::Key(vec![1]));
        }
        known.looked = Some(minutes(day));
        assert_eq!(known.find(&source, "a", minutes(day)), Found::None);
        known.took("a", one("b"), minutes(day));
        assert_eq!(known.find(&source, "a", minutes(day)), Found::None, "it was withdrawn");
        assert_eq!(known.lack(minutes(day)), Lack::Unknown);
    }

    #[tokio::test]
    async fn what_is_known_is_not_kept_waiting_by_a_look() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = url(&format!("http://{}/", listener.local_addr().unwrap()));
        let keys = Keys::new();
        keys.known().find(&source, "now", Instant::now());
        keys.known().took("now", one("now"), Instant::now());
        // Nobody answers what they ask.
        let mut strangers: Vec<_> = (0..WAITING).map(|_| Box::pin(keys.find(&source, "made up"))).collect();
        for stranger in &mut strangers {
            assert!(tokio::time::timeout(Duration::from_millis(1), stranger).await.is_err());
        }
        assert_eq!(keys.find(&source, "made up").await, Err(Lack::Untold), "no more of them wait");
        assert_eq!(keys.find(&source, "now").await, Ok(vec![1]));
    }

    #[test]
    fn nonsense_in_the_place_of_keys_is_told() {
        for text in
            ["", "[]", "{}", r#"{"public_keys":[]}"#, r#"{"public_keys":[{"key_identifier":"a","key":"x"}]}"#]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
