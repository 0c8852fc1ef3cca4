//! What narrows a token down: scopes, networks and a rate, from the mint to the request that meets them.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Minted, Setup};
use crate::support::wire::request;

const HOST: &str = "shop.localhost";

fn mint(gateway: &Gateway, rules: &Value) -> Minted {
    let mut body = json!({ "app": "shop", "environment": "production", "expires_in": "1h" });
    body.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    gateway.mint_with(body)
}

/// The code of a request with a token: `ok`, or that of the refusal.
#[track_caller]
fn code(gateway: &Gateway, line: &str, token: &Minted) -> String {
    let answer = gateway.ask(with_token(line, HOST, &token.secret));
    if answer.status == 200 { "ok".to_owned() } else { answer.code() }
}

#[test]
fn scopes_open_their_methods_and_paths_and_nothing_else() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = mint(&gateway, &json!({ "scopes": ["GET,HEAD /healthz", "POST /webhooks/*", "* /api/*"] }));
    for line in ["GET /healthz", "GET /healthz?deep=1", "POST /webhooks/", "DELETE /api/a/b", "PURGE /api/"] {
        assert_eq!(code(&gateway, line, &token), "ok", "{line}");
    }
    let reached = app.requests().len();
    for line in [
        "POST /healthz",
        "get /healthz",
        "GET /healthz/",
        "GET /webhooks/a",
        "POST /webhooks",
        "GET /",
        "GET /api",
        "GET /api/../healthz",
        "GET /api//a",
        "GET /api/%2e%2e/admin",
        "GET /api/..%2fadmin",
        "GET /api/a;b",
        "GET /api/%00",
        "GET /api/\\a",
        "OPTIONS *",
    ] {
        let answer = gateway.ask(with_token(line, HOST, &token.secret));
        // Some of these no server may take at all.
        assert!(matches!(answer.status, 400 | 403), "{line}: {answer:?}");
        if answer.status == 403 {
            assert_eq!(answer.code(), "insufficient_scope", "{line}");
            let challenge = answer.get("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        }
    }
    assert_eq!(app.requests().len(), reached);
    let free = mint(&gateway, &json!({ "scopes": [] }));
    assert_eq!(code(&gateway, "GET /api//a", &free), "ok", "without scopes any path will do");
}

#[test]
fn networks_are_judged_on_the_client_behind_trusted_proxies() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway", "trusted_proxies", "[\"127.0.0.1\"]").start();
    let narrow = mint(&gateway, &json!({ "allowed_addresses": ["10.0.0.0/8", "::ffff:192.0.2.7"] }));
    let from = |client: &str| {
        let fields = [("Host", HOST), ("X-Portcullis-Token", &*narrow.secret), ("X-Forwarded-For", client)];
        let answer = gateway.ask(request("GET /", &fields));
        if answer.status == 200 { "ok".to_owned() } else { answer.code() }
    };
    for (client, expected) in [
        ("10.1.2.3", "ok"),
        ("192.0.2.7", "ok"),
        ("::ffff:10.9.9.9", "ok"),
        ("192.0.2.8", "address_not_allowed"),
        ("2001:db8::1", "address_not_allowed"),
        ("10.1.2.3, 198.51.100.1", "address_not_allowed"),
    ] {
        assert_eq!(from(client), expected, "{client}");
    }
    assert_eq!(code(&gateway, "GET /", &narrow), "address_not_allowed", "the proxy itself is not in it");
    let shown = gateway.admin(&format!("GET /v1/tokens/{}", narrow.id), None).json();
    assert_eq!(shown["allowed_addresses"], json!(["10.0.0.0/8", "192.0.2.7"]));

    let untrusting = Gateway::before(&app);
    let token = mint(&untrusting, &json!({ "allowed_addresses": ["10.0.0.0/8"] }));
    let fields = [("Host", HOST), ("X-Portcullis-Token", &*token.secret), ("X-Forwarded-For", "10.1.2.3")];
    assert_eq!(untrusting.ask(request("GET /", &fields)).code(), "address_not_allowed");
}

#[test]
fn a_rate_counts_what_passes_all_else_on_every_worker() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = mint(&gateway, &json!({ "rate_limit": "5/1h", "scopes": ["GET /a"] }));
    for _ in 0..10 {
        assert_eq!(code(&gateway, "GET /b", &token), "insufficient_scope");
    }
    // Each over a connection of its own, so that both workers see some.
    for _ in 0..5 {
        assert_eq!(code(&gateway, "GET /a", &token), "ok");
    }
    let refused = gateway.ask(with_token("GET /a", HOST, &token.secret));
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    let wait: u32 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=720).contains(&wait), "{wait}");
    let other = mint(&gateway, &json!({ "rate_limit": "1000000/1s" }));
    assert_eq!(code(&gateway, "GET /a", &other), "ok", "a token's rate is its own");

    // A wider rate lets more in at once; that it was used is not forgotten.
    let operator = Caller::operator(&gateway);
    operator.get(200, &format!("PATCH /v1/tokens/{}", token.id), Some(json!({ "rate_limit": "5/1h" })));
    assert_eq!(code(&gateway, "GET /a", &token), "rate_limited");
    operator.get(200, &format!("PATCH /v1/tokens/{}", token.id), Some(json!({ "rate_limit": null })));
    assert_eq!(code(&gateway, "GET /a", &token), "ok");
}

#[test]
fn refusals_come_in_the_order_of_the_contract() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let everything = json!({ "scopes": ["GET /a"], "allowed_addresses": ["10.0.0.1"], "rate_limit": "1/1h" });
    let token = mint(&gateway, &everything);
    let ask = |host: &str| gateway.ask(with_token("GET /b", host, &token.secret)).code();
    let operator = Caller::operator(&gateway);
    let edit = |body: Value| operator.get(200, &format!("PATCH /v1/tokens/{}", token.id), Some(body));
    let access = "PUT /v1/apps/shop/environments/production/external-access";
    operator.get(200, access, Some(json!({ "enabled": false })));
    assert_eq!(ask("blog.localhost"), "wrong_app");
    assert_eq!(ask("shop.dev.localhost"), "wrong_environment");
    assert_eq!(ask(HOST), "external_access_off");
    operator.get(200, access, Some(json!({ "enabled": true })));
    assert_eq!(ask(HOST), "address_not_allowed");
    edit(json!({ "allowed_addresses": [] }));
    assert_eq!(ask(HOST), "insufficient_scope");
    edit(json!({ "scopes": ["GET /b"] }));
    assert_eq!(gateway.ask(with_token("GET /b", HOST, &token.secret)).status, 200);
    assert_eq!(ask(HOST), "rate_limited");
    let publish = "POST /v1/apps/shop/environments/production/deployments";
    operator.get(201, publish, Some(json!({ "id": "blue" })));
    for host in [HOST, "blog.localhost", "shop.dev.localhost"] {
        assert_eq!(ask(host), "deployment_replaced", "{host}");
    }
    gateway.revoke(&token.id);
    assert_eq!(ask(HOST), "token_revoked");
}

#[test]
fn rules_that_mean_nothing_are_refused_by_field() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let fields = |rules: Value| {
        let mut body = json!({ "app": "shop", "environment": "production", "expires_in": "1h" });
        body.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
        let answer = operator.ask("POST /v1/tokens", Some(body));
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"), "{answer:?}");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for scope in ["GET", "/a", "GET a", "GET /a*b", "GET,  /a", "G T /a", "GET /a/../b", ""] {
        assert_eq!(fields(json!({ "scopes": [scope] })), ["scopes"], "{scope:?}");
    }
    assert_eq!(fields(json!({ "scopes": vec!["GET /a"; 51] })), ["scopes"]);
    assert_eq!(fields(json!({ "scopes": "GET /a" })), ["scopes"]);
    for network in ["10.0.0.0/33", "example.com", "", "10.0.0.1:80"] {
        assert_eq!(fields(json!({ "allowed_addresses": [network] })), ["allowed_addresses"], "{network:?}");
    }
    assert_eq!(fields(json!({ "allowed_addresses": vec!["10.0.0.1"; 101] })), ["allowed_addresses"]);
    for rate in ["0/1m", "100", "1/1mo", "-1/1m", "1/0s"] {
        assert_eq!(fields(json!({ "rate_limit": rate })), ["rate_limit"], "{rate:?}");
    }
    assert_eq!(fields(json!({ "on_publish": "later" })), ["on_publish"]);
    assert_eq!(fields(json!({ "app": "*", "on_publish": "stop" })), ["on_publish"]);
    let leaked = format!("GET /{}", gateway.mint("production").secret);
    assert_eq!(fields(json!({ "scopes": [leaked] })), ["scopes"]);
    let full = json!({ "scopes": vec!["GET /a"; 50], "allowed_addresses": vec!["10.0.0.1"; 100] });
    mint(&gateway, &full);
}
