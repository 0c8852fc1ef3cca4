//! Signs of a leak without a scanner, and what ends soon: their owners are told, and nothing else happens.

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
use crate::support::until;
use crate::support::wire::request;

const HOST: &str = "shop.localhost";

fn with_hook(app: &App, hook: &Hook, change: impl FnOnce(Setup) -> Setup) -> Gateway {
    change(hook.notified(Setup::new(app))).start_beside("hook-secret", hook::SECRET)
}

fn leaks(gateway: &Gateway) -> Vec<Value> {
    gateway.admin("GET /v1/leaks", None).json()["items"].as_array().unwrap().clone()
}

/// Waits for the warning of this kind.
#[track_caller]
fn warned(gateway: &Gateway, kind: &str) -> Value {
    until(&format!("a warning: {kind}"), || leaks(gateway).into_iter().find(|leak| leak["kind"] == kind))
}

#[test]
fn a_token_in_a_referer_and_a_crawler_with_one_raise_warnings() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook, |setup| setup);
    let minted = gateway.mint("production");
    let page = format!("https://{HOST}/a?project-protection-bypass={}#b", minted.secret);
    // Also without a token of its own: it is the page that held it.
    assert_eq!(gateway.ask(request("GET /style.css", &[("Referer", &page)])).status, 401);
    let leak = warned(&gateway, "referer");
    assert_eq!((&leak["subject"], &leak["done"]), (&json!(minted.id), &json!("warned")));

    let target = format!("GET /a?project-protection-bypass={}", minted.secret);
    assert_eq!(gateway.ask(request(&target, &[("User-Agent", "Slackbot-LinkExpanding 1.0")])).status, 200);
    let crawler = warned(&gateway, "crawler");
    assert_eq!((&crawler["source"], &crawler["client"]), (&json!("portcullis"), &json!("127.0.0.1")));
    assert_eq!(crawler["agent"], "Slackbot-LinkExpanding 1.0");
    let listed = gateway.cli(&["leak", "list"]);
    assert!(listed.stdout.contains("127.0.0.1"), "{listed:?}");
    let calls = hook.wait_for(2);
    let mut kinds: Vec<_> = calls.iter().map(|call| call.body["data"]["leak"]["kind"].to_string()).collect();
    kinds.sort();
    assert_eq!(kinds, ["\"crawler\"", "\"referer\""]);
    assert!(calls.iter().all(|call| call.body["type"] == "token.suspected"));

    // Nobody is told twice; it is counted.
    assert_eq!(gateway.ask(request("GET /", &[("Referer", &page)])).status, 401);
    until("two sights", || (warned(&gateway, "referer")["count"] == 2).then_some(()));
    assert_eq!(gateway.ask(with_token("GET /", HOST, &minted.secret)).status, 200);
    assert!(!hook.said().contains(&minted.secret[4..20]));
    until("a figure", || {
        let text = String::from_utf8(gateway.admin("GET /metrics", None).body).unwrap();
        text.contains("portcullis_leaks{kind=\"referer\"} 1").then_some(())
    });
}

#[test]
fn a_revoked_token_that_keeps_coming_is_told_and_one_that_comes_is_not() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook, |setup| setup);
    let (few, many) = (gateway.mint("production"), gateway.mint("production"));
    for token in [&few, &many] {
        gateway.revoke(&token.id);
    }
    assert_eq!(gateway.ask(with_token("GET /", HOST, &few.secret)).status, 401);
    for _ in 0..25 {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &many.secret)).status, 401);
    }
    assert_eq!(warned(&gateway, "revoked_in_use")["subject"], json!(many.id));
    assert_eq!(leaks(&gateway).len(), 1);
}

/// Told of new networks, and believing who says that somebody comes from one.
fn told_of_networks(app: &App, hook: &Hook) -> Gateway {
    with_hook(app, hook, |setup| {
        setup.set("leaks", "new_networks", "true").set("gateway", "trusted_proxies", "[\"127.0.0.1\"]")
    })
}

#[track_caller]
fn used_from(gateway: &Gateway, secret: &str, address: &str) {
    let fields = [("Host", HOST), ("X-Portcullis-Token", secret), ("X-Forwarded-For", address)];
    assert_eq!(gateway.ask(request("GET /", &fields)).status, 200);
}

/// Waits until the store has it.
#[track_caller]
fn written_down(gateway: &Gateway, id: &str, address: &str) {
    until(&format!("the use from {address}"), || {
        let shown = gateway.admin(&format!("GET /v1/tokens/{id}"), None).json();
        (shown["last_used_from"] == address).then_some(())
    });
}

#[test]
fn a_new_network_is_told_of_where_that_is_wanted() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = told_of_networks(&app, &hook);
    let minted = gateway.mint("production");
    let from = |address: &str| {
        used_from(&gateway, &minted.secret, address);
        written_down(&gateway, &minted.id, address);
    };
    from("192.0.2.7");
    from("192.0.2.8");
    from("198.51.100.9");
    let leak = warned(&gateway, "new_network");
    assert_eq!((&leak["place"], &leak["client"]), (&json!("198.51.100.0/24"), &json!("198.51.100.9")));
    assert_eq!(leaks(&gateway).len(), 1);
    let call = hook.wait_for(1).remove(0);
    assert_eq!(call.body["data"]["addresses"], json!(["198.51.100.9", "192.0.2.8"]));
    assert_eq!(call.body["data"]["leak"]["from"], "198.51.100.9");
}

#[test]
fn a_report_names_every_network_however_seldom_it_came_from_there() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = told_of_networks(&app, &hook);
    let minted = gateway.mint("production");
    used_from(&gateway, &minted.secret, "192.0.2.7");
    written_down(&gateway, &minted.id, "192.0.2.7");
    used_from(&gateway, &minted.secret, "198.51.100.9");
    for _ in 0..10 {
        used_from(&gateway, &minted.secret, "192.0.2.8");
    }
    let body = json!({ "tokens": [minted.secret], "source": "a scan" });
    assert_eq!(gateway.admin("POST /v1/leaks", Some(body)).status, 200);
    let call = hook.calls_of("token.leaked", 1).remove(0);
    assert_eq!(call.body["data"]["addresses"], json!(["192.0.2.8", "198.51.100.9"]));
    // It is ended by now: a row tells who had it, and no further letter.
    assert_eq!(warned(&gateway, "new_network")["client"], "198.51.100.9");
    let events: Vec<_> = hook.calls().iter().map(|call| call.body["type"].clone()).collect();
    assert!(events.iter().filter(|event| **event == "token.suspected").count() <= 1, "{events:?}");
}

#[test]
fn what_was_seen_just_before_a_stop_is_told_after_it() {
    let (app, hook) = (App::echo(), Hook::taking());
    let mut gateway = told_of_networks(&app, &hook);
    let minted = gateway.mint("production");
    used_from(&gateway, &minted.secret, "192.0.2.7");
    used_from(&gateway, &minted.secret, "198.51.100.9");
    let page = format!("https://{HOST}/a?project-protection-bypass={}", minted.secret);
    assert_eq!(gateway.ask(request("GET /style.css", &[("Referer", &page)])).status, 401);
    gateway.signal(Signal::TERM);
    gateway.exit();
    gateway.restart();
    let mut kinds: Vec<_> = leaks(&gateway).iter().map(|leak| leak["kind"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["new_network", "referer"]);
    assert_eq!(hook.calls_of("token.suspected", 2).len(), 2);
}

#[test]
fn a_token_that_is_used_from_everywhere_is_not_lost_sight_of() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = told_of_networks(&app, &hook);
    let minted = gateway.mint("production");
    let store = Connection::open(gateway.path("portcullis.db")).unwrap();
    store.busy_timeout(crate::support::PATIENCE).unwrap();
    // Seen already, as in one go.
    let seen = store.unchecked_transaction().unwrap();
    seen.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64)
             INSERT INTO token_networks (token, network, address, at)
             SELECT ?, '10.64.' || i || '.0/24', '10.64.' || i || '.1', i FROM n",
        [&minted.id],
    )
    .unwrap();
    seen.execute("UPDATE meta SET value = '64' WHERE name = 'networks_seen'", []).unwrap();
    seen.commit().unwrap();
    used_from(&gateway, &minted.secret, "198.51.100.9");
    assert_eq!(warned(&gateway, "new_network")["client"], "198.51.100.9");
    used_from(&gateway, &minted.secret, "10.64.2.9");
    used_from(&gateway, &minted.secret, "203.0.113.9");
    // Told once a day, and counted.
    until("a count of two", || (warned(&gateway, "new_network")["count"] == 2).then_some(()));
    assert_eq!((leaks(&gateway).len(), hook.calls_of("token.suspected", 1).len()), (1, 1));
    let body = json!({ "tokens": [minted.secret], "source": "a scan" });
    assert_eq!(gateway.admin("POST /v1/leaks", Some(body)).status, 200);
    let call = hook.calls_of("token.leaked", 1).remove(0);
    let addresses: Vec<_> = call.body["data"]["addresses"].as_array().unwrap().iter().take(4).collect();
    assert_eq!(addresses, ["203.0.113.9", "10.64.2.9", "198.51.100.9", "10.64.64.1"]);
}

#[test]
fn what_is_in_use_and_ends_soon_is_told_a_week_and_a_day_ahead() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook, |setup| setup);
    let mint = |days: i64| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days - 1);
        let body = json!({ "app": "shop", "environment": "production", "expires_at": end.to_string() });
        gateway.mint_with(body)
    };
    let (week, day, far, short) = (mint(7), mint(1), mint(30), mint(1));
    // As if the first two had lived for long.
    let store = Connection::open(gateway.path("portcullis.db")).unwrap();
    store.busy_timeout(crate::support::PATIENCE).unwrap();
    let aged = "UPDATE tokens SET created_at = created_at - 2592000000 WHERE id IN (?, ?)";
    store.execute(aged, (&week.id, &day.id)).unwrap();
    for token in [&week, &day, &far, &short] {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    }
    let calls = hook.wait_for(2);
    let mut told: Vec<_> = calls.iter().map(|call| call.body["data"]["token"]["id"].clone()).collect();
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [json!(week.id), json!(day.id)]);
    assert!(calls.iter().all(|call| call.body["type"] == "token.expiring"));
    let rotate = calls[0].body["data"]["replacement"]["command"].as_str().unwrap();
    assert!(rotate.starts_with("portcullis token rotate tok_"), "{rotate}");
    until("all uses written down and judged", || {
        let noted: i64 = store
            .query_row("SELECT count(*) FROM tokens WHERE expiry_noted_at IS NOT NULL", [], |row| row.get(0))
            .unwrap();
        (noted == 3).then_some(())
    });
    assert_eq!(hook.calls().len(), 2, "neither {} nor {}", far.id, short.id);
}
