//! What happens when a token leaks: it is ended, and its owner is told.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Minted, Setup};
use crate::support::hook::{self, Hook};
use crate::support::leak;
use crate::support::program::converse;
use crate::support::until;

const HOST: &str = "shop.localhost";

fn report(tokens: &[&str], source: &str, url: Option<&str>) -> Value {
    json!({ "tokens": tokens, "source": source, "url": url })
}

impl Gateway {
    #[track_caller]
    fn leaked(&self, tokens: &[&str], source: &str) -> Vec<Value> {
        let answer =
            self.admin("POST /v1/leaks", Some(report(tokens, source, Some("https://paste.example/1"))));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn leaks(&self) -> Vec<Value> {
        self.admin("GET /v1/leaks", None).json()["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn notices(&self) -> Vec<Value> {
        self.admin("GET /v1/notices", None).json()["items"].as_array().unwrap().clone()
    }

    fn code(&self, token: &str) -> String {
        let answer = self.ask(with_token("GET /", HOST, token));
        if answer.status == 200 { "ok".to_owned() } else { answer.code() }
    }
}

fn with_hook(app: &App, hook: &Hook) -> Gateway {
    hook.notified(Setup::new(app)).start_beside("hook-secret", hook::SECRET)
}

#[test]
fn a_report_ends_the_token_and_tells_by_a_signed_webhook() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let body = json!({
        "app": "shop", "environment": "production", "expires_in": "7d", "label": "CI", "scopes": ["GET /*"],
    });
    let minted = crate::support::caller::minted(&ann.get(201, "POST /v1/tokens", Some(body)));
    let other = ann.mint("development");
    assert_eq!(gateway.code(&minted.secret), "ok");

    let bob = Caller::member(&gateway, "bob", &["read", "mint"], None);
    let asked = report(&[&minted.secret, &leak::token()], "nightly scan", Some("https://paste.example/1"));
    let items = bob.get(200, "POST /v1/leaks", Some(asked.clone()))["items"].clone();
    // It is another's: that it was ended is told, and not whose it is.
    assert_eq!((&items[0]["done"], &items[0]["status"]), (&json!("revoked"), &json!("revoked")));
    assert_eq!(items[0]["token"], Value::Null);
    assert_eq!(items[1]["done"], "unknown");
    assert_eq!(gateway.code(&minted.secret), "token_revoked");

    let call = hook.wait_for(1).remove(0);
    assert_eq!(call.body["type"], "token.leaked");
    let data = &call.body["data"];
    assert_eq!((&data["token"]["id"], &data["done"]), (&json!(minted.id), &json!("revoked")));
    assert_eq!(data["leak"]["source"], "nightly scan");
    // What a member wrote is no link.
    assert_eq!(data["leak"]["place"], "https[:]//paste[.]example/1");
    assert_eq!(data["other_live_tokens"][0]["id"], json!(other.id));
    let command = data["replacement"]["command"].as_str().unwrap();
    assert!(command.starts_with("portcullis token create --app=shop --environment=production --label=CI"));
    until("an empty outbox", || gateway.notices().is_empty().then_some(()));

    // Told of again, it is counted, and nobody is told twice.
    let again = bob.get(200, "POST /v1/leaks", Some(asked))["items"].clone();
    assert_eq!(again[0]["done"], "already_ended");
    let known = ann.get(200, "GET /v1/leaks", None)["items"].clone();
    assert_eq!((&known[0]["count"], &known[0]["owner"]), (&json!(2), &json!("ann")));
    assert_eq!(known.as_array().unwrap().len(), 1);
    assert_eq!(bob.get(200, "GET /v1/leaks", None)["items"], json!([]));
    let entries = gateway.admin("GET /v1/audit?limit=500", None).json()["items"].clone();
    let of =
        |action: &str| entries.as_array().unwrap().iter().filter(|entry| entry["action"] == action).count();
    assert_eq!((of("leak.report"), of("token.revoke")), (1, 1));
    assert!(gateway.notices().is_empty());
    assert_eq!(hook.calls().len(), 1);
    for secret in [&minted.secret, &other.secret] {
        assert!(!hook.said().contains(&secret[4..20]));
    }
}

#[test]
fn the_command_for_a_replacement_works_as_it_stands() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(50);
    let body = json!({ "app": "shop", "environment": "production", "expires_at": end.to_string() });
    let dated = gateway.mint_with(body);
    let body = json!({ "member": "ann", "scopes": ["read"], "label": "a day", "expires_in": "24h" });
    let key = gateway.admin("POST /v1/keys", Some(body)).json();
    gateway.leaked(&[&dated.secret, key["secret"].as_str().unwrap()], "hand");
    for (event, flag) in [("token.leaked", "--expires=24h"), ("key.leaked", "--expires=86400s")] {
        let call = hook.calls_of(event, 1).remove(0);
        let command = call.body["data"]["replacement"]["command"].as_str().unwrap();
        assert!(command.ends_with(flag), "{command}");
        let ran = std::process::Command::new("sh")
            .arg("-c")
            .arg(command.replacen("portcullis", env!("CARGO_BIN_EXE_portcullis"), 1))
            .current_dir(gateway.path("."))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{command}: {ran:?}");
    }
    let keys = gateway.admin("GET /v1/keys", None).json()["items"].clone();
    assert!(keys.as_array().unwrap().iter().all(|key| key["expires_at"].is_string()), "{keys}");
}

#[test]
fn a_replacement_lives_as_long_as_was_meant_whatever_was_cut_short_since() {
    let (app, hook) = (App::echo(), Hook::taking());
    let setup = hook.notified(Setup::new(&app)).set("leaks", "action", "\"grace:1h\"");
    let gateway = setup.start_beside("hook-secret", hook::SECRET);
    let minted = gateway.mint_with(json!({ "app": "shop", "environment": "production", "expires_in": "7d" }));
    let sooner = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(50);
    let edit = json!({ "expires_at": sooner.to_string(), "label": "CI" });
    assert_eq!(gateway.admin(&format!("PATCH /v1/tokens/{}", minted.id), Some(edit)).status, 200);
    assert_eq!(gateway.leaked(&[&minted.secret], "hand")[0]["done"], "grace");
    gateway.revoke(&minted.id);
    for event in ["token.leaked", "token.revoked"] {
        let call = hook.calls_of(event, 1).remove(0);
        let command = call.body["data"]["replacement"]["command"].as_str().unwrap();
        assert!(command.ends_with(" --expires=7d"), "{event}: {command}");
    }
}

#[test]
fn a_check_tells_which_tokens_have_a_grace() {
    let app = App::echo();
    let named = "{ \"shop/production/nightly backup\" = \"1h\", \"shop/production/gone\" = \"1h\", tok_00000000000000000000000000 = \"2h\" }";
    let mut gateway = Setup::new(&app).set("leaks", "grace", named).start();
    let mint = |environment: &str| {
        gateway.mint_with(json!({
            "app": "shop", "environment": environment, "expires_in": "7d", "label": "nightly backup",
        }))
    };
    let (_kept, ended, _elsewhere) = (mint("production"), mint("production"), mint("development"));
    let checked = |names: &str| {
        let ran = gateway.cli(&["check"]);
        let told = format!("leaks.grace: \"shop/production/nightly backup\" names {names}");
        assert!(ran.code == 0 && ran.stdout.lines().any(|line| line == told), "{ran:?}");
        let doubts: Vec<_> = ran.stderr.lines().filter(|line| line.contains("no token lives")).collect();
        assert!(doubts.iter().all(|line| line.starts_with("warning: proxy.toml:")), "{ran:?}");
        assert!(doubts.len() == 2 && ran.stderr.contains("\"shop/production/gone\""), "{ran:?}");
    };
    checked("2 tokens that live");
    gateway.revoke(&ended.id);
    checked("1 token that lives");
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.exit().success());
    let ran = gateway.cli(&["check"]);
    assert!(ran.stdout.contains("names 1 token that lives"), "{ran:?}");
}

#[test]
fn a_key_and_a_grace() {
    let (app, hook) = (App::echo(), Hook::taking());
    let setup = hook.notified(Setup::new(&app)).set("leaks", "action", "\"grace:1h\"");
    let gateway = setup.start_beside("hook-secret", hook::SECRET);
    let minted = gateway.mint_with(json!({ "app": "shop", "environment": "production", "expires_in": "7d" }));
    let answer = gateway.admin("POST /v1/keys", Some(json!({ "member": "ann", "scopes": ["admin"] }))).json();
    let key = answer["secret"].as_str().unwrap();
    let items = gateway.leaked(&[&minted.secret, key], "hand");
    assert_eq!((&items[0]["done"], &items[0]["status"]), (&json!("grace"), &json!("active")));
    let end: jiff::Timestamp = items[0]["token"]["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(end.duration_since(jiff::Timestamp::now()) <= jiff::SignedDuration::from_hours(1));
    assert_eq!((&items[1]["kind"], &items[1]["done"]), (&json!("key"), &json!("revoked")));
    assert_eq!(gateway.code(&minted.secret), "ok");
    let mut events: Vec<_> = hook.wait_for(2).iter().map(|call| call.body["type"].clone()).collect();
    events.sort_by_key(Value::to_string);
    assert_eq!(events, ["key.leaked", "token.leaked"]);
    assert!(gateway.leaks().iter().any(|leak| leak["ends_at"].is_string()));
    // A second report does not make it live longer, and nobody hears of it twice.
    assert_eq!(gateway.leaked(&[&minted.secret], "hand")[0]["done"], "grace");
    assert!(gateway.notices().is_empty());
}

#[test]
fn named_tokens_live_on_and_others_do_not() {
    let app = App::echo();
    let named = "{ \"shop/production/nightly backup\" = \"1h\", tok_00000000000000000000000000 = \"2h\" }";
    let gateway = Setup::new(&app).set("leaks", "grace", named).start();
    let mint = |environment: &str, label: &str| {
        gateway.mint_with(json!({
            "app": "shop", "environment": environment, "expires_in": "7d", "label": label,
        }))
    };
    let (named, other) = (mint("production", "nightly backup"), mint("production", "nightly"));
    // A label alone names nothing.
    let alike = mint("development", "nightly backup");
    let items = gateway.leaked(&[&named.secret, &other.secret, &alike.secret], "hand");
    let done: Vec<_> = items.iter().map(|item| item["done"].clone()).collect();
    assert_eq!(done, ["grace", "revoked", "revoked"]);
    let end: jiff::Timestamp = items[0]["token"]["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(end.duration_since(jiff::Timestamp::now()) <= jiff::SignedDuration::from_hours(1));
    assert_eq!(
        (gateway.code(&named.secret), gateway.code(&other.secret)),
        ("ok".into(), "token_revoked".into())
    );
}

#[test]
fn of_two_graces_the_shorter_holds() {
    let app = App::echo();
    let named = "{ \"shop/production/long\" = \"48h\", \"shop/production/short\" = \"1h\" }";
    let setup = Setup::new(&app).set("leaks", "grace", named).set("leaks", "action", "\"grace:24h\"");
    let gateway = setup.start();
    for (label, hours) in [("long", 24), ("short", 1), ("none", 24)] {
        let minted = gateway.mint_with(json!({
            "app": "shop", "environment": "production", "expires_in": "7d", "label": label,
        }));
        let items = gateway.leaked(&[&minted.secret], "hand");
        let end: jiff::Timestamp = items[0]["token"]["expires_at"].as_str().unwrap().parse().unwrap();
        let left = end.duration_since(jiff::Timestamp::now());
        let most = jiff::SignedDuration::from_hours(hours);
        assert!(left <= most && left > most - jiff::SignedDuration::from_hours(1), "{label}: {left}");
    }
}

#[test]
fn a_report_of_many_with_the_key_that_makes_it_ends_all_of_them() {
    let gateway = Gateway::before(&App::echo());
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let minted: Vec<Minted> = (0..70).map(|_| ann.mint("production")).collect();
    let mut values = vec![ann.key()];
    values.extend(minted.iter().map(|minted| &*minted.secret));
    let items = ann.get(200, "POST /v1/leaks", Some(report(&values, "own log", None)))["items"].clone();
    let items = items.as_array().unwrap();
    assert_eq!(items.len(), 71);
    assert!(items.iter().all(|item| item["done"] == "revoked"), "{items:?}");
    for token in &minted {
        assert_eq!(gateway.code(&token.secret), "token_revoked");
    }
    assert_eq!(ann.ask("GET /v1/leaks", None).status, 401);
}

#[test]
fn places_are_kept_without_passwords() {
    let gateway = Gateway::before(&App::echo());
    let minted = gateway.mint("production");
    for place in ["https://ann:hunter2@shop.example/a", "see https://ann%3Ahunter2%40shop.example/"] {
        let body = report(&[&minted.secret], "hand", Some(place));
        assert_eq!(gateway.admin("POST /v1/leaks", Some(body)).status, 200);
    }
    let mut places: Vec<_> = gateway.leaks().iter().map(|leak| leak["place"].clone()).collect();
    places.sort_by_key(Value::to_string);
    assert_eq!(places, ["", "https://shop.example/a"]);
    let entries = gateway.admin("GET /v1/audit?limit=500", None);
    assert!(!String::from_utf8_lossy(&entries.body).contains("hunter2"));
    // However often it is encoded.
    let hidden = format!("https://shop.example/%{}70{}", "25".repeat(9), &minted.secret[1..]);
    let body = report(&[&minted.secret], "hand", Some(&hidden));
    assert_eq!(gateway.admin("POST /v1/leaks", Some(body)).status, 422);
}

#[test]
fn a_receiver_that_fails_gets_the_same_notice_again() {
    let app = App::echo();
    let hook = Hook::saying(&[500, 0, 302, 200]);
    let gateway = with_hook(&app, &hook);
    let minted = gateway.mint("production");
    gateway.leaked(&[&minted.secret], "hand");
    let calls = hook.wait_for(4);
    assert!(calls.iter().all(|call| call.id == calls[0].id && call.body == calls[0].body), "{calls:?}");
    until("an empty outbox", || gateway.notices().is_empty().then_some(()));
    assert_eq!(hook.calls().len(), 4);
}

#[test]
fn what_is_refused_for_good_is_kept_where_people_see_it() {
    let (app, hook) = (App::echo(), Hook::saying(&[410]));
    let gateway = with_hook(&app, &hook);
    let minted = gateway.mint("production");
    gateway.revoke(&minted.id);
    let dead = until("a notice that was given up", || {
        gateway.notices().into_iter().find(|notice| notice["status"] == "dead")
    });
    assert_eq!((&dead["event"], &dead["attempts"]), (&json!("token.revoked"), &json!(1)));
    assert!(dead["last_error"].as_str().unwrap().contains("410"), "{dead}");
    let listed = gateway.cli(&["leak", "notices"]);
    assert!(listed.stdout.contains("token.revoked") && listed.stdout.contains("dead"), "{listed:?}");
    gateway.metrics();
}

#[test]
fn a_kill_loses_no_notice() {
    let (app, hook) = (App::echo(), Hook::saying(&[0]));
    let mut gateway = with_hook(&app, &hook);
    let minted: Vec<Minted> = (0..8).map(|_| gateway.mint("production")).collect();
    for token in &minted {
        gateway.leaked(&[&token.secret], "hand");
    }
    // Every answer was given, and no notice has arrived.
    gateway.kill();
    let before: Vec<_> = hook.calls().into_iter().map(|call| call.id).collect();
    hook.say(&[200]);
    gateway.restart();
    until("an empty outbox", || gateway.notices().is_empty().then_some(()));
    let calls = hook.calls();
    for token in &minted {
        let mut of = calls.iter().filter(|call| call.body["data"]["token"]["id"] == json!(token.id));
        let first = of.next().unwrap();
        assert!(of.all(|call| call.id == first.id), "one notice, one id");
    }
    assert!(before.iter().all(|id| calls.iter().any(|call| call.id == *id)));
    assert_eq!(gateway.code(&minted[0].secret), "token_revoked");
}

#[test]
fn the_command_line_reports_lists_and_asks() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let minted = gateway.mint("production");
    let unasked = gateway.cli_given(&["leak", "report"], &minted.secret);
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert_eq!(gateway.code(&minted.secret), "ok");
    let given = format!("{}\n{}\n", minted.secret, leak::token());
    let done = gateway.cli_given(&["leak", "report", "--yes", "--source", "a pastebin"], &given);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains(&format!("token {}: revoked", minted.id)), "{done:?}");
    assert!(done.stdout.contains("2: not known here"), "{done:?}");
    leak::assert_unsaid(&done, &[&minted.secret]);
    let listed = gateway.cli(&["leak", "list"]);
    assert!(listed.stdout.contains("a pastebin") && listed.stdout.contains(&minted.id), "{listed:?}");
    let nonsense = gateway.cli_given(&["leak", "report", "--yes"], "pct_nonsense");
    assert_eq!(nonsense.code, 2, "{nonsense:?}");
    assert!(nonsense.stderr.contains("tokens"), "{nonsense:?}");
}

#[test]
fn on_a_terminal_what_is_reported_is_not_shown_and_the_command_asks() {
    const INVITED: &str = "not shown";
    let gateway = Gateway::before(&App::echo());
    let (first, second) = (gateway.mint("production"), gateway.mint("production"));
    let text = format!("{}\n{}\n\u{4}", first.secret, second.secret);
    let hints = [&first.secret[36..], &second.secret[36..]].map(|hint| format!("…{hint}"));
    let report = |flags: &[&str], typed: &[(&str, &str)]| {
        let (ran, shown) = converse(&gateway.path(""), &[&["leak", "report"], flags].concat(), typed);
        leak::assert_unsaid(&ran, &[&first.secret, &second.secret]);
        assert!(!shown.contains(&first.secret[4..36]) && !shown.contains(&second.secret[4..36]), "{shown}");
        ran
    };
    let refused = report(&[], &[(INVITED, &text), ("[y/N]", "n\n")]);
    // Each byte of it came by itself.
    let asked = refused.stderr.chars().map(|c| c as u8).collect::<Vec<_>>();
    let asked = String::from_utf8_lossy(&asked);
    assert!(refused.code == 1 && hints.iter().all(|hint| asked.contains(&**hint)), "{refused:?}");
    let stopped = report(&["--yes"], &[(INVITED, "pct_half\u{3}")]);
    assert!(stopped.code == 1 && stopped.stderr.contains("nothing was changed"), "{stopped:?}");
    assert_eq!(gateway.code(&first.secret), "ok");
    let done = report(&[], &[(INVITED, &format!("{}\n\u{4}", first.secret)), ("[y/N]", "y\n")]);
    assert_eq!((done.code, gateway.code(&first.secret)), (0, "token_revoked".to_owned()), "{done:?}");
    let unasked = report(&["--yes"], &[(INVITED, &format!("{}\n\u{4}", second.secret))]);
    assert_eq!((unasked.code, gateway.code(&second.secret)), (0, "token_revoked".to_owned()), "{unasked:?}");
}

#[test]
fn wrong_reports_are_told_by_their_fields() {
    let gateway = Gateway::before(&App::echo());
    for (body, field) in [
        (json!({}), "tokens"),
        (json!({ "tokens": [], "source": "x" }), "tokens"),
        (json!({ "tokens": ["pct_x"], "source": "x" }), "tokens"),
        (json!({ "tokens": [leak::token()] }), "source"),
        (json!({ "tokens": [leak::token()], "source": leak::token() }), "source"),
        (json!({ "tokens": [leak::token()], "source": "x", "url": leak::token() }), "url"),
        (json!({ "tokens": vec![leak::token(); 501], "source": "x" }), "tokens"),
        (json!({ "tokens": [leak::token()], "source": "x", "more": 1 }), "more"),
    ] {
        let answer = gateway.admin("POST /v1/leaks", Some(body));
        assert_eq!(answer.status, 422, "{answer:?}");
        let fields = answer.json()["errors"].as_array().unwrap().clone();
        assert!(fields.iter().any(|error| error["field"] == field), "{field}: {fields:?}");
    }
    assert_eq!(gateway.leaks(), Vec::<Value>::new());
}

#[test]
fn a_notice_knows_of_a_use_a_moment_ago() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let (leaked, revoked) = (gateway.mint("production"), gateway.mint("production"));
    assert_eq!((gateway.code(&leaked.secret), gateway.code(&revoked.secret)), ("ok".into(), "ok".into()));
    gateway.leaked(&[&leaked.secret], "hand");
    gateway.revoke(&revoked.id);
    for call in hook.wait_for(2) {
        let data = &call.body["data"];
        assert_eq!(data["token"]["last_used_from"], "127.0.0.1", "{call:?}");
        assert!(data["token"]["last_used_at"].is_string(), "{call:?}");
        assert_eq!(data["addresses"], json!(["127.0.0.1"]));
    }
}

#[test]
fn what_waits_outlives_a_configuration_without_its_channel() {
    let (app, hook) = (App::echo(), Hook::saying(&[500]));
    let gateway = with_hook(&app, &hook);
    gateway.leaked(&[&gateway.mint("production").secret], "hand");
    let reload = |setup: Setup| {
        gateway.rewrite(&setup);
        assert_eq!(gateway.admin("POST /v1/reload", None).status, 200);
    };
    hook.wait_for(1);
    reload(Setup::new(&app));
    let due = |notice: &Value| notice["due_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    until("an attempt that was due", || {
        gateway.notices().iter().all(|notice| due(notice) < jiff::Timestamp::now()).then_some(())
    });
    assert_eq!(gateway.notices()[0]["status"], "held");
    until("a count of what is held", || {
        let of = |status: &str| {
            let sample = format!("notices_undelivered{{status=\"{status}\"}}");
            gateway.metrics().get(&sample)
        };
        (of("held") == Some(1.0) && of("waiting") == Some(0.0)).then_some(())
    });
    hook.say(&[200]);
    reload(hook.notified(Setup::new(&app)));
    until("an empty outbox", || gateway.notices().is_empty().then_some(()));
}

#[test]
fn the_notice_of_a_key_tells_of_its_last_use() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    ann.get(200, "GET /v1/whoami", None);
    gateway.leaked(&[ann.key()], "a scan");
    let data = hook.calls_of("key.leaked", 1).remove(0).body["data"].clone();
    assert!(data["key"]["last_used_at"].is_string(), "{data}");
    assert_eq!(
        (&data["key"]["last_used_from"], &data["addresses"]),
        (&json!("127.0.0.1"), &json!(["127.0.0.1"]))
    );
}

#[test]
fn a_source_is_kept_as_a_place_is() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let minted = gateway.mint("production");
    gateway.leaked(&[&minted.secret], "https://ann:hunter2@ci.example/x?k=hunter2");
    assert_eq!(gateway.leaks()[0]["source"], "https://ci.example/x");
    assert!(!hook.calls_of("token.leaked", 1)[0].body.to_string().contains("hunter2"));
    let log = gateway.admin("GET /v1/audit?limit=500", None);
    assert!(log.text().contains("ci.example") && !log.text().contains("hunter2"));
    let hides = json!({ "tokens": [minted.secret], "source": "https%3A//ann:hunter2@ci.example/" });
    assert_eq!(gateway.admin("POST /v1/leaks", Some(hides)).status, 422);
}

#[test]
fn places_are_told_all_and_bounded() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let minted = gateway.mint("production");
    let report = |places: usize, url: Option<&str>| {
        let places: Vec<_> = (0..places).map(|place| format!("src/C#/{place}.cs:1:1")).collect();
        let body = json!({ "tokens": [minted.secret], "source": "a scan", "url": url, "places": places });
        gateway.admin("POST /v1/leaks", Some(body)).status
    };
    assert_eq!((report(101, None), report(1, Some("https://paste.example/1"))), (422, 422));
    assert_eq!(report(12, None), 200);
    let leak = hook.calls_of("token.leaked", 1)[0].body["data"]["leak"].clone();
    assert_eq!((leak["places"].as_array().unwrap().len(), &leak["more_places"]), (10, &json!(2)));
    assert_eq!((gateway.leaks().len(), &gateway.leaks()[0]["place"]), (12, &json!("src/C#/11.cs:1:1")));
}
