//! Every call of the admin API, with every kind of key, on one's own token and another's, from a key that is bound to
//! the app, to another app, and to none.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::gateway::{Gateway, Minted, Setup};

const SCOPES: [&str; 6] = ["read", "mint", "deploy", "delete", "secrets", "admin"];

/// What a call wants of its caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Key,
    Scope(&'static str),
    /// Everything, with a key that is bound to no app.
    Workspace,
}

/// What a call is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// A token, in the place of `{id}`.
    Token,
    /// The app `shop`.
    App,
    Nothing,
}

struct Call {
    line: &'static str,
    body: fn() -> Value,
    wants: Wants,
    about: About,
    /// The status where it may.
    status: u16,
}

const fn call(line: &'static str, wants: Wants, about: About, status: u16, body: fn() -> Value) -> Call {
    Call { line, body, wants, about, status }
}

fn none() -> Value {
    Value::Null
}

const CALLS: &[Call] = &[
    call("GET /v1/whoami", Wants::Key, About::Nothing, 200, none),
    call("POST /v1/dashboard-links", Wants::Key, About::Nothing, 201, none),
    call("DELETE /v1/dashboard-sessions", Wants::Workspace, About::Nothing, 200, none),
    call("GET /v1/tokens", Wants::Scope("read"), About::Nothing, 200, none),
    call("GET /v1/tokens/{id}", Wants::Scope("read"), About::Token, 200, none),
    call("PATCH /v1/tokens/{id}", Wants::Scope("mint"), About::Token, 200, || json!({ "label": "x" })),
    call("POST /v1/tokens/{id}/rotate", Wants::Scope("mint"), About::Token, 201, none),
    call("POST /v1/tokens/{id}/revoke", Wants::Scope("mint"), About::Token, 200, none),
    call("DELETE /v1/tokens/{id}", Wants::Scope("delete"), About::Token, 200, none),
    call("POST /v1/shares", Wants::Scope("mint"), About::Nothing, 422, || json!({ "uses": 0 })),
    call("GET /v1/apps", Wants::Scope("read"), About::Nothing, 200, none),
    call("GET /v1/apps/shop", Wants::Scope("read"), About::App, 200, none),
    call(
        "GET /v1/apps/shop/environments/production/deployments",
        Wants::Scope("read"),
        About::App,
        200,
        none,
    ),
    call(
        "POST /v1/apps/shop/environments/production/deployments?dry_run=true",
        Wants::Scope("deploy"),
        About::App,
        200,
        || json!({ "id": "next" }),
    ),
    call(
        "POST /v1/apps/shop/environments/production/deployments",
        Wants::Scope("deploy"),
        About::App,
        200,
        || json!({ "id": "initial" }),
    ),
    // It is there, and the current one.
    call(
        "DELETE /v1/apps/shop/environments/production/deployments/initial",
        Wants::Scope("delete"),
        About::App,
        409,
        none,
    ),
    call(
        "PUT /v1/apps/shop/environments/production/external-access",
        Wants::Scope("deploy"),
        About::App,
        200,
        || json!({ "enabled": true }),
    ),
    call("GET /v1/keys", Wants::Scope("read"), About::Nothing, 200, none),
    call("DELETE /v1/keys/key_00000000000000000000000000", Wants::Scope("admin"), About::Nothing, 404, none),
    call("GET /v1/secrets", Wants::Scope("read"), About::Nothing, 200, none),
    call("GET /v1/secrets/NOTHING", Wants::Scope("read"), About::Nothing, 404, none),
    call("PUT /v1/secrets/NOTHING", Wants::Scope("secrets"), About::Nothing, 422, || json!({ "value": "" })),
    call(
        "PATCH /v1/secrets/NOTHING",
        Wants::Scope("secrets"),
        About::Nothing,
        404,
        || json!({ "apps": null }),
    ),
    call("POST /v1/secrets/NOTHING/revoke", Wants::Scope("secrets"), About::Nothing, 404, none),
    call("DELETE /v1/secrets/NOTHING", Wants::Scope("secrets"), About::Nothing, 404, none),
    call("POST /v1/secrets/rekey", Wants::Workspace, About::Nothing, 200, none),
    call("GET /v1/denials", Wants::Scope("read"), About::Nothing, 200, none),
    call("GET /v1/denials/nothing", Wants::Scope("read"), About::Nothing, 404, none),
    call("POST /v1/lookup", Wants::Scope("read"), About::Nothing, 200, || json!({ "digests": [] })),
    call("GET /v1/leaks", Wants::Scope("read"), About::Nothing, 200, none),
    call("POST /v1/leaks", Wants::Scope("mint"), About::Nothing, 422, || json!({ "tokens": [] })),
    call("GET /v1/notices", Wants::Workspace, About::Nothing, 200, none),
    call("GET /v1/audit", Wants::Scope("read"), About::Nothing, 200, none),
    call("GET /v1/members", Wants::Workspace, About::Nothing, 200, none),
    call("POST /v1/members", Wants::Workspace, About::Nothing, 422, || json!({ "name": "" })),
    call("GET /v1/members/nobody", Wants::Workspace, About::Nothing, 404, none),
    call("PATCH /v1/members/nobody", Wants::Workspace, About::Nothing, 404, || json!({ "email": null })),
    call("DELETE /v1/members/nobody", Wants::Workspace, About::Nothing, 404, none),
    call("GET /v1/backup", Wants::Workspace, About::Nothing, 200, none),
    call("POST /v1/reload", Wants::Workspace, About::Nothing, 200, none),
];

/// A key's reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Nowhere,
    Here,
    Elsewhere,
}

fn two_apps(app: &App) -> Gateway {
    Setup::new(app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start()
}

/// The status and code that the contract has for a call.
fn expected(call: &Call, scope: &str, bound: Bound, own: bool) -> (u16, &'static str) {
    let admin = scope == "admin";
    let scoped = match call.wants {
        Wants::Key => true,
        Wants::Scope(needed) => admin || scope == needed,
        Wants::Workspace => admin && bound == Bound::Nowhere,
    };
    let visible = match call.about {
        About::Token => bound != Bound::Elsewhere && (own || admin),
        About::App => bound != Bound::Elsewhere,
        About::Nothing => true,
    };
    match (scoped, visible) {
        (false, _) => (403, "forbidden"),
        (true, false) => (404, "not_found"),
        (true, true) => (call.status, ""),
    }
}

#[test]
fn every_call_with_every_key_on_every_token() {
    let app = App::echo();
    let gateway = two_apps(&app);
    let minter = Caller::member(&gateway, "ann", &["mint"], None);
    let others = Caller::member(&gateway, "bob", &["mint"], None);
    for scope in SCOPES {
        for bound in [Bound::Nowhere, Bound::Here, Bound::Elsewhere] {
            let reach = match bound {
                Bound::Nowhere => None,
                Bound::Here => Some("shop"),
                Bound::Elsewhere => Some("blog"),
            };
            let caller = Caller::member(&gateway, "ann", &[scope], reach);
            for call in CALLS {
                let owned: &[bool] = if call.about == About::Token { &[true, false] } else { &[true] };
                for own in owned {
                    let line = if call.about == About::Token {
                        let Minted { id, .. } = if *own { &minter } else { &others }.mint("production");
                        call.line.replace("{id}", &id)
                    } else {
                        call.line.to_owned()
                    };
                    let body = Some((call.body)()).filter(|body| !body.is_null());
                    let answer = caller.ask(&line, body);
                    let (status, code) = expected(call, scope, bound, *own);
                    let about = format!("{} with {scope}, bound {bound:?}, own {own}", call.line);
                    assert_eq!(answer.status, status, "{about}: {answer:?}");
                    if !code.is_empty() {
                        assert_eq!(answer.code(), code, "{about}");
                    }
                }
            }
        }
    }
}

#[test]
fn lists_show_only_what_may_be_seen() {
    let app = App::echo();
    let gateway = two_apps(&app);
    let (ann, bob) = (
        Caller::member(&gateway, "ann", &["read", "mint"], None),
        Caller::member(&gateway, "bob", &["read", "mint"], None),
    );
    let on_blog = json!({ "app": "blog", "environment": "production", "expires_in": "1h" });
    let every = json!({ "app": "*", "environment": "production", "expires_in": "1h" });
    let (hers, his) = (ann.mint("production").id, bob.mint("production").id);
    let blog = ann.get(201, "POST /v1/tokens", Some(on_blog))["token"]["id"].as_str().unwrap().to_owned();
    let wide = ann.get(201, "POST /v1/tokens", Some(every))["token"]["id"].as_str().unwrap().to_owned();
    let list = |caller: &Caller<'_>| caller.ids("GET /v1/tokens");
    assert_eq!(list(&ann), [wide.clone(), blog.clone(), hers.clone()]);
    assert_eq!(list(&bob), [&*his]);
    let member = |name: &str, scopes: &[&str], app| Caller::member(&gateway, name, scopes, app);
    assert_eq!(list(&member("ann", &["read"], Some("shop"))), [&*hers]);
    assert_eq!(list(&member("boss", &["admin"], Some("shop"))), [his.clone(), hers.clone()]);
    assert_eq!(list(&member("boss", &["admin"], None)), [wide, blog, his, hers]);
    assert_eq!(ann.get(200, "GET /v1/apps", None)["items"].as_array().unwrap().len(), 2);
    let bound = member("boss", &["admin"], Some("shop"));
    assert_eq!(bound.get(200, "GET /v1/apps", None)["items"].as_array().unwrap().len(), 1);
    assert_eq!(bound.ask("POST /v1/keys", Some(json!({ "member": "eve", "scopes": ["admin"] }))).status, 403);
}

#[test]
fn what_is_not_listed_is_denied() {
    let gateway = Gateway::before(&App::echo());
    let boss = Caller::member(&gateway, "boss", &["admin"], None);
    for line in [
        "GET /v1",
        "GET /v1/",
        "GET /v1/tokens/",
        "GET /v1/tokens/a/b",
        "GET /v2/tokens",
        "GET /v1/../v1/apps",
        "GET /tokens/a/b/c",
    ] {
        assert_eq!(boss.ask(line, None).status, 404, "{line}");
    }
    for line in
        ["PUT /v1/tokens", "POST /v1/audit", "DELETE /v1/audit", "PATCH /v1/apps/shop", "POST /v1/backup"]
    {
        let answer = boss.ask(line, Some(json!({})));
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{line}");
    }
}
