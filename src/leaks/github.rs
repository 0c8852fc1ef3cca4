//! Reports of GitHub's secret scanning: signed over the raw body with a key that GitHub publishes.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::keys::{Keys, Lack};
use crate::config::GithubKeys;
use crate::control::{Control, FoundLeak, Once};
use crate::credential::{Kind, Plaintext};

const SOURCE: &str = "github";
/// Items of a report. No more of which each holds a credential fit into one.
const ITEMS: usize = 20_000;

/// A report as it arrived.
#[derive(Debug)]
pub struct SignedReport<'a> {
    /// Which key it is said to be signed with.
    pub key: &'a str,
    /// In base64.
    pub signature: &'a str,
    pub body: &'a [u8],
}

/// Why a report was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untaken {
    /// Reports of GitHub are not wanted.
    Off,
    UnknownKey,
    WrongSignature,
    Malformed,
    /// The very same was taken before, and answered.
    Replayed,
    /// The keys or the store cannot be had just now.
    Unavailable,
}

/// What came of a report. Only once its sender was told that is it taken, and not taken again: else it comes again.
#[derive(Debug)]
pub struct Judged {
    /// The answer, as JSON.
    verdicts: Vec<u8>,
    once: Once,
}

/// Judges reports. It remembers the keys.
#[derive(Debug)]
pub struct Desk {
    control: Control,
    keys: Keys,
    /// Those that were answered, while that is written down.
    answered: Mutex<HashSet<[u8; 32]>>,
}

struct Item {
    token: String,
    kind: String,
    url: String,
}

#[derive(Serialize)]
struct Verdict<'a> {
    token_hash: String,
    token_type: &'a str,
    label: &'static str,
}

impl Desk {
    #[must_use]
    pub fn new(control: Control) -> Self {
        Self { control, keys: Keys::new(), answered: Mutex::default() }
    }

    /// Ends what was reported, and gives the answer to it.
    ///
    /// # Errors
    /// When the report was not taken; nothing was ended then, but where the store failed halfway.
    pub async fn judge(&self, report: SignedReport<'_>) -> Result<Judged, Untaken> {
        let source = self.control.config().leaks.github_keys.clone();
        if source == GithubKeys::Off {
            return Err(Untaken::Off);
        }
        let key = self.keys.find(&source, report.key).await.map_err(|lack| match lack {
            Lack::Unknown => Untaken::UnknownKey,
            Lack::Untold => Untaken::Unavailable,
        })?;
        let signature = BASE64_STANDARD.decode(report.signature).map_err(|_| Untaken::WrongSignature)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key)
            .verify(report.body, &signature)
            .map_err(|_| Untaken::WrongSignature)?;
        let items = items(report.body).ok_or(Untaken::Malformed)?;
        // What is signed is the body: another signature of the same would be the same report.
        let request: [u8; 32] = Sha256::digest(report.body).into();
        let key: [u8; 32] = Sha256::new().chain_update(b"github\0").chain_update(request).finalize().into();
        if self.answered().contains(&key) {
            return Err(Untaken::Replayed);
        }
        let mut found = Vec::new();
        let mut places = Vec::with_capacity(items.len());
        for item in &items {
            let parsed = Kind::ALL.into_iter().find_map(|kind| Plaintext::parse(kind, item.token.as_bytes()));
            places.push(parsed.map(|value| {
                let place = item.url.clone();
                found.push(FoundLeak { digest: value.digest(), place });
                found.len() - 1
            }));
        }
        let once = Once { key, request };
        let known =
            self.control.report_signed(SOURCE, found, &once).await.map_err(|_| Untaken::Unavailable)?;
        let known = known.ok_or(Untaken::Replayed)?;
        let is_ours =
            |place: Option<usize>| place.and_then(|place| known.get(place).copied()).unwrap_or(false);
        let verdicts: Vec<_> = items
            .iter()
            .zip(places)
            .map(|(item, place)| Verdict {
                token_hash: BASE64_STANDARD.encode(Sha256::digest(item.token.as_bytes())),
                token_type: &item.kind,
                label: if is_ours(place) { "true_positive" } else { "false_positive" },
            })
            .collect();
        let verdicts = serde_json::to_vec(&verdicts).map_err(|_| Untaken::Unavailable)?;
        Ok(Judged { verdicts, once })
    }

    /// Has the sender told by `tell`, which says whether they still listened, and remembers it if so.
    pub async fn answer(&self, judged: Judged, tell: impl FnOnce(Vec<u8>) -> bool) {
        let Judged { verdicts, once } = judged;
        let key = once.key;
        // Who was told may send it again before that is on disk.
        self.answered().insert(key);
        if tell(verdicts) {
            // The store says itself that it cannot be written, and what is judged twice ends nothing twice.
            let _ = self.control.told_signed(SOURCE, &once).await;
        }
        self.answered().remove(&key);
    }

    fn answered(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a report holds. Nothing odd about one item saves another, or itself, from being ended.
fn items(body: &[u8]) -> Option<Vec<Item>> {
    let items: Vec<Value> = serde_json::from_slice(body).ok()?;
    let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let item = |item: &Value| {
        let (kind, url) = (text(item, "type").unwrap_or_default(), text(item, "url").unwrap_or_default());
        Some(Item { token: text(item, "token")?, kind, url })
    };
    (items.len() <= ITEMS).then(|| items.iter().filter_map(item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUqkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==";
    const BODY: &[u8] = br#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#;
    const SIGNATURE: &str =
        "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=";

    #[test]
    fn the_published_vector_verifies_and_a_changed_byte_does_not() {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----\n");
        let published = serde_json::json!({
            "public_keys": [{ "key_identifier": "a", "key": pem, "is_current": true }, { "key_identifier": "b", "key": "" }],
        });
        let keys = super::super::keys::parse(published.to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &keys["a"]);
        let signature = BASE64_STANDARD.decode(SIGNATURE).unwrap();
        assert!(key.verify(BODY, &signature).is_ok());
        let mut changed = BODY.to_vec();
        changed[20] ^= 1;
        assert!(key.verify(&changed, &signature).is_err());
        let mut changed = signature;
        changed[20] ^= 1;
        assert!(key.verify(BODY, &changed).is_err());
    }

    #[test]
    fn an_odd_item_leaves_the_others() {
        let body = br#"[{"token":"a","type":null,"url":1},{"token":7},null,{"token":"b","more":1}]"#;
        let tokens: Vec<_> = items(body).unwrap().into_iter().map(|item| item.token).collect();
        assert_eq!(tokens, ["a", "b"]);
        assert!(items(b"{}").is_none());
        let many = format!("[{}0]", "0,".repeat(ITEMS));
        assert!(items(many.as_bytes()).is_none());
    }
}
