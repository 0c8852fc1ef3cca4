//! Members and what they hold: added, edited, removed with all that they made.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::Gateway;
use crate::support::until;

const HOST: &str = "shop.localhost";

#[test]
fn members_are_added_listed_edited_and_removed() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let ann =
        operator.get(201, "POST /v1/members", Some(json!({ "name": "ann", "email": "ann@example.com" })));
    assert_eq!((&ann["name"], &ann["email"]), (&json!("ann"), &json!("ann@example.com")));
    operator.get(201, "POST /v1/members", Some(json!({ "name": "bob" })));
    assert_eq!(operator.ask("POST /v1/members", Some(json!({ "name": "ann" }))).code(), "conflict");
    let names = |line: &str| {
        let page = operator.get(200, line, None);
        let names =
            page["items"].as_array().unwrap().iter().map(|member| member["name"].clone()).collect::<Vec<_>>();
        (names, page["next_cursor"].clone())
    };
    assert_eq!(names("GET /v1/members").0, [json!("bob"), json!("ann")]);
    let (first, cursor) = names("GET /v1/members?limit=1");
    operator.get(201, "POST /v1/members", Some(json!({ "name": "eve" })));
    let rest = names(&format!("GET /v1/members?limit=1&cursor={}", cursor.as_str().unwrap()));
    assert_eq!((first, rest), (vec![json!("bob")], (vec![json!("ann")], Value::Null)));

    let edited = operator.ask("PATCH /v1/members/ann", Some(json!({ "email": null })));
    assert_eq!((edited.status, &edited.json()["email"]), (200, &Value::Null));
    let tag = edited.get("etag").unwrap().to_owned();
    let renamed = json!({ "name": "anna", "email": "anna@example.com" });
    let edit = |tag: &str, body: &Value| {
        operator.ask_with("PATCH /v1/members/ann", &[("If-Match", tag)], Some(body.clone()))
    };
    assert_eq!((edit("\"1\"", &renamed).status, edit("\"1\"", &renamed).code().as_str()), (412, "stale"));
    assert_eq!(edit(&tag, &renamed).json()["name"], "anna");
    assert_eq!(operator.ask("GET /v1/members/ann", None).status, 404);
    assert_eq!(operator.ask("PATCH /v1/members/anna", Some(json!({ "name": "bob" }))).code(), "conflict");
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "operator" }), "name"),
        (json!({ "name": "Portcullis" }), "name"),
        (json!({ "name": "a b" }), "name"),
        (json!({ "name": "c", "email": "nobody" }), "email"),
        (json!({ "name": "c", "email": "a@b\r\nBcc: c@d" }), "email"),
        (json!({ "name": "c", "role": "admin" }), "role"),
    ] {
        let answer = operator.ask("POST /v1/members", Some(body));
        assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{answer:?}");
    }
    let removed = operator.get(200, "DELETE /v1/members/bob", None);
    assert_eq!(removed, json!({ "tokens_ended": 0, "keys_ended": 0 }));
    assert_eq!(operator.ask("DELETE /v1/members/bob", None).status, 404);
}

#[test]
fn a_removal_ends_all_that_the_member_made_and_nothing_else() {
    let app = App::start(|exchange| {
        if exchange.head.target() == "/wait" {
            exchange.wire.wait_for_end();
            return exchange.close();
        }
        exchange.answer(b"hello");
    });
    let gateway = Gateway::before(&app);
    let scopes = ["read", "mint"];
    let (ann, bob) =
        (Caller::member(&gateway, "ann", &scopes, None), Caller::member(&gateway, "bob", &scopes, None));
    let (first, second, lost, other) =
        (ann.mint("production"), ann.mint("production"), ann.mint("production"), bob.mint("production"));
    gateway.revoke(&lost.id);
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /wait", HOST, &first.secret));
    app.wait_for(1);
    let operator = Caller::operator(&gateway);
    let removed = operator.get(200, "DELETE /v1/members/ann", None);
    assert_eq!(removed, json!({ "tokens_ended": 2, "keys_ended": 1 }));
    assert_eq!(waiting.answer().code(), "token_revoked");
    for token in [&first, &second, &lost] {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).code(), "token_revoked");
    }
    assert_eq!(gateway.ask(with_token("GET /", HOST, &other.secret)).status, 200);
    assert_eq!(ann.ask("GET /v1/whoami", None).code(), "unauthorized");

    let shown = operator.get(200, &format!("GET /v1/tokens/{}", second.id), None);
    assert_eq!((&shown["status"], &shown["revoked_by"]), (&json!("revoked"), &json!("operator")));
    assert!(shown["revoked_at"].is_string() && shown["revoke_reason"].is_string());
    assert_eq!(operator.ids("GET /v1/tokens?status=revoked").len(), 3);
    // Whoever bears the name next is somebody else.
    let next = Caller::member(&gateway, "ann", &scopes, None);
    assert!(
        next.ids("GET /v1/tokens").is_empty() && next.get(200, "GET /v1/audit", None)["items"] == json!([])
    );
    assert_eq!(next.ask(&format!("GET /v1/tokens/{}", first.id), None).status, 404);
    assert_eq!(gateway.ask(with_token("GET /", HOST, &first.secret)).code(), "token_revoked");
    assert_eq!(gateway.ask(with_token("GET /", HOST, &next.mint("production").secret)).status, 200);
}

#[test]
fn a_removal_outlives_a_kill() {
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    let ann = Caller::member(&gateway, "ann", &["mint"], None);
    let token = ann.mint("production");
    Caller::operator(&gateway).get(200, "DELETE /v1/members/ann", None);
    gateway.kill();
    gateway.restart();
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).code(), "token_revoked");
}

#[test]
fn the_last_admin_stays_but_for_the_operator() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let boss = Caller::member(&gateway, "boss", &["admin"], None);
    // Neither of these may do everything everywhere.
    Caller::member(&gateway, "ann", &["read", "mint", "deploy", "delete", "secrets"], None);
    Caller::member(&gateway, "bob", &["admin"], Some("shop"));
    let refused = boss.ask("DELETE /v1/members/boss", None);
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"), "{refused:?}");
    boss.get(200, "DELETE /v1/members/ann", None);
    let second = Caller::member(&gateway, "second", &["admin"], None);
    second.get(200, "DELETE /v1/members/boss", None);
    assert_eq!(boss.ask("GET /v1/whoami", None).status, 401);
    assert_eq!(second.ask("DELETE /v1/members/second", None).status, 409);

    // Nor by giving up their keys, and one that ends tomorrow is not enough where there was one that lasts.
    let second_key = operator.ids("GET /v1/keys").into_iter().next().unwrap();
    let give_up = format!("DELETE /v1/keys/{second_key}");
    assert_eq!(second.ask(&give_up, None).code(), "conflict");
    let brief = json!({ "member": "third", "scopes": ["admin"], "expires_in": "24h" });
    operator.get(201, "POST /v1/keys", Some(brief));
    assert_eq!(second.ask(&give_up, None).code(), "conflict");
    operator.get(201, "POST /v1/keys", Some(json!({ "member": "third", "scopes": ["admin"] })));
    second.get(200, &give_up, None);
    for member in ["second", "third"] {
        operator.get(200, &format!("DELETE /v1/members/{member}"), None);
    }
}

#[test]
fn keys_tell_when_and_from_where_they_were_used() {
    let gateway = Gateway::before(&App::echo());
    let ann = Caller::member(&gateway, "ann", &["read"], None);
    let key = || ann.get(200, "GET /v1/keys", None)["items"][0].clone();
    assert_eq!((&key()["member"], &key()["status"]), (&json!("ann"), &json!("active")));
    let used = until("the key's last use", || Some(key()).filter(|key| key["last_used_at"].is_string()));
    assert_eq!(used["last_used_from"], "127.0.0.1");
    let operator = Caller::operator(&gateway);
    let id = used["id"].as_str().unwrap();
    let revoked = operator.get(200, &format!("DELETE /v1/keys/{id}"), None);
    assert_eq!(revoked["key"]["revoked_by"], "operator");
}
