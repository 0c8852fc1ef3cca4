//! What reports of leaks do, by a clock that the test sets.

use rusqlite::Connection;

use super::*;
use crate::config::{LeakAction, Webhook};
use crate::control::leaks::Reacted;
use crate::credential::{Kind, Plaintext};
use crate::model::{Channel, Event, LeakDone, TokenId};
use crate::store::{Ahead, Outlets, Use};

impl Site {
    /// Reports a credential; what was done with it, and how it stands then.
    async fn report(&self, value: &str, place: &str) -> (LeakDone, Status) {
        let asked = ReportLeaks {
            tokens: Some(vec![value.to_owned()]),
            source: Some("a scan".to_owned()),
            url: Some(place.to_owned()),
            ..ReportLeaks::default()
        };
        let mut reacted = self.control.report_leaks(&Caller::Operator { from: None }, asked).await.unwrap();
        match reacted.remove(0) {
            Reacted::Known { done, status, .. } => (done, status),
            Reacted::Unknown => panic!("it is known"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaked_after_its_end_does_not_live_again_with_an_earlier_clock() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (_, token) = site.mint(|_| {}).await;
    let minted = site.now();
    site.set(minted + 3.hours());
    assert_eq!(site.report(&token, "").await, (LeakDone::AlreadyEnded, Status::Revoked));
    site.set(minted);
    assert_eq!(site.code_at(SHOP, &token, minted), "token_revoked");
}

fn with_webhook(config: &mut Config) {
    config.notify.webhook =
        Some(Webhook { url: "http://127.0.0.1:1/".parse().unwrap(), secret_file: "none".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leak_in_many_places_is_told_once_a_day_and_kept_within_bounds() {
    let site = Site::start("2027-03-01T12:00:00Z", with_webhook);
    let (_, token) = site.mint(|_| {}).await;
    for place in 0..40 {
        site.report(&token, &format!("https://example.com/{place}")).await;
    }
    let notices = || async { site.control.store.notices(None, 500).await.unwrap().len() };
    assert_eq!(notices().await, 1);
    site.set(site.now() + 25.hours());
    for place in 40..150 {
        site.report(&token, &format!("https://example.com/{place}")).await;
    }
    assert_eq!(notices().await, 2);
    let asked = ListLeaks { limit: Some("500".to_owned()), ..ListLeaks::default() };
    let leaks = site.control.list_leaks(&Caller::Operator { from: None }, asked).await.unwrap().items;
    assert_eq!((leaks.len(), leaks.iter().map(|leak| leak.count).sum::<u64>()), (100, 150));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_report_ends_all_and_is_taken_once() {
    let site = Site::start("2027-03-01T12:00:00Z", with_webhook);
    let mut found = Vec::new();
    for _ in 0..3 {
        let (_, token) = site.mint(|_| {}).await;
        let digest = Plaintext::parse(Kind::Token, token.as_bytes()).unwrap().digest();
        found.extend((0..200).map(|place| FoundLeak { digest, place: place.to_string() }));
    }
    let once = || Once { key: [1; 32], request: [2; 32] };
    let verdicts = site.control.report_signed("github", found.clone(), &once()).await.unwrap();
    assert_eq!(verdicts, Some(vec![true; 600]));
    assert_eq!(site.listed("revoked").await.len(), 3);
    assert_eq!(site.control.store.notices(None, 500).await.unwrap().len(), 3);
    // Until its sender was told, it may come again.
    let verdicts = site.control.report_signed("github", found.clone(), &once()).await.unwrap();
    assert_eq!(verdicts, Some(vec![true; 600]));
    assert_eq!(site.control.store.notices(None, 500).await.unwrap().len(), 3);
    for _ in 0..2 {
        site.control.told_signed("github", &once()).await.unwrap();
        assert_eq!(site.control.report_signed("github", found.clone(), &once()).await.unwrap(), None);
    }
    // Nor weeks later, when other calls are long forgotten.
    site.set(site.now() + (30 * 24).hours());
    site.control.store.trim_repeats(site.now()).await.unwrap();
    assert_eq!(site.control.report_signed("github", found, &once()).await.unwrap(), None);
    let leaks =
        site.control.list_leaks(&Caller::Operator { from: None }, ListLeaks::default()).await.unwrap().items;
    assert!(leaks.iter().all(|leak| leak.count == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_report_did_is_listed_and_logged() {
    let site = Site::start("2027-03-01T12:00:00Z", |config| {
        config.leaks.action = LeakAction::Grace(Lifetime::parse("1h").unwrap());
    });
    let (id, token) = site.mint(|asked| asked.expires_in = Some("7d".to_owned())).await;
    assert_eq!(site.report(&token, "a").await, (LeakDone::Grace, Status::Active));
    let mut config = (*site.control.config.load_full()).clone();
    config.leaks.action = LeakAction::Revoke;
    site.control.config.store(Arc::new(config));
    assert_eq!(site.report(&token, "a").await, (LeakDone::Revoked, Status::Revoked));
    let leaks =
        site.control.list_leaks(&Caller::Operator { from: None }, ListLeaks::default()).await.unwrap().items;
    assert_eq!((leaks.len(), leaks[0].done, leaks[0].ends_at), (1, LeakDone::Revoked, None));
    let log = Connection::open(site.folder.path().join("s.db")).unwrap();
    let reports: i64 = log
        .query_row("SELECT count(*) FROM audit WHERE action = 'leak.report' AND subject = ?", [&id], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(reports, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_notices_overtake_others_and_what_failed_before() {
    let site = Site::start("2027-03-01T12:00:00Z", with_webhook);
    let due = || async { site.control.due_notices(Channel::Webhook, 10).await.unwrap().0 };
    let (_, first) = site.mint(|_| {}).await;
    site.report(&first, "").await;
    let failed = due().await.remove(0).id;
    let sent = Sent::Again { due: site.now(), error: "down".to_owned() };
    site.control.settle_notice(failed, Channel::Webhook, sent).await.unwrap();
    let (revoked, _) = site.mint(|_| {}).await;
    site.control
        .revoke_token(&Caller::Operator { from: None }, &revoked, RevokeToken::default())
        .await
        .unwrap();
    site.set(site.now() + 1.minutes());
    let (_, last) = site.mint(|_| {}).await;
    site.report(&last, "").await;
    let events: Vec<_> = due().await.iter().map(|notice| notice.event).collect();
    assert_eq!(events, [Event::TokenLeaked, Event::TokenLeaked, Event::TokenRevoked]);
    assert_eq!(due().await[1].id, failed);
    // Nor does what another version wrote hold up anything.
    let outbox = Connection::open(site.folder.path().join("s.db")).unwrap();
    outbox.execute("UPDATE outbox SET event = 'token.lost' WHERE id = ?", [failed.to_string()]).unwrap();
    assert_eq!(due().await.len(), 2);
    outbox.execute("UPDATE outbox SET event = 'token.leaked' WHERE id = ?", [failed.to_string()]).unwrap();
    // What was written by a clock that ran ahead does not wait for that moment to come again.
    site.set(site.now() - 5.hours());
    assert_eq!(due().await.len(), 3);
    let month = SignedDuration::from_hours(31 * 24);
    site.control.store.trim_notices(site.now() + month).await.unwrap();
    assert_eq!(due().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_told_what_the_first_call_did() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (_, ended) = site.mint(|_| {}).await;
    site.report(&ended, "").await;
    site.set(site.now() + 1.minutes());
    let (_, token) = site.mint(|_| {}).await;
    let asked = || ReportLeaks {
        tokens: Some(vec![token.clone(), ended.clone()]),
        source: Some("a scan".to_owned()),
        once: Some(Once { key: [1; 32], request: [2; 32] }),
        ..ReportLeaks::default()
    };
    for _ in 0..2 {
        let reacted = site.control.report_leaks(&Caller::Operator { from: None }, asked()).await.unwrap();
        let done = reacted.iter().map(|reacted| match reacted {
            Reacted::Known { done, .. } => *done,
            Reacted::Unknown => panic!("it is known"),
        });
        assert_eq!(done.collect::<Vec<_>>(), [LeakDone::Revoked, LeakDone::AlreadyEnded]);
        site.set(site.now() + 1.minutes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaked_and_ends_soon_is_not_to_be_rotated() {
    let site = Site::start("2027-03-01T12:00:00Z", |config| {
        with_webhook(config);
        config.leaks.action = LeakAction::Grace(Lifetime::parse("1h").unwrap());
    });
    let (id, token) = site.mint(|asked| asked.expires_in = Some("7d".to_owned())).await;
    site.set(site.now() + 48.hours());
    let of = TokenId::parse(&id).unwrap();
    let used = Use { of, at: site.now().as_millisecond(), from: [192, 0, 2, 1].into() };
    site.control.store.note_last_uses(vec![used]).await.unwrap();
    assert_eq!(site.report(&token, "").await, (LeakDone::Grace, Status::Active));
    let outlets = Outlets { webhook: true, ..Outlets::default() };
    let (now, end) = (site.now(), site.now() + 24.hours());
    assert_eq!(site.control.store.note_ending(now, end, Ahead::Day, outlets).await.unwrap(), 1);
    let notices = site.control.store.notices(None, 10).await.unwrap();
    let events: Vec<_> = notices.iter().map(|notice| notice.event).collect();
    assert_eq!(events, [Event::TokenLeaked]);
    assert_eq!(notices[0].data["token"]["lifetime"], "7d");
    assert_eq!(notices[0].data["token"]["last_used_from"], "192.0.2.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_of_one_moment_are_listed_in_the_order_in_which_they_were_written() {
    let site = Site::start("2027-03-01T12:00:00Z", with_webhook);
    let mut written = Vec::new();
    for _ in 0..10 {
        let (id, token) = site.mint(|_| {}).await;
        site.report(&token, "").await;
        written.insert(0, id);
    }
    let notices = site.control.store.notices(None, 50).await.unwrap();
    assert_eq!(notices.into_iter().map(|notice| notice.subject).collect::<Vec<_>>(), written);
}
