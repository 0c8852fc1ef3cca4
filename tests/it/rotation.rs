//! A token's later life: rotated, edited, deleted, and counted against the limits.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::{Caller, minted};
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Minted, Setup};
use crate::support::until;
use crate::support::wire::Answer;

const HOST: &str = "shop.localhost";

#[track_caller]
fn code(gateway: &Gateway, token: &Minted) -> String {
    let answer = gateway.ask(with_token("GET /", HOST, &token.secret));
    if answer.status == 200 { "ok".to_owned() } else { answer.code() }
}

#[track_caller]
fn shown(gateway: &Gateway, token: &Minted) -> Value {
    Caller::operator(gateway).get(200, &format!("GET /v1/tokens/{}", token.id), None)
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_successor_has_the_same_bindings_and_the_old_value_an_overlap() {
    let gateway = Gateway::before(&App::echo());
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let order = json!({
        "app": "shop", "environment": "production", "expires_in": "7d", "label": "CI", "description": "checks",
        "scopes": ["GET /"], "allowed_addresses": ["127.0.0.0/8"], "rate_limit": "100/1m", "on_publish": "grace:1h",
    });
    let old = minted(&ann.get(201, "POST /v1/tokens", Some(order)));
    let before = Timestamp::now();
    let boss = Caller::member(&gateway, "boss", &["admin"], None);
    let answer = boss.get(201, &format!("POST /v1/tokens/{}/rotate", old.id), None);
    let new = minted(&answer);
    assert_ne!(new.secret, old.secret);
    assert_eq!(answer["authorization"], format!("Bearer {}", new.secret));
    assert_eq!((code(&gateway, &old), code(&gateway, &new)), ("ok".to_owned(), "ok".to_owned()));
    let (was, is) = (shown(&gateway, &old), shown(&gateway, &new));
    for field in [
        "label",
        "description",
        "app",
        "environment",
        "deployment",
        "on_publish",
        "scopes",
        "allowed_addresses",
        "rate_limit",
        "created_by",
    ] {
        assert_eq!(was[field], is[field], "{field}");
    }
    assert_eq!((&was["successor"], &is["predecessor"]), (&json!(new.id), &json!(old.id)));
    let hour = SignedDuration::from_hours(1);
    let (overlap, life) =
        (time(&was["expires_at"]) - before, time(&is["expires_at"]) - time(&is["created_at"]));
    assert!(overlap.total(jiff::Unit::Minute).unwrap() >= 60.0, "{overlap}");
    assert!(time(&was["expires_at"]) <= Timestamp::now() + hour);
    assert_eq!(life.total(jiff::Unit::Hour).unwrap(), 168.0);

    let again = ann.ask(&format!("POST /v1/tokens/{}/rotate", old.id), None);
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    assert!(again.json()["detail"].as_str().unwrap().contains(&new.id));
    gateway.revoke(&new.id);
    assert_eq!(ann.ask(&format!("POST /v1/tokens/{}/rotate", new.id), None).status, 409);
    for body in [
        json!({ "overlap": "soon" }),
        json!({ "expires_in": "2h" }),
        json!({ "expires_in": "never" }),
        json!({ "x": 1 }),
    ] {
        let token = ann.mint("production");
        let answer = ann.ask(&format!("POST /v1/tokens/{}/rotate", token.id), Some(body.clone()));
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"), "{body}");
        assert_eq!(shown(&gateway, &token)["successor"], Value::Null);
    }
}

#[test]
fn no_overlap_ends_the_old_value_and_what_it_runs_at_once() {
    let app = App::start(|exchange| {
        if exchange.head.target() == "/wait" {
            exchange.wire.wait_for_end();
            return exchange.close();
        }
        exchange.answer(b"hello");
    });
    let gateway = Gateway::before(&app);
    let old = gateway.mint("production");
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /wait", HOST, &old.secret));
    app.wait_for(1);
    let path = format!("POST /v1/tokens/{}/rotate", old.id);
    let new = minted(&Caller::operator(&gateway).get(
        201,
        &path,
        Some(json!({ "overlap": "0s", "expires_in": "24h" })),
    ));
    assert_eq!(waiting.answer().code(), "token_expired");
    assert_eq!((code(&gateway, &old), code(&gateway, &new)), ("token_expired".to_owned(), "ok".to_owned()));
}

#[test]
fn an_overlap_never_outlasts_the_old_value() {
    let gateway = Gateway::before(&App::echo());
    let old = gateway.mint("production");
    let end = shown(&gateway, &old)["expires_at"].clone();
    let path = format!("POST /v1/tokens/{}/rotate", old.id);
    Caller::operator(&gateway).get(201, &path, Some(json!({ "overlap": "7d" })));
    assert_eq!(shown(&gateway, &old)["expires_at"], end);
}

#[test]
fn edits_change_what_may_change_and_meet_the_state_that_was_seen() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let token = gateway.mint("production");
    let path = format!("/v1/tokens/{}", token.id);
    let first = operator.ask(&format!("GET {path}"), None);
    let tag = first.get("etag").unwrap().to_owned();
    let edit = |fields: &[(&str, &str)], body: Value| {
        operator.ask_with(&format!("PATCH {path}"), fields, Some(body))
    };
    let edited = edit(
        &[("If-Match", &tag)],
        json!({
            "label": "Grüße", "description": "for the checks", "scopes": ["GET /a"], "allowed_addresses": ["127.0.0.1"],
            "rate_limit": "10/1s",
        }),
    );
    assert_eq!(edited.status, 200, "{edited:?}");
    let now = edited.get("etag").unwrap().to_owned();
    assert_ne!(now, tag);
    assert_eq!(edited.json()["label"], "Grüße");
    assert_eq!(code(&gateway, &token), "insufficient_scope", "in force with the answer");
    for stale in [&*tag, "\"x\"", "W/\"2\""] {
        let refused = edit(&[("If-Match", stale)], json!({ "label": "mine" }));
        assert_eq!((refused.status, refused.code().as_str()), (412, "stale"), "{stale}");
    }
    assert_eq!(
        edit(&[("If-Match", "*")], json!({ "scopes": null, "label": null })).json()["scopes"],
        json!([])
    );
    assert_eq!(code(&gateway, &token), "ok");
    assert_eq!(shown(&gateway, &token)["label"], "");
    let unchanged = edit(&[], json!({ "label": "" }));
    assert_eq!(unchanged.json()["revision"], shown(&gateway, &token)["revision"]);

    let end = time(&shown(&gateway, &token)["expires_at"]);
    let at = |time: Timestamp| json!({ "expires_at": time.to_string() });
    let field = |body: Value| {
        let answer = edit(&[], body);
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"), "{answer:?}");
        answer.json()["errors"][0]["field"].as_str().unwrap().to_owned()
    };
    let second = SignedDuration::from_secs(1);
    assert_eq!(field(at(end + second)), "expires_at");
    assert_eq!(field(json!({ "expires_at": null })), "expires_at");
    assert_eq!(field(json!({ "expires_in": "24h" })), "expires_at");
    assert_eq!(field(at(Timestamp::now() - second)), "expires_at");
    for fixed in ["app", "environment", "deployment", "on_publish", "created_by", "hint", "status"] {
        assert_eq!(field(json!({ fixed: "other" })), fixed);
    }
    assert_eq!(edit(&[], at(end - second)).status, 200);
    assert_eq!(time(&shown(&gateway, &token)["expires_at"]), end - second);
}

#[test]
fn an_expiry_brought_forward_ends_what_runs_then() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ntick");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let mut running = gateway.connect();
    running.send(with_token("GET /", HOST, &token.secret));
    assert_eq!(running.head().unwrap().unwrap().status(), 200);
    let end = Timestamp::now() + SignedDuration::from_secs(1);
    let path = format!("PATCH /v1/tokens/{}", token.id);
    Caller::operator(&gateway).get(200, &path, Some(json!({ "expires_at": end.to_string() })));
    running.wait_for_end();
    assert!(Timestamp::now() >= end);
    assert_eq!(code(&gateway, &token), "token_expired");
}

#[test]
fn a_deleted_token_is_revoked_first_and_then_unknown() {
    let app = App::start(|exchange| {
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let ann = Caller::member(&gateway, "ann", &["read", "mint", "delete"], None);
    let token = ann.mint("production");
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /", HOST, &token.secret));
    app.wait_for(1);
    let deleted = ann.get(200, &format!("DELETE /v1/tokens/{}", token.id), None);
    assert_eq!((&deleted["token"]["status"], &deleted["ended"]["requests"]), (&json!("revoked"), &json!(1)));
    assert_eq!(waiting.answer().code(), code(&gateway, &token), "what the next request is told");
    assert_eq!(code(&gateway, &token), "token_unknown");
    assert_eq!(ann.ask(&format!("GET /v1/tokens/{}", token.id), None).status, 404);
    assert_eq!(ann.ask(&format!("DELETE /v1/tokens/{}", token.id), None).status, 404);
    let actions = ann.get(200, "GET /v1/audit", None)["items"].as_array().unwrap().clone();
    let of_token: Vec<_> = actions
        .iter()
        .filter(|entry| entry["subject"] == *token.id)
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(of_token, ["token.mint", "token.revoke", "token.delete"]);
}

#[test]
fn limits_hold_however_many_ask_at_once() {
    const THREADS: usize = 8;
    let gateway = Setup::new(&App::echo())
        .set("tokens", "max_active", "10")
        .set("tokens", "max_active_per_member", "4")
        .start();
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let order = || Some(json!({ "app": "shop", "environment": "production", "expires_in": "1h" }));
    let together = Barrier::new(THREADS);
    let (made, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let race = |caller: &Caller<'_>, limit: u64| {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    for _ in 0..2 {
                        let answer = caller.ask("POST /v1/tokens", order());
                        if answer.status == 201 {
                            made.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        let document = answer.json();
                        assert_eq!((answer.status, answer.code().as_str()), (409, "limit_reached"));
                        assert_eq!((&document["limit"], &document["live"]), (&json!(limit), &json!(limit)));
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        (made.swap(0, Ordering::Relaxed), refused.swap(0, Ordering::Relaxed))
    };
    assert_eq!(race(&ann, 4), (4, 12));
    let operator = Caller::operator(&gateway);
    assert_eq!(race(&operator, 10), (6, 10), "the operator is no member, but in the workspace");

    // A rotation takes no place until the overlap is over.
    let ids = ann.ids("GET /v1/tokens");
    ann.get(201, &format!("POST /v1/tokens/{}/rotate", ids[0]), None);
    assert_eq!(ann.ask("POST /v1/tokens", order()).code(), "limit_reached");
    gateway.revoke(&ids[1]);
    ann.get(201, "POST /v1/tokens", order());
    let path = format!("POST /v1/tokens/{}/rotate", ids[2]);
    ann.get(201, &path, Some(json!({ "overlap": "1s" })));
    gateway.revoke(&ids[3]);
    ann.get(201, "POST /v1/tokens", order());
    until("the end of the overlap", || {
        let status = ann.get(200, &format!("GET /v1/tokens/{}", ids[2]), None)["status"].clone();
        (status == "expired").then_some(())
    });
    assert_eq!(
        ann.ask("POST /v1/tokens", order()).code(),
        "limit_reached",
        "now the successor has its place"
    );
}

#[test]
fn overlaps_do_not_add_up_past_the_limits() {
    let gateway = Setup::new(&App::echo())
        .set("tokens", "max_active", "3")
        .set("tokens", "max_active_per_member", "2")
        .start();
    let ann = Caller::member(&gateway, "ann", &["read", "mint", "delete"], None);
    let order = || Some(json!({ "app": "shop", "environment": "production", "expires_in": "5y" }));
    let long = || Some(json!({ "overlap": "5y" }));
    let rotate = |of: &Minted| ann.ask(&format!("POST /v1/tokens/{}/rotate", of.id), long());
    let refused = |answer: &Answer, live: u64| {
        let document = answer.json();
        assert_eq!((answer.code().as_str(), &document["live"]), ("limit_reached", &json!(live)));
    };
    let first = minted(&ann.get(201, "POST /v1/tokens", order()));
    let second = minted(&rotate(&first).json());
    let third = minted(&rotate(&second).json());
    // The second is in the first's place, so the third has its own.
    refused(&ann.ask("POST /v1/tokens", order()), 2);
    let fourth = minted(&rotate(&third).json());
    refused(&rotate(&fourth), 2);
    let operator = Caller::operator(&gateway);
    assert_eq!(operator.ids("GET /v1/tokens?status=active").len(), 4);
    // Whose place was lent is counted once that one ends, in whatever way.
    gateway.revoke(&first.id);
    refused(&ann.ask("POST /v1/tokens", order()), 2);
    ann.get(200, &format!("DELETE /v1/tokens/{}", third.id), None);
    assert_eq!(rotate(&fourth).status, 201, "it stands in its own place by now");
    refused(&ann.ask("POST /v1/tokens", order()), 2);
    gateway.revoke(&second.id);
    gateway.revoke(&fourth.id);
    ann.get(201, "POST /v1/tokens", order());
}
