//! Endings that are derived, acts that come too late, and what is done behind everything else.

use std::net::IpAddr;

use super::*;
use crate::model::{KeyId, Status, Upstream};

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn with_key(store: &Store, name: &str) -> (KeyId, Act) {
    let (key, _) = store.mint_key(act(), key(name)).await.unwrap();
    (key.id, Act { actor: name.to_owned(), key: Some(key.id), ..act() })
}

fn deployment(id: &str) -> NewDeployment {
    NewDeployment {
        app: AppName::parse("shop").unwrap(),
        environment: EnvironmentName::parse("production").unwrap(),
        id: DeploymentId::parse(id).unwrap(),
        upstreams: Some(vec![Upstream::parse("http://127.0.0.1:1").unwrap()]),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, NotDone>) -> Refused {
    match result {
        Err(NotDone::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_is_no_longer_in_force_does_nothing_more() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (minted, _) = mint(&store).await;
    let (revoked, ann) = with_key(&store, "ann").await;
    let (_, bob) = with_key(&store, "bob").await;
    store.revoke_key(act(), revoked, false).await.unwrap();
    store.remove_member(act(), MemberName::parse("bob").unwrap(), false, Outlets::default()).await.unwrap();
    let mut expired = key("eve");
    expired.expires_at = Some(Timestamp::now() - 1.second());
    let (expired, _) = store.mint_key(act(), expired).await.unwrap();
    let eve = Act { key: Some(expired.id), ..act() };
    let at = *store.revisions().borrow();
    for late in [&ann, &bob, &eve] {
        let act = || late.clone();
        assert_eq!(refused(store.mint_token(act(), token(), Limits::default()).await), Refused::Caller);
        assert_eq!(
            refused(store.revoke_token(act(), minted.id, None, Outlets::default()).await),
            Refused::Caller
        );
        assert_eq!(refused(store.delete_token(act(), minted.id, Outlets::default()).await), Refused::Caller);
        assert_eq!(refused(store.edit_token(act(), minted.id, TokenEdit::default()).await), Refused::Caller);
        assert_eq!(refused(store.mint_key(act(), key("x")).await), Refused::Caller);
        assert_eq!(refused(store.publish(act(), deployment("x")).await), Refused::Caller);
        let name = MemberName::parse("eve").unwrap();
        assert_eq!(
            refused(store.remove_member(act(), name, false, Outlets::default()).await),
            Refused::Caller
        );
    }
    assert_eq!(*store.revisions().borrow(), at);
}

#[tokio::test]
async fn a_member_takes_all_of_theirs_along_in_one_revision() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let (_, ann) = with_key(&store, "ann").await;
    let mut hers = Vec::new();
    for _ in 0..3 {
        hers.push(store.mint_token(ann.clone(), token(), Limits::default()).await.unwrap().0.id);
    }
    let (kept, before) = mint(&store).await;
    let removal = store
        .remove_member(act(), MemberName::parse("ann").unwrap(), true, Outlets::default())
        .await
        .unwrap();
    assert_eq!((removal.tokens, removal.keys, removal.revision), (3, 1, before + 1));
    let mut revoked = Vec::new();
    let follow = |revision, changed| {
        if let Changed::Revoked(id, _) = changed {
            revoked.push((revision, id));
        }
    };
    store.feed().follow(before, 10, follow).unwrap();
    assert_eq!(revoked, hers.iter().map(|id| (before + 1, *id)).collect::<Vec<_>>());
    let ended = store.token(hers[0]).await.unwrap().unwrap();
    assert_eq!((ended.status(Timestamp::now()), ended.orphaned), (Status::Revoked, true));
    assert_eq!(store.token(kept.id).await.unwrap().unwrap().status(Timestamp::now()), Status::Active);
    // What ended with its member is forgotten as what was revoked is.
    assert_eq!(store.forget_ended(Timestamp::now()).await.unwrap(), 3);
}

#[tokio::test]
async fn what_was_replaced_is_forgotten_by_the_end_of_its_grace() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let at = Timestamp::now();
    let pinned = async |rule: &str| {
        let new = NewToken { on_publish: OnPublish::parse(rule).unwrap(), expires_at: None, ..token() };
        store.mint_token(act(), new, Limits::default()).await.unwrap().0.id
    };
    let (stopped, graced, kept) = (pinned("stop").await, pinned("grace:1h").await, pinned("keep").await);
    store.publish(Act { at, ..act() }, deployment("blue")).await.unwrap();
    let status = async |id, now| store.token(id).await.unwrap().map(|token| token.status(now));
    assert_eq!(status(stopped, at - 1.hour()).await, Some(Status::Replaced), "whatever the clock says");
    assert_eq!(status(graced, at + 59.minutes()).await, Some(Status::Active));
    assert_eq!(status(graced, at + 1.hour()).await, Some(Status::Replaced));
    for (cutoff, left) in [(-1, 3), (0, 2), (3_599_000, 2), (3_600_000, 1), (i64::from(i32::MAX), 1)] {
        store.forget_ended(at + cutoff.milliseconds()).await.unwrap();
        assert_eq!(store.tokens(every()).await.unwrap().len(), left, "{cutoff}");
    }
    assert_eq!(status(kept, at).await, Some(Status::Active));
}

#[tokio::test]
async fn what_ends_soon_and_is_in_use_is_noted_once() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let now = Timestamp::now();
    let graced = NewToken { on_publish: OnPublish::parse("grace:1h").unwrap(), expires_at: None, ..token() };
    let graced = store.mint_token(act(), graced, Limits::default()).await.unwrap().0.id;
    let (used, unused, revoked) = (mint(&store).await.0.id, mint(&store).await.0.id, mint(&store).await.0.id);
    let uses = [graced, used, revoked].map(|of| Use { of, at: now.as_millisecond(), from: FROM });
    store.note_last_uses(uses.to_vec()).await.unwrap();
    store.revoke_token(act(), revoked, None, Outlets::default()).await.unwrap();
    assert_eq!(store.note_ending(now, now + 1.hour(), Ahead::Week, Outlets::default()).await.unwrap(), 0);
    assert_eq!(store.note_ending(now, now + 48.hours(), Ahead::Week, Outlets::default()).await.unwrap(), 1);
    let count = async |hours: i64| store.count_ending(now, now + hours.hours()).await.unwrap();
    assert_eq!((count(1).await, count(48).await), (0, 1));
    store.publish(act(), deployment("blue")).await.unwrap();
    // The other was replaced with it, and so has ended.
    assert_eq!(
        store.note_ending(Timestamp::now(), now + 48.hours(), Ahead::Week, Outlets::default()).await.unwrap(),
        1
    );
    assert_eq!(
        store.note_ending(Timestamp::now(), now + 48.hours(), Ahead::Week, Outlets::default()).await.unwrap(),
        0
    );
    assert_eq!(count(48).await, 1);
    let entries = store.audit(EntryFilter { limit: 100, ..EntryFilter::default() }).await.unwrap();
    let noted: Vec<_> = entries.iter().filter(|entry| entry.action == "token.expiring").collect();
    assert_eq!([&noted[0].subject, &noted[1].subject], [&used.to_string(), &graced.to_string()]);
    assert_ne!(noted[0].subject, unused.to_string());
    assert_eq!(store.token(used).await.unwrap().unwrap().last_used_from, Some(FROM));
}

#[tokio::test]
async fn calls_are_remembered_for_a_day() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let start = Timestamp::now();
    let once = |request: u8| Some(Once { key: [7; 32], request: [request; 32], lasts: false });
    let at = |hours: i64, request| Act { at: start + hours.hours(), once: once(request), ..act() };
    let mint = async |act: Act| store.mint_token(act, token(), Limits::default()).await;
    let first = mint(at(0, 1)).await.unwrap().0.id;
    let Refused::Repeated(repeat) = refused(mint(at(23, 1)).await) else { panic!("not repeated") };
    assert_eq!(repeat.subject, first.to_string());
    assert_eq!(store.repeat(at(23, 1)).await.unwrap().unwrap().unwrap().subject, first.to_string());
    assert_eq!(refused(mint(at(23, 2)).await), Refused::Reused);
    assert_eq!(store.trim_repeats(start + 23.hours()).await.unwrap(), 0);
    assert!(store.repeat(at(24, 1)).await.unwrap().is_none());
    let second = mint(at(24, 2)).await.unwrap().0.id;
    assert_ne!(first, second, "the name is free again");
    assert_eq!(store.trim_repeats(start + 48.hours()).await.unwrap(), 1);
}

#[tokio::test]
async fn limits_count_what_lives() {
    let (_folder, path) = fresh();
    let store = Store::open(&path).unwrap();
    let limits = Limits { in_all: 2, per_member: 1 };
    let mint = async |act: Act, new: NewToken| store.mint_token(act, new, limits).await;
    let (_, ann) = with_key(&store, "ann").await;
    let hers = mint(ann.clone(), token()).await.unwrap().0.id;
    let limit = |per_member, limit, live| Refused::Limit { per_member, limit, live };
    assert_eq!(refused(mint(ann.clone(), token()).await), limit(true, 1, 1));
    mint(act(), token()).await.unwrap();
    assert_eq!(refused(mint(act(), token()).await), limit(false, 2, 2));
    // Every way to end makes room.
    store.revoke_token(act(), hers, None, Outlets::default()).await.unwrap();
    mint(ann.clone(), token()).await.unwrap();
    store.publish(act(), deployment("blue")).await.unwrap();
    mint(ann.clone(), token()).await.unwrap();
    store.remove_member(act(), MemberName::parse("ann").unwrap(), false, Outlets::default()).await.unwrap();
    mint(act(), token()).await.unwrap();
    mint(act(), token()).await.unwrap();
    assert_eq!(refused(mint(act(), token()).await), limit(false, 2, 2));
    let later = Act { at: Timestamp::now() + 25.hours(), ..act() };
    mint(later, token()).await.unwrap();
    assert_eq!(refused(mint(act(), token()).await), limit(false, 2, 3), "the clock was set back");
}
