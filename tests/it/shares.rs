//! Links that sign a browser in without showing a token.

use std::thread;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::contents;
use crate::support::wire::{Answer, request};

/// A link as it was minted.
struct Link {
    token: String,
    path: String,
}

fn order(more: &Value) -> Value {
    let mut order = json!({ "app": "shop", "environment": "production", "expires_in": "1h" });
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

#[track_caller]
fn share(gateway: &Gateway, more: &Value) -> Link {
    let answer = gateway.admin("POST /v1/shares", Some(order(more)));
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Link { token: text(&json["token"]["id"]), path: text(&json["path"]) }
}

fn look(gateway: &Gateway, link: &Link) -> Answer {
    gateway.ask(request(&format!("GET {}", link.path), &[]))
}

fn redeem(gateway: &Gateway, link: &Link) -> Answer {
    gateway.ask(request(&format!("POST {}", link.path), &[("Origin", "http://shop.localhost")]))
}

#[track_caller]
fn opens(gateway: &Gateway, answer: &Answer) -> u16 {
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookie = answer.get("set-cookie").unwrap().split_once(';').unwrap().0;
    gateway.ask(request("GET /", &[("Cookie", cookie)])).status
}

#[test]
fn a_link_signs_in_once_and_looking_at_it_does_not_use_it_up() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let link = share(&gateway, &json!({ "path": "/start?a=b" }));
    for _ in 0..3 {
        let page = look(&gateway, &link);
        assert_eq!((page.status, page.get("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.get("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert_eq!((page.get("cache-control"), page.get("set-cookie")), (Some("no-store"), None));
        assert!(page.text().contains("<form method=\"post\">") && page.text().contains(">shop<"));
    }
    let cross = request(&format!("POST {}", link.path), &[("Origin", "http://evil.example")]);
    gateway.ask(cross).refused(400, "invalid_request");
    let answer = redeem(&gateway, &link);
    assert_eq!(answer.get("location"), Some("/start?a=b"));
    assert_eq!(answer.get("referrer-policy"), Some("no-referrer"));
    assert_eq!(opens(&gateway, &answer), 200);
    assert_eq!(app.only().head.get("x-portcullis-token-label"), Some("share%20link"));
    for answer in [redeem(&gateway, &link), look(&gateway, &link)] {
        answer.refused(401, "token_expired");
    }
    let wrong = Link { path: link.path.replace("share/pcs_", "share/pct_"), ..link };
    look(&gateway, &wrong).refused(401, "token_unknown");

    // Revoking its token ends the session.
    gateway.revoke(&wrong.token);
    let cookie = answer.get("set-cookie").unwrap().split_once(';').unwrap().0;
    gateway.ask(request("GET /", &[("Cookie", cookie)])).refused(401, "token_revoked");
}

#[test]
fn uses_are_counted_on_disk_however_many_come_at_once() {
    let mut gateway = Gateway::before(&App::echo());
    let link = share(&gateway, &json!({ "uses": 3 }));
    assert_eq!(opens(&gateway, &redeem(&gateway, &link)), 200);
    gateway.kill();
    gateway.restart();
    let answers: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| redeem(&gateway, &link).status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 6, "{answers:?}");
    let audit = gateway.admin("GET /v1/audit?limit=500", None).json();
    let used: Vec<_> =
        audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "share.use").collect();
    assert_eq!(used.len(), 3, "{used:?}");
    assert_eq!(
        (&used[2]["subject"], &used[2]["detail"]["use"], &used[2]["detail"]["of"]),
        (&json!(link.token), &json!(3), &json!(3))
    );
}

#[test]
fn a_link_ends_with_its_token_and_a_refusal_costs_no_use() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("tokens", "max_active", "3").start();
    let far = share(&gateway, &json!({ "allowed_addresses": ["10.0.0.0/8"] }));
    redeem(&gateway, &far).refused(403, "address_not_allowed");
    let edit = json!({ "allowed_addresses": null });
    assert_eq!(gateway.admin(&format!("PATCH /v1/tokens/{}", far.token), Some(edit)).status, 200);
    assert_eq!(opens(&gateway, &redeem(&gateway, &far)), 200);

    let (revoked, deleted) = (share(&gateway, &json!({})), share(&gateway, &json!({})));
    let full = gateway.admin("POST /v1/shares", Some(order(&json!({}))));
    assert_eq!((full.status, full.code().as_str()), (409, "limit_reached"), "a link counts as a token");
    gateway.revoke(&revoked.token);
    redeem(&gateway, &revoked).refused(401, "token_revoked");
    assert_eq!(gateway.admin(&format!("DELETE /v1/tokens/{}", deleted.token), None).status, 200);
    redeem(&gateway, &deleted).refused(401, "token_unknown");
    let other = share(&gateway, &json!({}));
    let elsewhere = request(&format!("POST {}", other.path), &[("Host", "shop.dev.localhost")]);
    gateway.ask(elsewhere).refused(403, "wrong_environment");
    assert_eq!(opens(&gateway, &redeem(&gateway, &other)), 200);
}

#[test]
fn the_code_is_kept_nowhere_and_its_token_is_shown_to_nobody() {
    let gateway = Gateway::before(&App::echo());
    let link = share(&gateway, &json!({}));
    redeem(&gateway, &link);
    look(&gateway, &link);
    let code = &link.path["/.portcullis/share/pcs_".len()..];
    for (path, bytes) in contents(&gateway.path("")) {
        assert!(!String::from_utf8_lossy(&bytes).contains(code), "{}", path.display());
    }
    assert!(!gateway.stderr().contains(code));
    let answer = gateway.admin("POST /v1/shares", Some(order(&json!({}))));
    assert!(!answer.text().contains("pct_"), "{answer:?}");
}

#[test]
fn what_is_wrong_with_a_link_is_said() {
    let gateway = Setup::new(&App::echo())
        .set("apps.shop.environments.development", "browser_sessions", "false")
        .set("apps.blog.environments.production", "hosts", "[\"*.blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", "[\"http://127.0.0.1:1\"]")
        .start();
    for (more, field) in [
        (json!({ "uses": 0 }), "uses"),
        (json!({ "uses": 1001 }), "uses"),
        (json!({ "uses": "1" }), "uses"),
        (json!({ "path": "//evil.example" }), "path"),
        (json!({ "path": "start" }), "path"),
        (json!({ "origin": "https://evil.example" }), "origin"),
        (json!({ "app": "*" }), "app"),
        (json!({ "environment": "development" }), "environment"),
        (json!({ "app": "blog" }), "origin"),
        (json!({ "expires_in": "2h" }), "expires_in"),
        (json!({ "secret": "x" }), "secret"),
    ] {
        let answer = gateway.admin("POST /v1/shares", Some(order(&more)));
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["field"]),
            (422, &json!(field)),
            "{more}: {answer:?}"
        );
    }
    let blog = order(&json!({ "app": "blog", "origin": "https://a.blog.localhost:8443" }));
    let url = gateway.admin("POST /v1/shares", Some(blog)).json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://a.blog.localhost:8443/.portcullis/share/pcs_"), "{url}");
    let reader = Caller::member(&gateway, "ann", &["read"], None);
    assert_eq!(reader.ask("POST /v1/shares", Some(order(&json!({})))).status, 403);
    let bound = Caller::member(&gateway, "bob", &["mint"], Some("blog"));
    assert_eq!(bound.ask("POST /v1/shares", Some(order(&json!({})))).status, 403);
}

#[test]
fn the_command_prints_a_link_and_how_to_take_it_back() {
    let gateway = Gateway::before(&App::echo());
    let line = ["share", "--app", "shop", "--environment", "production", "--expires", "1h"];
    let ran = gateway.cli(&line);
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "signs in one browser",
        "http://shop.localhost",
        "/.portcullis/share/pcs_",
        "portcullis token revoke tok_",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    let origin = ["--uses", "5", "--path", "/start", "--origin", "https://shop.localhost", "--quiet"];
    let ran = gateway.cli(&[&line[..], &origin].concat());
    assert!(ran.stdout.starts_with("https://shop.localhost/.portcullis/share/pcs_"), "{ran:?}");
    let link =
        Link { token: String::new(), path: ran.stdout.trim()["https://shop.localhost".len()..].to_owned() };
    assert_eq!(redeem(&gateway, &link).get("location"), Some("/start"));
    let json = gateway.cli(&[&line[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["uses"], 1);
    for (wrong, said) in
        [(&line[..5], "--expires is required"), (&[&line[..], &["--path", "x"]].concat(), "--path:")]
    {
        let ran = gateway.cli(wrong);
        assert!(ran.code == 2 && ran.stderr.contains(said), "{ran:?}");
    }
}
