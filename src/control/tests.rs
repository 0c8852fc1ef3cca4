//! Commands from the call to the decision, by a clock that the test sets.

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
use crate::gateway::wall::WallClock;
use crate::gateway::{Settings, decide};
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
        let (index, writer) = Index::new();
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
        let request = Request::accept(parts, Some(raw)).unwrap();
        let client = [127, 0, 0, 1].into();
        match decide(&self.settings, &self.index, &request, client, now.as_millisecond()) {
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
        let minted = self.control.mint_token(&Caller::Operator, asked).await.unwrap();
        (minted.token.id.to_string(), minted.value.unwrap().reveal().to_owned())
    }

    async fn status(&self, id: &str) -> Status {
        let token = self.control.show_token(&Caller::Operator, id).await.unwrap();
        token.status(self.control.now())
    }
}

const SHOP: &str = "shop.production";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_to_the_second() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (id, secret) = site.mint(|_| {}).await;
    let end: Timestamp = "2027-03-01T13:00:00Z".parse().unwrap();
    let second = SignedDuration::from_secs(1);
    assert_eq!(site.code_at(SHOP, &secret, end - second), "ok");
    assert_eq!(site.code_at(SHOP, &secret, end), "token_expired");
    site.set(end - second);
    assert_eq!(site.status(&id).await, Status::Active);
    site.set(end);
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
        let (id, secret) = site.mint(|asked| asked.expires_in = Some(life.to_owned())).await;
        let end: Timestamp = end.parse().unwrap();
        assert_eq!(site.code_at(SHOP, &secret, end - SignedDuration::from_secs(1)), "ok", "{now} {life}");
        assert_eq!(site.code_at(SHOP, &secret, end), "token_expired", "{now} {life}");
        // The successor's months are counted anew from its own day.
        site.set(
            "2028-01-31T00:00:00Z".parse::<Timestamp>().unwrap().min(end - SignedDuration::from_secs(1)),
        );
        let rotated = site.control.rotate_token(&Caller::Operator, &id, Rotate::default()).await.unwrap();
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
    assert_eq!(site.code_at(SHOP, &secret, start), "ok", "the decision itself remembers nothing");
    // What the workers' clock has seen, it does not unsee for a step of up to an hour.
    let wall = WallClock::default();
    let seen = wall.now();
    assert!(wall.now() >= seen);

    // Ids and numbers grow whatever the clock says, and what was replaced stays so.
    let (stopped, stopped_secret) = site.mint(|asked| asked.on_publish = Some("stop".to_owned())).await;
    let publish = |id: &str| Publish {
        app: "shop".to_owned(),
        environment: "production".to_owned(),
        id: Some(id.to_owned()),
        ..Publish::default()
    };
    site.control.publish(&Caller::Operator, publish("blue")).await.unwrap();
    site.set(start - SignedDuration::from_hours(5));
    assert_eq!(site.status(&stopped).await, Status::Replaced);
    assert_eq!(site.code_at(SHOP, &stopped_secret, site.now()), "deployment_replaced");
    let (earlier, _) = site.mint(|_| {}).await;
    assert!(earlier > stopped);
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
        let asked = Publish {
            app: "shop".to_owned(),
            environment: "production".to_owned(),
            id: Some(id.to_owned()),
            ..Publish::default()
        };
        site.control.publish(&Caller::Operator, asked).await.unwrap().tokens_ended
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
    let token = site.control.show_token(&Caller::Operator, &id).await.unwrap();
    assert_eq!((token.status(end), token.replaced_at(end)), (Status::Replaced, Some(end)));
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
    site.control.revoke_token(&Caller::Operator, &gone, None, Faults::default()).await.unwrap();
    let at = site.index.revision();
    site.index.reached().wait(at + 1).await;
    assert_eq!(site.code_at(SHOP, &gone_secret, Timestamp::now()), "token_unknown");
    assert_eq!(site.code_at(SHOP, &kept, Timestamp::now()), "ok");
}
