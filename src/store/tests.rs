//! What the store promises, over real files.

mod damage;
mod endings;
mod migration;
mod reading;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::credential::{Kind, Plaintext};
use crate::model::{
    AppName, DeploymentId, EnvironmentName, Label, Lifetime, MemberName, OnPublish, Rules, Scope, Text,
    Token, TokenApp, TokenId,
};

fn fresh() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    (folder, path)
}

fn act() -> Act {
    Act {
        at: Timestamp::now(),
        actor: "operator".to_owned(),
        key: None,
        from: "socket".to_owned(),
        once: None,
    }
}

fn token() -> NewToken {
    let value = Plaintext::generate(Kind::Token).unwrap();
    NewToken {
        share: None,
        digest: value.digest(),
        hint: value.hint().to_owned(),
        label: Label::parse("CI 100%").unwrap(),
        description: Text::default(),
        app: TokenApp::parse("shop").unwrap(),
        environment: EnvironmentName::parse("production").unwrap(),
        on_publish: OnPublish::Stop,
        rules: Rules::default(),
        expires_at: Some(Timestamp::now() + 24.hours()),
        lifetime: Some(Lifetime::hours(24)),
    }
}

fn key(member: &str) -> NewKey {
    let value = Plaintext::generate(Kind::Key).unwrap();
    NewKey {
        digest: value.digest(),
        hint: value.hint().to_owned(),
        label: Label::default(),
        member: MemberName::parse(member).unwrap(),
        scopes: [Scope::Read, Scope::Mint].into_iter().collect(),
        app: None,
        expires_at: None,
    }
}

fn every() -> TokenFilter {
    TokenFilter::every(Timestamp::now(), usize::MAX)
}

async fn mint(store: &Store) -> (Token, u64) {
    store.mint_token(act(), token(), Limits::default()).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files() {
    let (folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (minted, _) = mint(&store).await;
    let (gone, _) = mint(&store).await;
    store.revoke_token(act(), gone.id, Some("lost".to_owned()), Outlets::default()).await.unwrap();
    // What a kill would leave behind: the files as they are, while the store still has them open.
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path().join("portcullis.db-wal"), folder.path().join("copy.db-wal")).unwrap();
    let again = Store::open(&copy).unwrap();
    let found = again.token(minted.id).await.unwrap().unwrap();
    assert_eq!((found.hint, found.expires_at.is_some()), (minted.hint, true));
    let ended = again.token(gone.id).await.unwrap().unwrap().revoked.unwrap();
    assert_eq!((ended.by.as_str(), ended.reason.as_deref()), ("operator", Some("lost")));
    assert_eq!(*again.revisions().borrow(), *store.revisions().borrow());
}

#[tokio::test]
async fn a_closed_store_opens_again_and_takes_no_more() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (minted, revision) = mint(&store).await;
    store.close().await;
    assert!(store.mint_token(act(), token(), Limits::default()).await.is_err());
    let again = Store::open(&path).unwrap();
    assert!(again.token(minted.id).await.unwrap().is_some());
    assert_eq!(*again.revisions().borrow(), revision);
}

#[test]
fn what_is_no_store_of_ours_is_refused_by_name() {
    let (folder, path) = fresh();
    // An inspection says what opening would.
    let refused = |path: &Path| {
        let inspected = Store::inspect(path, &[]).map_err(|error| error.to_string());
        let error = Store::open(path).unwrap_err();
        if path.parent().unwrap().is_dir() {
            assert_eq!(inspected.err(), Some(error.to_string()));
        }
        error
    };
    fs::write(&path, "this is not a database, however long one looks at it".repeat(100)).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("portcullis.db"));

    let newer = folder.path().join("newer.db");
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&newer).to_string();
    assert!(error.contains("newer.db") && error.contains("99") && error.contains("up to 9"), "{error}");

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(refused(&foreign), OpenError::Foreign(_)));
    assert!(matches!(refused(folder.path()), OpenError::Io { .. }));
    assert!(matches!(refused(&folder.path().join("none/x.db")), OpenError::Io { .. }));
}

#[tokio::test]
async fn a_damaged_page_is_found_at_the_start() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    for _ in 0..50 {
        mint(&store).await;
    }
    store.close().await;
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let inspected = Store::inspect(&path, &[]).unwrap_err().to_string();
    let error = Store::open(&path).and_then(|store| store.sound()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert_eq!(inspected, error.to_string());
}

#[tokio::test]
async fn an_inspection_leaves_no_trace() {
    let (folder, path) = fresh();
    let path = path.with_file_name("odd #1%?.db");
    let files = || {
        let mut files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        files
    };
    Store::inspect(&path, &[]).unwrap();
    assert!(files().is_empty());
    let store = Store::open(&path).unwrap();
    mint(&store).await;
    Store::inspect(&path, &[]).unwrap();
    store.close().await;
    drop(store);
    let (before, bytes) = (files(), fs::read(&path).unwrap());
    Store::inspect(&path, &[]).unwrap();
    assert_eq!((files(), fs::read(&path).unwrap()), (before, bytes));
}

#[test]
fn one_process_at_a_time_and_nobody_else_reads() {
    let (folder, path) = fresh();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(&path).unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = Store::open(name).unwrap_err();
        assert!(matches!(error, OpenError::InUse(_)), "{error}");
    }
    for file in ["portcullis.db", "portcullis.db-wal", "portcullis.db-shm", "portcullis.db.lock"] {
        assert_eq!(mode(&folder.path().join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn the_audit_log_only_grows() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (token, _) = mint(&store).await;
    store.revoke_token(act(), token.id, None, Outlets::default()).await.unwrap();
    store.revoke_token(act(), token.id, None, Outlets::default()).await.unwrap();
    store.mint_key(act(), key("ann")).await.unwrap();
    let direct = Connection::open(&path).unwrap();
    let actions: Vec<String> = direct
        .prepare("SELECT action FROM audit ORDER BY seq")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(actions, ["environment.open", "token.mint", "token.revoke", "member.add", "key.mint"]);
    for attack in [
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, 'x', 'x', 'x', '{}', NULL)",
    ] {
        let error = direct.execute_batch(attack).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_parallel_mints_are_ten_thousand_tokens() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let mut minting = JoinSet::new();
    for _ in 0..10_000 {
        let store = store.clone();
        minting.spawn(async move { mint(&store).await });
    }
    let mut minted = minting.join_all().await;
    minted.sort_by_key(|(token, _)| token.id);
    minted.dedup_by_key(|(token, _)| token.id);
    assert_eq!(minted.len(), 10_000);
    // Ids and revisions were given in one order. Revision 1 is the environment's opening.
    assert!(minted.iter().map(|(_, revision)| *revision).eq(2..=10_001));
    let feed = store.feed();
    let mut seen = 0;
    assert_eq!(feed.follow(0, usize::MAX, |_, _| seen += 1).unwrap(), Followed::UpTo(10_001));
    assert_eq!(seen, 10_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_fails_alone() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (again, used) = (token(), token());
    let twin = NewToken { digest: used.digest, ..token() };
    let results = tokio::join!(
        store.mint_token(act(), used, Limits::default()),
        store.mint_token(act(), twin, Limits::default()),
        store.mint_token(act(), again, Limits::default()),
    );
    assert!(results.0.is_ok() && results.1.is_err() && results.2.is_ok());
    let revisions = [results.0, results.2].map(|minted| minted.unwrap().1);
    assert_eq!(revisions, [2, 3]);
    assert_eq!(store.tokens(every()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_write_that_fails_says_so_and_the_next_succeeds() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (token, _) = mint(&store).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.revoke_token(act(), token.id, None, Outlets::default()).await.unwrap_err();
    assert!(error.to_string().contains("not available"), "{error}");
    assert!(!store.healthy());
    assert!(store.token(token.id).await.unwrap().unwrap().revoked.is_none());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.revoke_token(act(), token.id, None, Outlets::default()).await.unwrap().fresh);
    assert!(store.healthy());
}

#[tokio::test]
async fn ids_increase_even_after_everything_was_forgotten() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let mut last = Vec::new();
    for _ in 0..150 {
        last.push(mint(&store).await.0.id);
    }
    assert_eq!(store.forget_ended(Timestamp::now()).await.unwrap(), 0);
    assert_eq!(store.forget_ended(Timestamp::now() + 48.hours()).await.unwrap(), 150);
    assert!(store.tokens(every()).await.unwrap().is_empty());
    let mut forgotten = 0;
    let counting = |_, changed| forgotten += u32::from(matches!(changed, Changed::Forgotten(..)));
    store.feed().follow(0, usize::MAX, counting).unwrap();
    assert_eq!(forgotten, 150);
    store.close().await;
    drop(store);
    let store = Store::open(&path).unwrap();
    let earlier = Act { at: Timestamp::now() - 48.hours(), ..act() };
    let next = store.mint_token(earlier, token(), Limits::default()).await.unwrap().0.id;
    assert!(last.iter().all(|id| *id < next));
}

#[tokio::test]
async fn a_follower_too_far_behind_is_told() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    for _ in 0..5 {
        mint(&store).await;
    }
    Connection::open(&path).unwrap().execute_batch("DELETE FROM feed WHERE revision <= 3").unwrap();
    let feed = store.feed();
    assert_eq!(feed.follow(1, 10, |_, _| {}).unwrap(), Followed::Gap);
    assert_eq!(feed.follow(3, 2, |_, _| {}).unwrap(), Followed::UpTo(5));
    assert_eq!(feed.follow(6, 2, |_, _| {}).unwrap(), Followed::UpTo(6));
}

#[tokio::test]
async fn the_last_use_is_the_one_noted_last_and_makes_no_revision() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (minted, revision) = mint(&store).await;
    for at in [2_000, 1_000] {
        let last = |of| Use { of, at, from: [127, 0, 0, 1].into() };
        store.note_last_uses(vec![last(minted.id), last(TokenId::NONE)]).await.unwrap();
    }
    let used = store.token(minted.id).await.unwrap().unwrap().last_used_at.unwrap();
    assert_eq!(
        (used.as_millisecond(), *store.revisions().borrow()),
        (1_000, revision),
        "the clock was set back"
    );
}

#[tokio::test]
async fn filters_narrow_and_do_not_widen() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (key, _) = store.mint_key(act(), key("ann")).await.unwrap();
    let (ann, with_her_key) = (key.member, Act { key: Some(key.id), ..act() });
    let hers = NewToken { app: TokenApp::Every, ..token() };
    let hers = store.mint_token(with_her_key, hers, Limits::default()).await.unwrap().0;
    let (other, _) = mint(&store).await;
    store.revoke_token(act(), other.id, None, Outlets::default()).await.unwrap();
    let ids =
        async |filter| store.tokens(filter).await.unwrap().iter().map(|token| token.id).collect::<Vec<_>>();
    use crate::model::Status;
    assert_eq!(ids(every()).await, [other.id, hers.id]);
    assert_eq!(ids(TokenFilter { owner: Some(ann), ..every() }).await, [hers.id]);
    assert_eq!(ids(TokenFilter { member: Some("operator".into()), ..every() }).await, [other.id]);
    assert_eq!(ids(TokenFilter { within: AppName::parse("shop").ok(), ..every() }).await, [other.id]);
    assert_eq!(ids(TokenFilter { status: Some(Status::Active), ..every() }).await, [hers.id]);
    assert_eq!(ids(TokenFilter { status: Some(Status::Revoked), ..every() }).await, [other.id]);
    assert_eq!(ids(TokenFilter { q: Some("ci 100%".into()), ..every() }).await, [other.id, hers.id]);
    let wordy = NewToken { description: Text::parse("Für den NÄCHTLICHEN Check").unwrap(), ..token() };
    let wordy = store.mint_token(act(), wordy, Limits::default()).await.unwrap().0;
    assert_eq!(ids(TokenFilter { q: Some("nÄchtlichen c".into()), ..every() }).await, [wordy.id]);
    store.delete_token(act(), wordy.id, Outlets::default()).await.unwrap();
    let past = TokenFilter { before: Some(wordy.id), ..every() };
    assert_eq!(ids(past).await, [other.id, hers.id], "the end of a page may be gone");
    for q in ["_I", "%x%", "' OR 1=1 --"] {
        assert!(ids(TokenFilter { q: Some(q.into()), ..every() }).await.is_empty(), "{q}");
    }
    assert_eq!(ids(TokenFilter { before: Some(other.id), limit: 1, ..every() }).await, [hers.id]);
    assert_eq!(store.environments().await.unwrap().len(), 2);
}
