//! Random commands, and after each of them the same verdict on every token from three places: the store, the gateway's
//! decision, and a model so simple that it can be read.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;
use crate::credential::Plaintext;
use crate::model::OnPublish;

const APPS: [&str; 2] = ["shop", "blog"];
const MEMBERS: [&str; 2] = ["ann", "bob"];
const IDS: [&str; 3] = ["initial", "blue", "green"];
const RULES: [&str; 3] = ["stop", "keep", "grace:1h"];

#[derive(Clone, Debug)]
enum Command {
    /// By a member or the operator, for one app or every one.
    Mint {
        by: usize,
        app: usize,
        rule: usize,
        long: bool,
    },
    Revoke(usize),
    Delete(usize),
    Rotate {
        of: usize,
        overlap: u8,
    },
    BringForward {
        of: usize,
        minutes: u8,
    },
    Publish {
        app: usize,
        id: usize,
    },
    Switch {
        app: usize,
        on: bool,
    },
    Remove(usize),
    Wait {
        minutes: u8,
    },
    Restart,
}

fn command() -> impl Strategy<Value = Command> {
    let one = 0..usize::MAX;
    prop_oneof![
        6 => (0..3_usize, 0..3_usize, 0..3_usize, any::<bool>())
            .prop_map(|(by, app, rule, long)| Command::Mint { by, app, rule, long }),
        2 => one.clone().prop_map(Command::Revoke),
        1 => one.clone().prop_map(Command::Delete),
        3 => (one.clone(), 0..90_u8).prop_map(|(of, overlap)| Command::Rotate { of, overlap }),
        2 => (one, 0..120_u8).prop_map(|(of, minutes)| Command::BringForward { of, minutes }),
        3 => (0..2_usize, 0..3_usize).prop_map(|(app, id)| Command::Publish { app, id }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(app, on)| Command::Switch { app, on }),
        1 => (0..2_usize).prop_map(Command::Remove),
        3 => (0..90_u8).prop_map(|minutes| Command::Wait { minutes }),
        1 => Just(Command::Restart),
    ]
}

/// A token as the model has it.
struct Token {
    id: String,
    secret: String,
    /// `None`: every app.
    app: Option<usize>,
    /// The member and how often that one had been removed before; `None`: the operator.
    by: Option<(usize, u32)>,
    rule: OnPublish,
    minted_under: usize,
    created: Timestamp,
    life: SignedDuration,
    expires: Timestamp,
    revoked: bool,
    deleted: bool,
    rotated: bool,
    /// The token in whose place it is, and until when.
    in_place: Option<(usize, Timestamp)>,
}

#[derive(Default)]
struct Model {
    tokens: Vec<Token>,
    apps: [Environment; 2],
    removals: [u32; 2],
}

/// The environment `production` of an app.
#[derive(Default)]
struct Environment {
    current: usize,
    published: Vec<Timestamp>,
    opened: bool,
    switched: Option<bool>,
}

impl Model {
    fn status(&self, token: &Token, now: Timestamp) -> Status {
        let removed = token.by.is_some_and(|(member, life)| self.removals[member] > life);
        let replaced = token.app.is_some_and(|app| {
            let since = self.apps[app].published.get(token.minted_under);
            since.is_some_and(|since| match token.rule {
                OnPublish::Stop => true,
                OnPublish::Keep => false,
                OnPublish::Grace(_) => *since + 1.hour() <= now,
            })
        });
        if token.revoked || removed {
            Status::Revoked
        } else if replaced {
            Status::Replaced
        } else if token.expires <= now {
            Status::Expired
        } else {
            Status::Active
        }
    }

    fn code(&self, token: &Token, app: usize, now: Timestamp) -> &'static str {
        match self.status(token, now) {
            _ if token.deleted => "token_unknown",
            Status::Revoked => "token_revoked",
            Status::Replaced => "deployment_replaced",
            Status::Expired => "token_expired",
            Status::Active if token.app.is_some_and(|own| own != app) => "wrong_app",
            Status::Active if !self.apps[app].switched.unwrap_or(self.apps[app].opened) => {
                "external_access_off"
            }
            Status::Active => "ok",
        }
    }

    fn is_in_place(&self, token: &Token, now: Timestamp) -> bool {
        token.in_place.is_some_and(|(of, until)| {
            let of = &self.tokens[of];
            until > now && of.expires > now && !of.revoked && !of.deleted
        })
    }

    /// How many a limit would count.
    fn counted(&self, now: Timestamp) -> usize {
        let live = |token: &&Token| !token.deleted && self.status(token, now) == Status::Active;
        self.tokens.iter().filter(live).filter(|token| !self.is_in_place(token, now)).count()
    }

    /// A token that is there.
    fn pick(&self, any: usize) -> Option<usize> {
        let there: Vec<_> = (0..self.tokens.len()).filter(|place| !self.tokens[*place].deleted).collect();
        there.get(any % there.len().max(1)).copied()
    }
}

/// A member's key, made as it is needed.
async fn caller(site: &Site, by: usize) -> Caller {
    let Some(name) = MEMBERS.get(by) else { return Caller::Operator { from: None } };
    let asked = MintKey {
        member: Some((*name).to_owned()),
        scopes: Some(vec!["admin".to_owned()]),
        ..MintKey::default()
    };
    let minted = site.control.mint_key(&Caller::Operator { from: None }, asked).await.unwrap();
    let value: Plaintext = minted.value.unwrap();
    site.control.caller(&value, [127, 0, 0, 1].into()).await.unwrap().unwrap()
}

async fn apply(site: &Site, model: &mut Model, command: &Command) {
    let (control, operator, now) = (&site.control, &Caller::Operator { from: None }, site.now());
    match *command {
        Command::Mint { by, app, rule, long } => {
            let caller = caller(site, by).await;
            let app = (app < 2).then_some(app);
            let rule = if app.is_some() { RULES[rule] } else { "keep" };
            let asked = MintToken {
                app: Some(app.map_or("*", |app| APPS[app]).to_owned()),
                environment: Some("production".to_owned()),
                expires_in: Some(if long { "7d" } else { "1h" }.to_owned()),
                on_publish: Some(rule.to_owned()),
                ..MintToken::default()
            };
            let minted = control.mint_token(&caller, asked).await.unwrap();
            let life = SignedDuration::from_hours(if long { 168 } else { 1 });
            for (place, environment) in model.apps.iter_mut().enumerate() {
                environment.opened |= app.is_none_or(|app| app == place);
            }
            model.tokens.push(Token {
                id: minted.token.id.to_string(),
                secret: minted.value.unwrap().reveal().to_owned(),
                app,
                by: MEMBERS.get(by).map(|_| (by, model.removals[by])),
                rule: OnPublish::parse(rule).unwrap(),
                minted_under: app.map_or(0, |app| model.apps[app].published.len()),
                created: now,
                life,
                expires: now + life,
                revoked: false,
                deleted: false,
                rotated: false,
                in_place: None,
            });
        }
        Command::Revoke(any) => {
            let Some(place) = model.pick(any) else { return };
            let id = model.tokens[place].id.clone();
            control.revoke_token(operator, &id, RevokeToken::default()).await.unwrap();
            model.tokens[place].revoked = true;
        }
        Command::Delete(any) => {
            let Some(place) = model.pick(any) else { return };
            control.delete_token(operator, &model.tokens[place].id).await.unwrap();
            model.tokens[place].deleted = true;
        }
        Command::Rotate { of, overlap } => {
            let Some(place) = model.pick(of) else { return };
            let old = &model.tokens[place];
            // Not by a grace alone: the successor would end with it.
            let graced = old.app.is_some_and(|app| {
                matches!(old.rule, OnPublish::Grace(_)) && old.minted_under < model.apps[app].published.len()
            });
            let may = model.status(old, now) == Status::Active && !old.rotated && !graced;
            let asked = Rotate { overlap: Some(format!("{overlap}m")), ..Rotate::default() };
            let rotated = control.rotate_token(operator, &old.id, asked).await;
            assert_eq!(rotated.is_ok(), may, "{:?}", rotated.err());
            let Ok(minted) = rotated else { return };
            let ends = now + SignedDuration::from_mins(overlap.into());
            let crowded = model.is_in_place(old, now);
            let old = &mut model.tokens[place];
            old.rotated = true;
            old.expires = old.expires.min(ends);
            let new = Token {
                id: minted.token.id.to_string(),
                secret: minted.value.unwrap().reveal().to_owned(),
                created: now,
                expires: now + old.life,
                rotated: false,
                app: old.app,
                by: old.by,
                rule: old.rule,
                minted_under: old.minted_under,
                life: old.life,
                revoked: false,
                deleted: false,
                in_place: (!crowded).then_some((place, old.expires)),
            };
            model.tokens.push(new);
        }
        Command::BringForward { of, minutes } => {
            let Some(place) = model.pick(of) else { return };
            let token = &mut model.tokens[place];
            let end = now + SignedDuration::from_mins(minutes.into());
            let asked = EditToken { expires_at: Some(end.to_string()), ..EditToken::default() };
            let edited = control.edit_token(operator, &token.id, asked).await;
            assert_eq!(edited.is_ok(), end > now && end <= token.expires, "{:?}", edited.err());
            if edited.is_ok() && end < token.expires {
                token.expires = end;
                token.life = SignedDuration::from_secs(
                    (end - token.created).total(jiff::Unit::Second).unwrap() as i64,
                );
            }
        }
        Command::Publish { app, id } => {
            let asked = Publish {
                app: APPS[app].to_owned(),
                environment: "production".to_owned(),
                id: Some(IDS[id].to_owned()),
                ..Publish::default()
            };
            let active = |model: &Model| {
                model
                    .tokens
                    .iter()
                    .filter(|token| !token.deleted && model.status(token, now) == Status::Active)
                    .count()
            };
            let before = active(model);
            let released = control.publish(operator, asked).await.unwrap();
            let environment = &mut model.apps[app];
            assert_eq!(released.fresh, environment.current != id);
            if released.fresh {
                environment.current = id;
                environment.published.push(now);
            }
            assert_eq!(released.tokens_ended, (before - active(model)) as u64);
        }
        Command::Switch { app, on } => {
            let switched = control.switch_external_access(
                operator,
                APPS[app],
                "production",
                Some(on),
                Faults::default(),
            );
            switched.await.unwrap();
            model.apps[app].switched = Some(on);
        }
        Command::Remove(member) => {
            let ended = |model: &Model| {
                let of =
                    |token: &&Token| token.by == Some((member, model.removals[member])) && !token.deleted;
                model
                    .tokens
                    .iter()
                    .filter(of)
                    .filter(|token| model.status(token, now) == Status::Active)
                    .count()
            };
            let removed = control.remove_member(operator, MEMBERS[member]).await;
            if let Ok(removal) = removed {
                assert_eq!(removal.tokens, ended(model) as u64);
                model.removals[member] += 1;
            } else {
                assert!(model.tokens.iter().all(|token| token.by != Some((member, model.removals[member]))));
            }
        }
        Command::Wait { minutes } => site.set(now + SignedDuration::from_mins(minutes.into())),
        Command::Restart => {}
    }
}

/// What a limit of one says about one more token.
async fn told_by_limit(site: &Site) -> u64 {
    let before = site.control.config();
    let mut config = Config::clone(&before);
    config.tokens.max_active = 1;
    site.control.config.store(Arc::new(config));
    let asked = MintToken {
        app: Some("shop".to_owned()),
        environment: Some("production".to_owned()),
        expires_in: Some("1h".to_owned()),
        ..MintToken::default()
    };
    let minted = site.control.mint_token(&Caller::Operator { from: None }, asked).await;
    site.control.config.store(before);
    let Err(Fault::Limit { live, .. }) = minted else { panic!("one more was minted") };
    live
}

async fn compare(site: &Site, model: &Model) {
    let now = site.now();
    let counted = model.counted(now);
    if counted > 0 {
        assert_eq!(told_by_limit(site).await, counted as u64);
    }
    for token in &model.tokens {
        for (place, app) in APPS.iter().enumerate() {
            let host = format!("{app}.production");
            assert_eq!(
                site.code_at(&host, &token.secret, now),
                model.code(token, place, now),
                "{}",
                token.id
            );
        }
    }
    for status in Status::ALL {
        let asked = ListTokens {
            status: Some(status.as_str().to_owned()),
            limit: Some("500".to_owned()),
            ..ListTokens::default()
        };
        let listed = site.control.list_tokens(&Caller::Operator { from: None }, asked).await.unwrap().items;
        assert!(listed.iter().all(|token| token.status(now) == status));
        let listed: Vec<_> = listed.iter().map(|token| token.id.to_string()).collect();
        let mut expected: Vec<_> = model
            .tokens
            .iter()
            .filter(|token| !token.deleted && model.status(token, now) == status)
            .map(|token| token.id.clone())
            .collect();
        expected.reverse();
        assert_eq!(listed, expected, "{}", status.as_str());
    }
}

#[test]
fn store_gateway_and_model_agree() {
    // `make soak` asks for many more, most of which go into the properties that cost less.
    let cases =
        std::env::var("PROPTEST_CASES").map_or(24, |cases| (cases.parse::<u32>().unwrap() / 50).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Cases { cases, ..Cases::default() });
    let run = |commands: Vec<Command>| {
        runtime.block_on(async {
            let mut site = Site::start("2027-03-01T12:00:00Z", |_| {});
            let mut model = Model::default();
            for command in &commands {
                apply(&site, &mut model, command).await;
                if matches!(command, Command::Restart) {
                    site = site.restart().await;
                }
                compare(&site, &model).await;
            }
            site.control.store.close().await;
        });
        Ok(())
    };
    runner.run(&vec(command(), 1..30), run).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_with_its_member() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let caller = caller(&site, 0).await;
    site.control.remove_member(&Caller::Operator { from: None }, "ann").await.unwrap();
    let asked = MintToken {
        app: Some("shop".to_owned()),
        environment: Some("production".to_owned()),
        expires_in: Some("1h".to_owned()),
        ..MintToken::default()
    };
    assert!(matches!(site.control.mint_token(&caller, asked).await, Err(Fault::Unauthorized)));
}
