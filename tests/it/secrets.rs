//! Upstream secrets on their way into requests: set, changed, taken away, and refused where they lack.

use std::fs;
use std::sync::mpsc;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup, command};
use crate::support::program::{contents, finish};
use crate::support::stage::Stage;
use crate::support::until;
use crate::support::wire::{Answer, request};

const PRODUCTION: &str = "apps.shop.environments.production";
const HOST: &str = "shop.localhost";
const VALUE: &str = "hunter2-canary-value";

/// A gateway whose production environment sends a secret along.
fn stage() -> Stage {
    Stage::with(|setup| {
        setup.set(
            PRODUCTION,
            "request_headers",
            "{ \"X-Api-Key\" = \"key $Secret{SHOP_KEY}.\", \"X-Plain\" = \"as it is\" }",
        )
    })
}

#[track_caller]
fn set(gateway: &Gateway, name: &str, body: Value) -> Answer {
    let answer = gateway.admin(&format!("PUT /v1/secrets/{name}"), Some(body));
    assert!(answer.status < 300, "{answer:?}");
    answer
}

impl Stage {
    fn fetch(&self) -> Answer {
        self.gateway.ask(with_token("GET /", HOST, &self.token))
    }

    /// What the app got in a field, of the last request.
    fn got(&self, field: &str) -> Option<String> {
        assert_eq!(self.fetch().status, 200);
        self.app.requests().last().unwrap().head.get(field).map(str::to_owned)
    }
}

#[test]
fn trailers_cannot_add_to_what_is_sent_along() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |exchange| {
        while !exchange.wire.chunk().unwrap().is_empty() {}
        tell.send(exchange.wire.trailers().unwrap()).unwrap();
        exchange.send("HTTP/1.1 204 Done\r\n\r\n");
    });
    let gateway = Setup::new(&app).set(PRODUCTION, "request_headers", "{ \"X-Plain\" = \"ours\" }").start();
    let token = gateway.mint("production").secret;
    let fields = [
        ("X-Portcullis-Token", token.as_str()),
        ("TE", "trailers"),
        ("Trailer", "x-plain, x_plain, x-sum"),
        ("Transfer-Encoding", "chunked"),
    ];
    let body = b"0\r\nX-Plain: forged\r\nx_plain: forged\r\nx-sum: 1\r\n\r\n";
    let mut wire = gateway.connect();
    wire.send([&request("POST /", &fields)[..], body].concat());
    assert_eq!(wire.answer().status, 204);
    assert_eq!(told.recv().unwrap(), ["x-sum: 1"]);
    assert_eq!(app.only().head.get("x-plain"), Some("ours"));
}

#[test]
fn a_value_is_in_force_with_the_answer_and_so_is_its_end() {
    let stage = stage();
    stage.fetch().refused(502, "secret_unavailable");
    assert!(stage.app.requests().is_empty(), "nothing goes out without it");
    let made = set(&stage.gateway, "SHOP_KEY", json!({ "value": VALUE, "type": "api-key" }));
    assert_eq!(made.status, 201);
    assert_eq!(stage.got("x-api-key").as_deref(), Some("key hunter2-canary-value."));
    assert_eq!(stage.got("x-plain").as_deref(), Some("as it is"));

    assert_eq!(set(&stage.gateway, "SHOP_KEY", json!({ "value": "another" })).status, 200);
    assert_eq!(
        stage.got("x-api-key").as_deref(),
        Some("key another."),
        "on the same connection, if it was kept"
    );

    stage.gateway.admin("POST /v1/secrets/SHOP_KEY/revoke", None);
    let refused = stage.fetch().refused(502, "secret_unavailable");
    assert!(refused["detail"].as_str().unwrap().contains("revoked"), "{refused}");
    assert_eq!(
        stage.gateway.admin("POST /v1/secrets/SHOP_KEY/revoke", None).status,
        200,
        "again is harmless"
    );
    set(&stage.gateway, "SHOP_KEY", json!({ "value": "a third" }));
    assert_eq!(stage.got("x-api-key").as_deref(), Some("key a third."));
    assert_eq!(stage.gateway.admin("DELETE /v1/secrets/SHOP_KEY", None).status, 200);
    stage.fetch().refused(502, "secret_unavailable");
    assert_eq!(stage.gateway.admin("DELETE /v1/secrets/SHOP_KEY", None).status, 404);
}

#[test]
fn a_value_expires_by_itself() {
    let stage = stage();
    let end = (jiff::Timestamp::now() + std::time::Duration::from_millis(1500)).to_string();
    set(&stage.gateway, "SHOP_KEY", json!({ "value": VALUE, "expires_at": end }));
    assert_eq!(stage.fetch().status, 200);
    let refused =
        until("the end of the secret", || Some(stage.fetch()).filter(|answer| answer.status == 502));
    assert!(refused.json()["detail"].as_str().unwrap().contains("expired"), "{refused:?}");
    assert_eq!(stage.gateway.admin("GET /v1/secrets/SHOP_KEY", None).json()["status"], "expired");
    let edited = stage.gateway.admin("PATCH /v1/secrets/SHOP_KEY", Some(json!({ "expires_at": null })));
    assert_eq!(edited.json()["expires_at"], Value::Null);
    assert_eq!(stage.fetch().status, 200);
}

#[test]
fn a_secret_is_for_its_apps_products_and_environments() {
    let stage = Stage::with(|setup| {
        let headers = "{ \"X-Api-Key\" = \"$Secret{SHOP_KEY}\" }";
        setup.set("apps.shop", "product", "\"commerce\"").both("request_headers", headers)
    });
    let development = stage.gateway.mint("development").secret;
    let status = |places: Value| {
        let mut body = json!({ "value": VALUE, "apps": [], "products": [], "environments": [] });
        body.as_object_mut().unwrap().extend(places.as_object().unwrap().clone());
        set(&stage.gateway, "SHOP_KEY", body);
        let other = stage.gateway.ask(with_token("GET /", "shop.dev.localhost", &development));
        (stage.fetch().status, other.status)
    };
    for (places, expected) in [
        (json!({}), (200, 200)),
        (json!({ "apps": ["shop"] }), (200, 200)),
        (json!({ "apps": ["blog"] }), (502, 502)),
        (json!({ "apps": ["blog"], "products": ["commerce"] }), (200, 200)),
        (json!({ "products": ["other"] }), (502, 502)),
        (json!({ "environments": ["production"] }), (200, 502)),
        (json!({ "apps": ["shop"], "environments": ["development"] }), (502, 200)),
    ] {
        assert_eq!(status(places.clone()), expected, "{places}");
    }
    // An edit holds at once too, and a value that is set later keeps what is not said anew.
    let edited = stage.gateway.admin("PATCH /v1/secrets/SHOP_KEY", Some(json!({ "environments": null })));
    assert_eq!((edited.status, stage.fetch().status), (200, 200));
    stage.gateway.admin("PATCH /v1/secrets/SHOP_KEY", Some(json!({ "apps": ["blog"] })));
    let answer = set(&stage.gateway, "SHOP_KEY", json!({ "value": "new" })).json();
    assert_eq!((&answer["apps"], stage.fetch().status), (&json!(["blog"]), 502), "{answer}");
}

#[test]
fn what_lacks_is_told_and_leaves_other_apps_alone() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set(PRODUCTION, "upstream_auth", "\"bearer $Secret{SHOP_KEY}\"")
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let every = json!({ "app": "*", "environment": "production", "expires_in": "1h" });
    let token = gateway.mint_with(every).secret;
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token)).code(), "secret_unavailable");
    assert_eq!(gateway.ask(with_token("GET /", "blog.localhost", &token)).status, 200);
    // Whoever may not come in is told that first.
    gateway.ask(request("GET /", &[("Host", HOST)])).refused(401, "token_missing");

    let ready = gateway.admin("GET /readyz", None);
    let lacking = json!([
        { "app": "shop", "environment": "production", "secret": "SHOP_KEY", "reason": "missing" }
    ]);
    assert_eq!((ready.status, &ready.json()["secrets_unavailable"]), (200, &lacking));
    let sample =
        "secret_unavailable{app=\"shop\",environment=\"production\",secret=\"SHOP_KEY\",reason=\"missing\"}";
    assert_eq!(gateway.metrics().of(sample), 1.0);
    let refused = "requests_total{app=\"shop\",environment=\"production\",code=\"secret_unavailable\",status_class=\"5xx\"}";
    until("the refusal in the metrics", || (gateway.metrics().get(refused) == Some(1.0)).then_some(()));
    gateway.wait_for_words("requests to shop in production are refused: $Secret{SHOP_KEY}");

    set(&gateway, "SHOP_KEY", json!({ "value": VALUE }));
    assert_eq!(gateway.admin("GET /readyz", None).json()["secrets_unavailable"], json!([]));
    assert_eq!(gateway.metrics().get(sample), None);
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token)).status, 200);
    let shown = gateway.admin("GET /v1/secrets/SHOP_KEY", None).json();
    assert_eq!(shown["used_by"], json!([{ "app": "shop", "environment": "production" }]));
}

#[test]
fn authorization_is_written_for_the_app_in_both_forms() {
    for (auth, value, expected) in [
        ("bearer $Secret{SHOP_KEY}", "abc", "Bearer abc"),
        ("basic user:$Secret{SHOP_KEY}", "pass word", "Basic dXNlcjpwYXNzIHdvcmQ="),
        ("BASIC $Secret{SHOP_KEY}", "user:pässword", "Basic dXNlcjpww6Rzc3dvcmQ="),
    ] {
        let stage = Stage::with(|setup| setup.set(PRODUCTION, "upstream_auth", &format!("\"{auth}\"")));
        set(&stage.gateway, "SHOP_KEY", json!({ "value": value }));
        // In the place of the client's own, whichever it is.
        let bearer = format!("Bearer {}", stage.token);
        let mine = [("Host", HOST), ("X-Portcullis-Token", &stage.token), ("Authorization", "Basic mine")];
        for fields in [&[("Host", HOST), ("Authorization", &bearer)][..], &mine] {
            assert_eq!(stage.gateway.ask(request("GET /", fields)).status, 200);
            let head = stage.app.requests().last().unwrap().head.clone();
            assert_eq!(head.all("authorization"), [expected], "{auth}");
        }
    }
}

#[test]
fn a_client_cannot_say_what_the_configuration_says() {
    let stage = stage();
    set(&stage.gateway, "SHOP_KEY", json!({ "value": VALUE }));
    let fields = [
        ("Host", HOST),
        ("X-Portcullis-Token", &*stage.token),
        ("X-Api-Key", "mine"),
        ("x-api-key", "mine"),
        ("X_Api-Key", "mine"),
        ("Connection", "X-Api-Key"),
    ];
    assert_eq!(stage.gateway.ask(request("GET /", &fields)).status, 200);
    let head = stage.app.only().head;
    assert_eq!(head.all("x-api-key"), ["key hunter2-canary-value."]);
    assert_eq!(head.get("x_api-key"), None);
}

#[test]
fn every_mistake_is_told_by_its_field() {
    let gateway = Gateway::before(&App::echo());
    let wrong = |name: &str, body: Value| {
        let answer = gateway.admin(&format!("PUT /v1/secrets/{name}"), Some(body));
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(!answer.text().contains("hunter2"), "{answer:?}");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(wrong("shop_key", json!({ "value": "a" })), ["key"]);
    for value in ["", "hunter2\r\nX: y", " hunter2", "hunter2\t", &"hunter2".repeat(2000)] {
        assert_eq!(wrong("A", json!({ "value": value })), ["value"], "{value:?}");
    }
    assert_eq!(
        wrong("A", json!({ "type": "token", "apps": ["a b"], "expires_in": "soon", "nonsense": 1 })),
        ["nonsense", "value", "type", "apps", "expires_in"]
    );
    let grant = json!({ "token_url": "http://auth.example.com/", "client_id": "", "auth": "none", "x": 1 });
    let fields = wrong("A", json!({ "value": "hunter2", "type": "api-key", "grant": grant }));
    assert_eq!(fields, ["grant.x", "grant.token_url", "grant.client_id", "grant.auth"]);
    // Services of this machine's own are for the operator to name.
    let near = json!({ "token_url": "https://localhost:9180/v1/whoami", "client_id": "a" });
    for scopes in [["secrets"], ["admin"]] {
        let ann = Caller::member(&gateway, "ann", &scopes, None);
        let refused = ann.get(422, "PUT /v1/secrets/A", Some(json!({ "value": "a", "grant": near })));
        assert_eq!(refused["errors"][0]["field"], "grant.token_url", "{refused}");
    }
    assert_eq!(gateway.admin("GET /v1/secrets", None).json()["items"], json!([]));
    let both = json!({ "value": "a", "expires_in": "1d", "expires_at": "2099-01-01" });
    assert_eq!(wrong("A", both), ["expires_at"]);
    set(&gateway, "A", json!({ "value": "a" }));
    let stale = Caller::operator(&gateway).ask_with(
        "PUT /v1/secrets/A",
        &[("If-Match", "\"7\"")],
        Some(json!({ "value": "b" })),
    );
    assert_eq!((stale.status, stale.code().as_str()), (412, "stale"));
}

#[test]
fn a_key_that_is_bound_to_an_app_writes_for_that_app_alone() {
    let gateway = Gateway::before(&App::echo());
    let bound = Caller::member(&gateway, "ann", &["read", "secrets"], Some("shop"));
    let put = |name: &str, body: Value| bound.ask(&format!("PUT /v1/secrets/{name}"), Some(body)).status;
    assert_eq!(put("OWN", json!({ "value": "a", "apps": ["shop"] })), 201);
    for beyond in [
        json!({ "value": "a" }),
        json!({ "value": "a", "apps": ["blog"] }),
        json!({ "value": "a", "apps": ["shop", "blog"] }),
        json!({ "value": "a", "apps": ["shop"], "products": ["commerce"] }),
    ] {
        assert_eq!(put("BEYOND", beyond.clone()), 403, "{beyond}");
    }
    set(&gateway, "WIDE", json!({ "value": "a" }));
    assert_eq!(put("WIDE", json!({ "value": "a", "apps": ["shop"] })), 403, "not even to narrow it");
    for line in ["GET /v1/secrets/WIDE", "DELETE /v1/secrets/WIDE", "POST /v1/secrets/WIDE/revoke"] {
        assert_eq!(bound.ask(line, None).status, 404, "{line}");
    }
    let widen = bound.ask("PATCH /v1/secrets/OWN", Some(json!({ "apps": null })));
    assert_eq!(widen.status, 403);
    let names = |caller: &Caller<'_>| {
        let items = caller.get(200, "GET /v1/secrets", None)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&bound), ["OWN"]);
    assert_eq!(names(&Caller::operator(&gateway)), ["WIDE", "OWN"]);
}

#[test]
fn a_key_that_is_bound_to_an_app_hears_of_no_other() {
    let needs = "{ \"X-A\" = \"$Secret{SHARED}\" }";
    let gateway = Setup::new(&App::echo())
        .set(PRODUCTION, "request_headers", needs)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", "[\"http://127.0.0.1:9\"]")
        .set("apps.blog.environments.production", "request_headers", needs)
        .start();
    set(&gateway, "SHARED", json!({ "value": "a", "apps": ["shop", "blog"] }));
    let bound = Caller::member(&gateway, "ann", &["read", "secrets"], Some("shop"));
    let listed = bound.get(200, "GET /v1/secrets", None)["items"][0].clone();
    for secret in [listed, bound.get(200, "GET /v1/secrets/SHARED", None)] {
        assert_eq!(secret["used_by"], json!([{ "app": "shop", "environment": "production" }]));
        assert!(secret["apps"] == json!(["shop"]) && !secret.to_string().contains("blog"), "{secret}");
    }
    let all = gateway.admin("GET /v1/secrets/SHARED", None).json();
    assert_eq!((all["used_by"].as_array().unwrap().len(), &all["apps"]), (2, &json!(["blog", "shop"])));
}

#[test]
fn check_warns_of_what_the_store_cannot_give() {
    let stage = Stage::with(|setup| {
        setup
            .set(PRODUCTION, "request_headers", "{ \"X-A\" = \"$Secret{A}\", \"X-B\" = \"$Secret{B}\" }")
            .set("apps.shop.environments.development", "upstream_auth", "\"bearer $Secret{C}\"")
    });
    let mut gateway = stage.gateway;
    set(&gateway, "A", json!({ "value": "a" }));
    set(&gateway, "C", json!({ "value": "c", "environments": ["production"] }));
    let judged = |gateway: &Gateway| {
        let ran = gateway.cli(&["check"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let warnings = ran.stderr.lines().filter(|line| line.contains("$Secret"));
        warnings.map(|line| line.rsplit_once("needs ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let expected = ["$Secret{C}, which may not be used there", "$Secret{B}, which is not in the store"];
    // While it runs, and when it does not.
    assert_eq!(judged(&gateway), expected);
    assert!(gateway.cli(&["check"]).stderr.contains("proxy.toml:"));
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    let before = contents(gateway.path("").as_path()).len();
    assert_eq!(judged(&gateway), expected);
    assert_eq!(contents(gateway.path("").as_path()).len(), before, "it leaves no trace");
    fs::remove_file(gateway.path("portcullis.key")).unwrap();
    let ran = gateway.cli(&["check"]);
    assert!(ran.code == 2 && ran.stderr.contains("secrets.key_file"), "{ran:?}");
}

#[test]
fn what_cannot_be_sent_is_refused_where_it_is_written() {
    for (key, value, wrong) in [
        ("request_headers", "{ \"Host\" = \"a\" }", "the gateway's own to set"),
        ("request_headers", "{ \"X-Portcullis-App\" = \"a\" }", "the gateway's own to set"),
        ("request_headers", "{ \"x_forwarded_for\" = \"a\" }", "the gateway's own to set"),
        ("request_headers", "{ \"Content-Length\" = \"1\" }", "the gateway's own to set"),
        ("request_headers", "{ \"a b\" = \"1\" }", "none of a header field"),
        ("request_headers", "{ \"a\" = \"1\", \"A\" = \"2\" }", "a second time"),
        ("request_headers", "{ \"a\" = \"$Secret{a}\" }", "names no secret"),
        ("request_headers", "{ \"a\" = \"$Secret{A\" }", "without the `}`"),
        ("request_headers", "{ \"a\" = \"$secret{A}\" }", "otherwise"),
        ("request_headers", "{ \"a\" = \"b\\nc\" }", "control characters"),
        ("request_headers", "{ \"a\" = 1 }", "wants a string"),
        ("request_headers", "\"a\"", "wants a table"),
        ("upstream_auth", "\"digest $Secret{A}\"", "wants \"bearer"),
        ("upstream_auth", "\"basic user\"", "wants \"bearer"),
        ("echo_guard", "\"all\"", "wants \"headers\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(&App::echo()).set(PRODUCTION, key, value);
        fs::write(folder.path().join("proxy.toml"), setup.text()).unwrap();
        let ran = finish(command(folder.path()).arg("check"));
        assert!(ran.code == 2 && ran.stderr.contains(wrong), "{value}: {ran:?}");
    }
}

#[test]
fn a_value_is_found_nowhere_but_in_requests() {
    let app = App::start(|exchange| {
        exchange.body();
        exchange.answer(b"hello");
    });
    let mut gateway = Setup::new(&app)
        .set(PRODUCTION, "request_headers", "{ \"X-Api-Key\" = \"$Secret{SHOP_KEY}\" }")
        .set("apps.shop.environments.development", "upstream_auth", "\"basic user:$Secret{SHOP_KEY}\"")
        .start();
    let (production, development) = (gateway.mint("production").secret, gateway.mint("development").secret);
    let mut told = Vec::new();
    let ran = gateway.cli_given(&["secret", "set", "SHOP_KEY", "--description", "x"], VALUE);
    assert_eq!(ran.code, 0, "{ran:?}");
    told.push(format!("{ran:?}"));
    for (line, body) in [
        ("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": VALUE }))),
        ("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": VALUE, "type": "x" }))),
        ("PUT /v1/secrets/hunter2", Some(json!({ "value": format!("{VALUE}\n") }))),
        ("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": { "a": VALUE } }))),
        ("GET /v1/secrets", None),
        ("GET /v1/secrets/SHOP_KEY", None),
        ("PATCH /v1/secrets/SHOP_KEY", Some(json!({ "description": "y" }))),
        ("POST /v1/secrets/rekey", None),
        ("GET /v1/audit", None),
        ("GET /readyz", None),
        ("GET /v1/apps", None),
        ("POST /v1/reload", None),
    ] {
        told.push(gateway.admin(line, body).text().to_owned());
    }
    told.push(gateway.metrics().text);
    for (host, token) in [(HOST, &production), ("shop.dev.localhost", &development)] {
        let answer = gateway.ask(with_token("GET /", host, token));
        assert_eq!(answer.status, 200);
        told.push(format!("{answer:?}"));
    }
    assert_eq!(app.requests()[0].head.get("x-api-key"), Some(VALUE));
    let backup = gateway.cli(&["backup", "copy.db"]);
    assert_eq!(backup.code, 0, "{backup:?}");
    told.push(gateway.admin("POST /v1/secrets/SHOP_KEY/revoke", None).text().to_owned());
    told.push(gateway.ask(with_token("GET /", HOST, &production)).text().to_owned());
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    told.push(gateway.stderr());
    let written = contents(gateway.path("").as_path());
    assert!(written.len() > 4);
    // As it is, and as user and password.
    for needle in [VALUE, "dW50ZXIyLWNhbmFyeS12YW"] {
        assert!(told.iter().all(|text| !text.contains(needle)), "{needle}");
        for (path, bytes) in &written {
            let found = bytes.windows(needle.len()).any(|part| part == needle.as_bytes());
            assert!(!found, "{needle} in {}", path.display());
        }
    }
}
