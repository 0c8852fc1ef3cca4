//! Rows that do not read: they take no others along, and what they are of can be ended.

use std::sync::Arc;

use super::*;
use crate::credential::Digest;
use crate::model::{LeakDone, LeakKind};

fn reported(digest: Digest) -> Reported {
    Reported {
        digest,
        source: "github".to_owned(),
        place: "https://example.com/a".to_owned(),
        places: Arc::default(),
        further: false,
    }
}

async fn minted(store: &Store) -> (TokenId, Digest) {
    let new = token();
    let digest = new.digest;
    (store.mint_token(act(), new, Limits::default()).await.unwrap().0.id, digest)
}

fn spoil(path: &Path, change: &str, id: TokenId) {
    let direct = Connection::open(path).unwrap();
    assert_eq!(direct.execute(&format!("UPDATE {change} = ?"), [id.to_string()]).unwrap(), 1);
}

#[tokio::test]
async fn a_token_that_does_not_read_is_ended_with_the_others_of_its_report() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let outlets = Outlets { webhook: true, ..Outlets::default() };
    for change in [
        "tokens SET scopes = '[\"bad\"]' WHERE id",
        "tokens SET expires_at = 9223372036854775807 WHERE id",
        "tokens SET label = char(10) WHERE id",
        "tokens SET last_used_from = 'nowhere' WHERE id",
    ] {
        let (good, spoilt, other) = (minted(&store).await, minted(&store).await, minted(&store).await);
        spoil(&path, change, spoilt.0);
        spoil(&path, change, other.0);
        let reports = vec![reported(good.1), reported(spoilt.1)];
        let piece = Piece { reports, first: true, last: true };
        let done = store.report_leaks(act(), piece, Arc::default(), outlets).await.unwrap();
        assert!(!done.unread);
        let done: Vec<_> = done.each.into_iter().map(|reaction| reaction.unwrap().done).collect();
        assert_eq!(done, [LeakDone::Revoked; 2], "{change}");
        assert!(store.token_to_end(spoilt.0).await.unwrap().unwrap().revoked.is_some());
        let revoked = store.revoke_token(act(), other.0, None, outlets).await.unwrap();
        assert!(revoked.fresh && revoked.of.revoked.is_some());
    }
    assert!(!store.notices(None, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_report_of_one_that_cannot_be_read_at_all_says_so_and_ends_the_others() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (good, spoilt) = (minted(&store).await, minted(&store).await);
    spoil(&path, "tokens SET environment = '' WHERE id", spoilt.0);
    let reports = vec![reported(spoilt.1), reported(good.1)];
    let piece = Piece { reports, first: true, last: true };
    let done = store.report_leaks(act(), piece, Arc::default(), Outlets::default()).await.unwrap();
    assert!(done.unread && done.each[0].is_none());
    assert_eq!(done.each[1].as_ref().unwrap().done, LeakDone::Revoked);
    let held = store.held(vec![spoilt.1, good.1]).await.unwrap();
    assert_eq!(held.len(), 1, "one that cannot be read takes none along");
}

#[tokio::test]
async fn a_warning_of_one_that_does_not_read_takes_none_along() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (spoilt, other) = (minted(&store).await, minted(&store).await);
    spoil(&path, "tokens SET app = '' WHERE id", spoilt.0);
    let suspect = |token| Suspect {
        token,
        kind: LeakKind::Referer,
        count: 1,
        place: String::new(),
        client: [127, 0, 0, 1].into(),
        agent: None,
    };
    let suspects = vec![suspect(spoilt.0), suspect(other.0)];
    store.suspect_tokens(act(), suspects, None, Outlets::default()).await.unwrap();
    let filter = LeakFilter { owner: None, within: None, subject: None, before: None, limit: 9 };
    let leaks = store.leaks(filter).await.unwrap();
    assert_eq!(leaks.iter().map(|leak| &*leak.subject).collect::<Vec<_>>(), [other.0.to_string()]);
}

#[tokio::test]
async fn a_network_that_does_not_read_is_passed_over() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (spoilt, other) = (minted(&store).await.0, minted(&store).await.0);
    let from = |of, last: u8| Use { of, at: 1, from: [192, 0, last, 1].into() };
    let uses = vec![from(spoilt, 1), from(spoilt, 2), from(other, 3)];
    store.note_last_uses(uses).await.unwrap();
    store.note_last_uses(vec![from(other, 4)]).await.unwrap();
    let direct = Connection::open(&path).unwrap();
    direct.execute("UPDATE token_networks SET address = 'nowhere' WHERE number = 2", []).unwrap();
    let (uses, seen) = store.first_uses(true, 100).await.unwrap();
    assert_eq!(uses.iter().map(|first| first.token).collect::<Vec<_>>(), [other]);
    assert_eq!(seen, Some(4));

    // From where on to look is told anew where that does not read.
    direct.execute("UPDATE meta SET value = 'nonsense' WHERE name = 'networks_seen'", []).unwrap();
    let (uses, seen) = store.first_uses(true, 100).await.unwrap();
    assert!(uses.is_empty() && seen == Some(4));
}
