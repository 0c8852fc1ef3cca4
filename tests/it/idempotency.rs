//! Calls that come twice and happen once.

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::{Caller, minted};
use crate::support::exchange::with_token;
use crate::support::gateway::Gateway;

fn order(label: &str) -> Value {
    json!({ "app": "shop", "environment": "production", "expires_in": "1h", "label": label })
}

#[test]
fn a_repeat_answers_with_the_token_and_without_its_value() {
    let gateway = Gateway::before(&App::echo());
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let mint = |caller: &Caller<'_>, key: &str, label: &str| {
        caller.ask_with("POST /v1/tokens", &[("Idempotency-Key", key)], Some(order(label)))
    };
    let first = mint(&ann, "a", "CI");
    assert_eq!(first.status, 201, "{first:?}");
    let token = minted(&first.json());
    let again = mint(&ann, "a", "CI");
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.json()["token"], first.json()["token"]);
    for field in ["secret", "authorization", "query_parameter"] {
        assert_eq!(again.json()[field], Value::Null);
    }
    let other = mint(&ann, "a", "other");
    assert_eq!((other.status, &other.json()["errors"][0]["field"]), (422, &json!("Idempotency-Key")));
    // Another caller's name is another name, and so is another name.
    let operator = Caller::operator(&gateway);
    assert_eq!((mint(&operator, "a", "CI").status, mint(&ann, "b", "CI").status), (201, 201));
    assert_eq!(ann.ids("GET /v1/tokens").len(), 2);

    let rotate = format!("POST /v1/tokens/{}/rotate", token.id);
    let rotated = ann.ask_with(&rotate, &[("Idempotency-Key", "c")], None);
    let repeated = ann.ask_with(&rotate, &[("Idempotency-Key", "c")], None);
    assert_eq!((rotated.status, repeated.status), (201, 200), "{repeated:?}");
    assert_eq!(repeated.json()["token"]["id"], rotated.json()["token"]["id"]);
    assert_eq!(ann.ask_with(&rotate, &[("Idempotency-Key", "a")], None).status, 422);

    operator.get(200, &format!("DELETE /v1/tokens/{}", minted(&rotated.json()).id), None);
    operator.get(200, &format!("DELETE /v1/tokens/{}", token.id), None);
    assert_eq!(ann.ask_with(&rotate, &[("Idempotency-Key", "c")], None).code(), "conflict");
    assert_eq!(ann.ask_with(&rotate, &[("Idempotency-Key", "d")], None).status, 404);
    let token = minted(&mint(&ann, "e", "CI").json());

    gateway.revoke(&token.id);
    assert_eq!(mint(&ann, "e", "CI").json()["token"]["status"], "revoked", "as it is now");
    operator.get(200, &format!("DELETE /v1/tokens/{}", token.id), None);
    assert_eq!(mint(&ann, "e", "CI").code(), "conflict", "and nothing new comes of it");
    for wrong in ["", "a\tb"] {
        assert_eq!(mint(&ann, wrong, "CI").status, 422, "{wrong:?}");
    }
}

#[test]
fn a_repeated_revocation_tells_what_the_first_ended() {
    let app = App::start(|exchange| exchange.wire.wait_for_end());
    let gateway = Gateway::before(&app);
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let token = ann.mint("production");
    let revoke = format!("POST /v1/tokens/{}/revoke", token.id);
    let lost = || Some(json!({ "reason": "lost" }));
    let named = |body| ann.ask_with(&revoke, &[("Idempotency-Key", "a")], body);
    let mut waits = gateway.connect();
    waits.send(with_token("GET /", "shop.localhost", &token.secret));
    app.wait_for(1);
    let first = named(lost());
    assert_eq!((first.status, &first.json()["ended"]["requests"]), (200, &json!(1)), "{first:?}");
    assert_eq!(waits.answer().code(), "token_revoked");
    assert_eq!(named(lost()).json(), first.json());
    let other = named(Some(json!({ "reason": "found" })));
    assert_eq!((other.status, &other.json()["errors"][0]["field"]), (422, &json!("Idempotency-Key")));
    let again = ann.get(200, &revoke, lost());
    assert_eq!(again["ended"], json!({ "requests": 0, "streams": 0 }), "it had ended already");
}

#[test]
fn every_call_that_creates_honours_the_name() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let publish = "POST /v1/apps/shop/environments/production/deployments";
    gateway.mint("production");
    for (line, body, number) in [
        ("POST /v1/members", json!({ "name": "ann" }), 1),
        ("POST /v1/keys", json!({ "member": "bob", "scopes": ["read"] }), 2),
        (publish, json!({ "id": "blue" }), 3),
        ("POST /v1/shares", json!({ "app": "shop", "environment": "production", "expires_in": "1h" }), 4),
    ] {
        let key = number.to_string();
        let ask = || operator.ask_with(line, &[("Idempotency-Key", &key)], Some(body.clone()));
        let (first, second) = (ask(), ask());
        assert_eq!((first.status, second.status), (201, 200), "{line}: {second:?}");
        let (mut first, second) = (first.json(), second.json());
        for shown in ["secret", "url", "path"] {
            if first[shown].is_string() {
                first[shown] = Value::Null;
            }
        }
        assert_eq!(first, second, "{line}");
    }
    let answer = operator.ask_with(publish, &[("Idempotency-Key", "3")], Some(json!({ "id": "green" })));
    assert_eq!(answer.status, 422);
    let dry = operator.ask(&format!("{publish}?dry_run=true"), Some(json!({ "id": "green" })));
    assert_eq!(dry.status, 200);
}

#[test]
fn of_many_at_once_one_creates_and_a_restart_forgets_nothing() {
    const THREADS: usize = 8;
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    let together = Barrier::new(THREADS);
    let ask = |gateway: &Gateway| {
        Caller::operator(gateway).ask_with(
            "POST /v1/tokens",
            &[("Idempotency-Key", "one")],
            Some(order("CI")),
        )
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    ask(&gateway)
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(created.len(), 1);
    let id = created[0].json()["token"]["id"].clone();
    assert!(
        answers.iter().all(|answer| matches!(answer.status, 200 | 201) && answer.json()["token"]["id"] == id)
    );
    let secret = minted(&created[0].json()).secret;
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &secret)).status, 200);
    gateway.kill();
    gateway.restart();
    assert_eq!((ask(&gateway).status, ask(&gateway).json()["token"]["id"].clone()), (200, id));
}
