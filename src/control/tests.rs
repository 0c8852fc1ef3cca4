//! Commands from the call to the decision, by a clock that the test sets.

mod hurry;
mod leaks;
mod model;

use std::sync::Mutex;

use http::Request as Message;
use jiff::{SignedDuration, ToSpan};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::board::Board;
use crate::gateway::head::{BodyLength, Head};
use crate::gateway::request::Request;
use crate::gateway::{Moment, Settings, decide};
use crate::index::Index;
use crate::model::{Lifetime, Status};
use crate::secrets::KeyFile;
use crate::sync::Follower;

/// Everything from a command to a decision, in one process.
struct Site {
    folder: TempDir,
    control: Control,
    index: Arc<Index>,
    settings: Settings,
    hand: Arc<Mutex<Timestamp>>,
    stop: watch::Sender<bool>,
}

impl Site {
    fn start(now: &str, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hand = Arc::new(Mutex::new(now.parse().unwrap()));
        Self::over(folder, hand, change)
    }

    fn over(folder: TempDir, hand: Arc<Mutex<Timestamp>>, change: impl FnOnce(&mut Config)) -> Self {
        let store = Store::open(&folder.path().join("s.db")).unwrap();
        let (index, writer) = Index::with(store.hindsight());
        let (board, _) = Board::new(0);
        let safe = Safe::open(KeyFile::at(&folder.path().join("s.key"))).unwrap();
        let follower = Follower::load(&store, writer, board.clone(), safe.clone()).unwrap();
        let mut config = sample::config();
        for app in &mut config.apps {
            for environment in &mut app.environments {
                let host = format!("{}.{}", app.name, environment.name);
                environment.hosts = vec![crate::model::HostPattern::parse(&host).unwrap()];
            }
        }
        change(&mut config);
        let settings = Settings::new(&config, &index, &board, None).unwrap();
        let mut control = Control::new(store, index.reached(), Arc::new(ArcSwap::from_pointee(config)), safe);
        control.clock = Clock::set_by(hand.clone());
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(follower.run(stopping));
        Self { folder, control, index, settings, hand, stop }
    }

    /// The same store, opened by another process.
    async fn restart(self) -> Self {
        self.control.store.close().await;
        self.stop.send_replace(true);
        let Self { folder, hand, control, .. } = self;
        drop(control);
        Self::over(folder, hand, |_| {})
    }

    fn now(&self) -> Timestamp {
        *self.hand.lock().unwrap()
    }

    fn set(&self, now: Timestamp) {
        *self.hand.lock().unwrap() = now;
    }

    /// What the gateway would answer at a moment.
    fn code_at(&self, host: &str, secret: &str, now: Timestamp) -> &'static str {
        let message = Message::builder().uri("/").header("host", host).header("x-portcullis-token", secret);
        let (parts, ()) = message.body(()).unwrap().into_parts();
        let raw = Head { offence: None, body: BodyLength::None, fields: parts.headers.len() };
        let request = Request::accept(parts, raw).unwrap();
        let client = [127, 0, 0, 1].into();
        let moment = Moment { wall: now.as_millisecond(), steady: 0 };
        self.index.hindsight().tell(moment.wall);
        match decide(&self.settings, &self.index, &request, client, moment) {
            Ok(_) => "ok",
            Err(reject) => reject.refusal.as_str(),
        }
    }

    async fn mint(&self, change: impl FnOnce(&mut MintToken)) -> (String, String) {
        let mut asked = MintToken {
            app: Some("shop".to_owned()),
            environment: Some("production".to_owned()),
            expires_in: Some("1h".to_owned()),
            ..MintToken::default()
        };
        change(&mut asked);
        let minted = self.control.mint_token(&Caller::Operator { from: None }, asked).await.unwrap();
        (minted.token.id.to_string(), minted.value.unwrap().reveal().to_owned())
    }

    /// The ids of the tokens of a status, newest first.
    async fn listed(&self, status: &str) -> Vec<String> {
        let asked = ListTokens { status: Some(status.to_owned()), ..ListTokens::default() };
        let page = self.control.list_tokens(&Caller::Operator { from: None }, asked).await.unwrap();
        page.items.iter().map(|token| token.id.to_string()).collect()
    }

    async fn status(&self, id: &str) -> Status {
        let token = self.control.show_token(&Caller::Operator { from: None }, id).await.unwrap();
        token.status(self.control.now())
    }
}

const SHOP: &str = "shop.production";

fn publish(id: &str) -> Publish {
    Publish {
        app: "shop".to_owned(),
        environment: "production".to_owned(),
        id: Some(id.to_owned()),
        ..Publish::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_to_the_second() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (id, secret) = site.mint(|_| {}).await;
    let end: Timestamp = "2027-03-01T13:00:00Z".parse().unwrap();
    let second = SignedDuration::from_secs(1);
    site.set(end - second);
    assert_eq!(site.code_at(SHOP, &secret, site.now()), "ok");
    assert_eq!(site.status(&id).await, Status::Active);
    site.set(end);
    assert_eq!(site.code_at(SHOP, &secret, site.now()), "token_expired");
    assert_eq!(site.status(&id).await, Status::Expired);
    // A day is whole: the token of a date lives to its last moment.
    let (_, secret) = site
        .mint(|asked| {
            asked.expires_in = None;
            asked.expires_at = Some("2027-03-01".to_owned());
        })
        .await;
    let midnight: Timestamp = "2027-03-02T00:00:00Z".parse().unwrap();
    assert_eq!(site.code_at(SHOP, &secret, midnight - SignedDuration::from_millis(1)), "ok");
    assert_eq!(site.code_at(SHOP, &secret, midnight), "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn months_and_years_follow_the_calendar_and_its_leap_day() {
    let lifetimes = |config: &mut Config| {
        config.tokens.lifetimes = ["1d", "3mo", "1y"].map(|text| Lifetime::parse(text).unwrap()).to_vec();
    };
    for (now, life, end) in [
        ("2026-11-30T12:00:00Z", "3mo", "2027-02-28T12:00:00Z"),
        ("2027-11-30T12:00:00Z", "3mo", "2028-02-29T12:00:00Z"),
        ("2028-02-29T00:00:00Z", "1y", "2029-02-28T00:00:00Z"),
        ("2027-02-28T23:59:59Z", "1y", "2028-02-28T23:59:59Z"),
        ("2028-02-28T12:00:00Z", "1d", "2028-02-29T12:00:00Z"),
    ] {
        let site = Site::start(now, lifetimes);
        let for_life = |asked: &mut MintToken| asked.expires_in = Some(life.to_owned());
        let ((_, secret), (id, _)) = (site.mint(for_life).await, site.mint(for_life).await);
        let end: Timestamp = end.parse().unwrap();
        assert_eq!(site.code_at(SHOP, &secret, end - SignedDuration::from_secs(1)), "ok", "{now} {life}");
        assert_eq!(site.code_at(SHOP, &secret, end), "token_expired", "{now} {life}");
        // The successor's months are counted anew from its own day.
        site.set(
            "2028-01-31T00:00:00Z".parse::<Timestamp>().unwrap().min(end - SignedDuration::from_secs(1)),
        );
        let rotated = site
            .control
            .rotate_token(&Caller::Operator { from: None }, &id, Rotate::default())
            .await
            .unwrap();
        let expected = Lifetime::parse(life).unwrap().after(site.now());
        assert_eq!(rotated.token.expires_at, expected, "{now} {life}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_and_comes_back_harms_nothing_that_was_not_refused() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (_, secret) = site.mint(|_| {}).await;
    let start = site.now();
    assert_eq!(site.code_at(SHOP, &secret, start + 240.hours()), "token_expired");
    assert_eq!(site.code_at(SHOP, &secret, start), "ok", "so large a step is believed");

    // Ids and numbers grow whatever the clock says, and what was replaced stays so.
    let (stopped, stopped_secret) = site.mint(|asked| asked.on_publish = Some("stop".to_owned())).await;
    site.control.publish(&Caller::Operator { from: None }, publish("blue")).await.unwrap();
    site.set(start - SignedDuration::from_hours(5));
    assert_eq!(site.status(&stopped).await, Status::Replaced);
    assert_eq!(site.code_at(SHOP, &stopped_secret, site.now()), "deployment_replaced");
    let (earlier, _) = site.mint(|_| {}).await;
    assert!(earlier > stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_step_back_revives_nothing_that_was_refused_and_stops_nothing_else() {
    let mut site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (start, from) = (site.now(), [127, 0, 0, 1].into());
    let after = |minutes| start + SignedDuration::from_mins(minutes);
    let keep = |asked: &mut MintToken| asked.on_publish = Some("keep".to_owned());
    let (seen, seen_secret) = site.mint(keep).await;
    let (unseen, unseen_secret) = site.mint(keep).await;
    let (graced, graced_secret) = site.mint(|asked| asked.on_publish = Some("grace:30m".to_owned())).await;
    let asked = MintKey {
        member: Some("ann".to_owned()),
        scopes: Some(vec!["admin".to_owned()]),
        expires_in: Some("1h".to_owned()),
        ..MintKey::default()
    };
    let key = site.control.mint_key(&Caller::Operator { from: None }, asked).await.unwrap().value.unwrap();
    let caller = site.control.caller(&key, from).await.unwrap().unwrap();
    site.set(after(59));
    site.control.publish(&Caller::Operator { from: None }, publish("blue")).await.unwrap();
    let (_, lasting_secret) = site.mint(|_| {}).await;

    site.set(after(100));
    assert_eq!(site.code_at(SHOP, &seen_secret, site.now()), "token_expired");
    assert_eq!(site.code_at(SHOP, &graced_secret, site.now()), "deployment_replaced");
    assert!(site.control.caller(&key, from).await.unwrap().is_none());

    for minutes in [59, 45] {
        site.set(after(minutes));
        assert_eq!(site.code_at(SHOP, &seen_secret, site.now()), "token_expired");
        assert_eq!(site.code_at(SHOP, &graced_secret, site.now()), "deployment_replaced");
        assert_eq!(site.status(&seen).await, Status::Expired);
        assert_eq!(site.listed("expired").await, [seen.as_str()]);
        assert_eq!(site.listed("replaced").await, [graced.as_str()]);
        let rotated =
            site.control.rotate_token(&Caller::Operator { from: None }, &seen, Rotate::default()).await;
        assert!(matches!(rotated, Err(Fault::Conflict(_))));
        assert!(site.control.caller(&key, from).await.unwrap().is_none());
        let removed = site.control.remove_member(&caller, "ann").await;
        assert!(matches!(removed, Err(Fault::Unauthorized)));

        assert_eq!(site.code_at(SHOP, &lasting_secret, site.now()), "ok");
        assert_eq!(site.code_at(SHOP, &unseen_secret, site.now()), "ok");
        assert_eq!(site.status(&unseen).await, Status::Active);
        let (_, fresh) = site.mint(|_| {}).await;
        assert_eq!(site.code_at(SHOP, &fresh, site.now()), "ok");
        // Not even a restart revives anything.
        site.control.store.note_sightings().await.unwrap();
        site = site.restart().await;
    }

    // So large a step is believed.
    site.set(after(39));
    assert_eq!(site.code_at(SHOP, &seen_secret, site.now()), "ok");
    assert_eq!(site.status(&seen).await, Status::Active);
    assert!(site.control.caller(&key, from).await.unwrap().is_some());
    site.control.store.note_sightings().await.unwrap();
    site = site.restart().await;
    site.set(after(45));
    assert_eq!(site.code_at(SHOP, &seen_secret, site.now()), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_counted_by_the_clock_that_nobody_sets() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (_, secret) = site.mint(|asked| asked.rate_limit = Some("1/1s".to_owned())).await;
    assert_eq!(site.code_at(SHOP, &secret, site.now()), "ok");
    assert_eq!(site.code_at(SHOP, &secret, site.now() + 30.minutes()), "rate_limited");
    assert_eq!(site.code_at(SHOP, &secret, site.now()), "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_is_counted_from_the_publish_that_replaced() {
    let site = Site::start("2027-03-01T12:00:00Z", |config| {
        config.tokens.lifetimes = vec![Lifetime::parse("7d").unwrap()];
    });
    let graced = |asked: &mut MintToken| {
        asked.expires_in = Some("7d".to_owned());
        asked.on_publish = Some("grace:24h".to_owned());
    };
    let (id, secret) = site.mint(graced).await;
    let publish = async |id: &str| {
        site.control.publish(&Caller::Operator { from: None }, publish(id)).await.unwrap().tokens_ended
    };
    site.set(site.now() + 2.hours());
    assert_eq!(publish("blue").await, 0);
    let replaced = site.now();
    site.set(replaced + 20.hours());
    // Neither another publish nor the way back counts anew.
    assert_eq!((publish("green").await, publish("initial").await), (0, 0));
    let end = replaced + 24.hours();
    assert_eq!(site.code_at(SHOP, &secret, end - SignedDuration::from_secs(1)), "ok");
    assert_eq!(site.code_at(SHOP, &secret, end), "deployment_replaced");
    site.set(end);
    let token = site.control.show_token(&Caller::Operator { from: None }, &id).await.unwrap();
    assert_eq!((token.status(end), token.replaced_at(end)), (Status::Replaced, Some(end)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_not_answered_before_it_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s.db")).unwrap();
    // Nobody follows: nothing comes into force.
    let (index, writer) = Index::new();
    let config = Arc::new(ArcSwap::from_pointee(sample::config()));
    let safe = Safe::open(KeyFile::at(&folder.path().join("s.key"))).unwrap();
    let control = Control::new(store.clone(), index.reached(), config, safe);
    let once = |key| Some(Once { key: [key; 32], request: [0; 32] });
    let publish = || {
        let asked = Publish { once: once(1), ..publish("blue") };
        let control = control.clone();
        tokio::spawn(
            async move { control.publish(&Caller::Operator { from: None }, asked).await.unwrap().fresh },
        )
    };
    let add = || {
        let asked = AddMember { name: Some("ann".to_owned()), once: once(2), ..AddMember::default() };
        let control = control.clone();
        tokio::spawn(
            async move { control.add_member(&Caller::Operator { from: None }, asked).await.unwrap().1 },
        )
    };
    let mut committed = store.revisions();
    let first = (publish(), add());
    committed.wait_for(|revision| *revision == 2).await.unwrap();
    let again = (publish(), add());
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert!(!again.0.is_finished() && !again.1.is_finished());
    }
    writer.publish(2, []);
    assert!(first.0.await.unwrap() && first.1.await.unwrap());
    assert!(!again.0.await.unwrap() && !again.1.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_enough_ago_is_forgotten() {
    let site = Site::start("2027-03-01T12:00:00Z", |config| {
        config.tokens.keep_ended = Lifetime::parse("1ms").unwrap();
    });
    site.set(Timestamp::now());
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(site.control.clone().keep_house(stopping));
    let ((gone, gone_secret), (_, kept)) = (site.mint(|_| {}).await, site.mint(|_| {}).await);
    site.control.revoke_token(&Caller::Operator { from: None }, &gone, RevokeToken::default()).await.unwrap();
    let at = site.index.revision();
    site.index.reached().wait(at + 1).await;
    assert_eq!(site.code_at(SHOP, &gone_secret, Timestamp::now()), "token_unknown");
    assert_eq!(site.code_at(SHOP, &kept, Timestamp::now()), "ok");
}
