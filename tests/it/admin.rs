//! The admin API as its callers meet it: on the socket and on TCP, with keys of every kind, and when the store fails.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::{Answer, Wire, connect, request};

#[test]
fn the_socket_is_the_operator_s_alone() {
    let gateway = Gateway::before(&App::echo());
    let mode = |name: &str| gateway.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("portcullis.sock"), 0o600);
    assert_eq!(mode("portcullis.db"), 0o600);
    let whoami = gateway.admin("GET /v1/whoami", None).json();
    assert_eq!((&whoami["member"], &whoami["app"]), (&Value::Null, &Value::Null));
    assert!(whoami["scopes"].as_array().unwrap().contains(&json!("admin")), "{whoami}");
}

#[test]
fn the_address_wants_a_key_for_all_but_health_and_metrics() {
    let gateway = Gateway::before(&App::echo());
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&gateway, "", &format!("GET {path}"), None).status, 200, "{path}");
    }
    let token = gateway.mint("production").secret;
    let key = key(&gateway, "ann", &["read"], None);
    assert_eq!(ask(&gateway, &key, "GET /v1/tokens", None).status, 200);
    // The scheme's case does not matter.
    let lower = [("Host", "localhost"), ("Authorization", &*format!("bearer {key}"))];
    assert_eq!(raw(&gateway, request("GET /v1/whoami", &lower)).status, 200);
    let altered = format!("{}{}", &key[..39], if key.ends_with('0') { '1' } else { '0' });
    for (line, field) in [
        ("GET /v1/tokens", String::new()),
        ("GET /v1/whoami", "Basic Zm9vOmJhcg==".to_owned()),
        ("GET /v1/tokens", key.clone()),
        ("GET /v1/tokens", format!("Bearer {altered}")),
        ("GET /v1/tokens", "Bearer pcm_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17".to_owned()),
        ("GET /v1/tokens", format!("Bearer {token}")),
        ("POST /v1/tokens", format!("Bearer {token}")),
    ] {
        let mut fields = vec![("Host", "localhost")];
        if !field.is_empty() {
            fields.push(("Authorization", &field));
        }
        let answer = raw(&gateway, request(line, &fields));
        assert_problem(&answer, 401, "unauthorized");
        assert!(answer.get("www-authenticate").unwrap().starts_with("Bearer realm="), "{answer:?}");
    }
    let bearer = format!("Bearer {key}");
    let twice = [("Host", "localhost"), ("Authorization", &*bearer), ("Authorization", &*bearer)];
    assert_problem(&raw(&gateway, request("GET /v1/tokens", &twice)), 400, "invalid_request");
}

#[test]
fn a_management_key_opens_nothing_at_the_gateway() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    gateway.mint("production");
    let key = key(&gateway, "ann", &["admin"], None);
    let presented = gateway.ask(with_token("GET /", "shop.localhost", &key));
    assert_eq!((presented.status, presented.code().as_str()), (401, "token_unknown"));
    let bearer = gateway.ask(request("GET /", &[("Authorization", &format!("Bearer {key}"))]));
    assert_eq!((bearer.status, bearer.code().as_str()), (401, "token_missing"));
    assert!(app.bytes().is_empty());
}

#[test]
fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let gateway = Gateway::before(&App::echo());
    let minter = key(&gateway, "ann", &["mint"], None);
    let minted = ask(&gateway, &minter, "POST /v1/tokens", Some(order("shop")));
    assert_eq!(minted.status, 201, "{minted:?}");
    assert_eq!(minted.json()["token"]["created_by"], "ann");
    assert_problem(&ask(&gateway, &minter, "GET /v1/tokens", None), 403, "forbidden");
    let reader = key(&gateway, "ann", &["read"], None);
    assert_problem(&ask(&gateway, &reader, "POST /v1/tokens", Some(order("shop"))), 403, "forbidden");
    for line in ["POST /v1/keys", "DELETE /v1/keys/key_00000000000000000000000000"] {
        assert_problem(&ask(&gateway, &reader, line, Some(json!({}))), 403, "forbidden");
    }

    let admin = key(&gateway, "root", &["admin"], None);
    let keys = ask(&gateway, &admin, "GET /v1/keys", None).json();
    let of_reader = keys["items"].as_array().unwrap().iter().find(|key| key["scopes"] == json!(["read"]));
    let id = of_reader.unwrap()["id"].as_str().unwrap();
    assert_eq!(ask(&gateway, &reader, "GET /v1/tokens", None).status, 200);
    let revoked = ask(&gateway, &admin, &format!("DELETE /v1/keys/{id}"), None);
    assert_eq!(revoked.json()["key"]["status"], "revoked", "{revoked:?}");
    assert_problem(&ask(&gateway, &reader, "GET /v1/tokens", None), 401, "unauthorized");
}

#[test]
fn members_see_and_revoke_their_own_tokens_and_admins_all() {
    let gateway = Gateway::before(&App::echo());
    let [ann, bob] = ["ann", "bob"].map(|name| key(&gateway, name, &["read", "mint"], None));
    let admin = key(&gateway, "root", &["admin"], None);
    let minted = |key: &str| {
        let answer = ask(&gateway, key, "POST /v1/tokens", Some(order("shop")));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["token"]["id"].as_str().unwrap().to_owned()
    };
    let (of_ann, of_bob, of_operator) = (minted(&ann), minted(&bob), gateway.mint("production").id);
    let listed = |key: &str, query: &str| ids(&ask(&gateway, key, &format!("GET /v1/tokens{query}"), None));
    assert_eq!(listed(&ann, ""), [&*of_ann]);
    assert_eq!(listed(&bob, ""), [&*of_bob]);
    assert_eq!(listed(&admin, ""), [&*of_operator, &of_bob, &of_ann]);
    assert_eq!(listed(&admin, "?member=ann"), [&*of_ann]);
    assert!(listed(&ann, "?member=bob").is_empty());

    for line in [format!("GET /v1/tokens/{of_bob}"), format!("POST /v1/tokens/{of_bob}/revoke")] {
        let hidden = ask(&gateway, &ann, &line, None);
        assert_problem(&hidden, 404, "not_found");
        let absent = ask(&gateway, &ann, &line.replace(&of_bob, "tok_00000000000000000000000000"), None);
        assert_eq!(hidden.json()["detail"], absent.json()["detail"], "the same as if there were none");
    }
    assert_eq!(ask(&gateway, &ann, &format!("POST /v1/tokens/{of_ann}/revoke"), None).status, 200);
    let reason = Some(json!({ "reason": "lost" }));
    let revoked = ask(&gateway, &admin, &format!("POST /v1/tokens/{of_bob}/revoke"), reason).json();
    assert_eq!(
        (&revoked["token"]["revoked_by"], &revoked["token"]["revoke_reason"]),
        (&json!("root"), &json!("lost"))
    );
}

#[test]
fn a_key_bound_to_an_app_reaches_no_other() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let bound = key(&gateway, "ann", &["admin"], Some("blog"));
    let elsewhere = gateway.mint("production").id;
    let apps = ask(&gateway, &bound, "GET /v1/apps", None).json();
    assert!(apps["items"].as_array().unwrap().len() == 1 && apps["items"][0]["name"] == "blog", "{apps}");
    assert_problem(&ask(&gateway, &bound, "GET /v1/apps/shop", None), 404, "not_found");
    assert_eq!(ask(&gateway, &bound, "POST /v1/tokens", Some(order("blog"))).status, 201);
    for app in ["shop", "*", "absent"] {
        assert_problem(&ask(&gateway, &bound, "POST /v1/tokens", Some(order(app))), 403, "forbidden");
    }
    assert_problem(&ask(&gateway, &bound, &format!("GET /v1/tokens/{elsewhere}"), None), 404, "not_found");
    let wider = Some(json!({ "member": "ann", "scopes": ["admin"] }));
    assert_problem(&ask(&gateway, &bound, "POST /v1/keys", wider), 403, "forbidden");
}

#[test]
fn only_names_of_our_own_are_answered() {
    let gateway = Setup::new(&App::echo()).set("admin", "hosts", "[\"admin.example\"]").start();
    let port = gateway.admin_address().port();
    let ask = |fields: &[(&str, &str)]| raw(&gateway, request("GET /healthz", fields));
    for good in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:80", "admin.example", "ADMIN.example:443"] {
        assert_eq!(ask(&[("Host", good)]).status, 200, "{good}");
    }
    assert_eq!(ask(&[("Host", &format!("127.0.0.1:{port}"))]).status, 200);
    for evil in ["evil.example", "localhost.evil.example", "10.0.0.1", "admin.example.evil", "x@localhost"] {
        assert_problem(&ask(&[("Host", evil)]), 403, "forbidden");
    }
    assert_problem(&ask(&[("Host", "localhost"), ("Host", "localhost")]), 400, "invalid_request");
    let none = raw(&gateway, b"GET /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(none.status, 400);
    let absolute = raw(&gateway, b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(absolute.status, 403);
}

#[test]
fn what_is_no_json_is_400_and_what_is_wrong_json_is_422_with_every_field() {
    let gateway = Gateway::before(&App::echo());
    let send = |body: &str| {
        let head = request("POST /v1/tokens", &[("Content-Length", &body.len().to_string())]);
        on_socket(&gateway, &[head, body.as_bytes().to_vec()].concat())
    };
    for body in ["", "{", "nonsense", "{\"app\": \"shop\",}", "\u{0}"] {
        assert_problem(&send(body), 400, "invalid_request");
    }
    let fields = |body: &str| {
        let answer = send(body);
        assert_problem(&answer, 422, "validation_failed");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(errors.iter().all(|error| !error["message"].as_str().unwrap().is_empty()), "{errors:?}");
        let mut fields: Vec<_> =
            errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    };
    assert_eq!(fields("{}"), ["app", "environment", "expires_in"]);
    let wrong = json!({
        "label": "a\u{7}", "description": "x".repeat(1001), "app": 7, "environment": [], "expires_in": "8d",
        "scope": "GET /",
    });
    assert_eq!(
        fields(&wrong.to_string()),
        ["app", "description", "environment", "expires_in", "label", "scope"]
    );
    let both =
        json!({ "app": "shop", "environment": "production", "expires_in": "1h", "expires_at": "2030-01-01" });
    assert_eq!(fields(&both.to_string()), ["expires_at"]);
    for (value, field) in [
        (json!({ "label": "x".repeat(121) }), "label"),
        (json!({ "app": "absent" }), "app"),
        (json!({ "environment": "absent" }), "environment"),
        (json!({ "expires_in": "never" }), "expires_in"),
        (json!({ "expires_in": null, "expires_at": "2020-01-01" }), "expires_at"),
        (json!({ "expires_in": null, "expires_at": "2199-01-01" }), "expires_at"),
        (json!({ "expires_in": null, "expires_at": "tomorrow" }), "expires_at"),
    ] {
        let mut body = order("shop");
        body.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        assert_eq!(fields(&body.to_string()), [field], "{value}");
    }
    for array in ["[]", "\"text\"", "null", "1"] {
        assert_problem(&send(array), 422, "validation_failed");
    }
    let mut widest = order("shop");
    widest["label"] = json!("é".repeat(120));
    widest["description"] = json!("é".repeat(1000));
    assert_eq!(send(&widest.to_string()).status, 201);
    assert_eq!(ids(&gateway.admin("GET /v1/tokens", None)).len(), 1, "nothing else was minted");
}

#[test]
fn times_mean_what_the_contract_says() {
    let gateway = Gateway::before(&App::echo());
    let minted = |expiry: Value| {
        let mut body = json!({ "app": "shop", "environment": "production" });
        body.as_object_mut().unwrap().extend(expiry.as_object().unwrap().clone());
        let answer = gateway.admin("POST /v1/tokens", Some(body));
        assert_eq!(answer.status, 201, "{answer:?}");
        let token = answer.json()["token"].clone();
        let time = |name: &str| token[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        (time("created_at"), time("expires_at"))
    };
    let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year() + 1;
    let (_, end) = minted(json!({ "expires_at": format!("{year}-02-28") }));
    let next_day = jiff::civil::date(year, 2, 28).tomorrow().unwrap();
    assert_eq!(end.to_string(), format!("{next_day}T00:00:00Z"), "the end of that day");
    let (_, end) = minted(json!({ "expires_at": format!("{year}-02-01T01:30:00+02:00") }));
    assert_eq!(end.to_string(), format!("{year}-01-31T23:30:00Z"));
    let (created, end) = minted(json!({ "expires_in": "3mo" }));
    let calendar =
        created.to_zoned(jiff::tz::TimeZone::UTC).checked_add(jiff::Span::new().months(3)).unwrap();
    assert_eq!(end, calendar.timestamp(), "three calendar months");
    let (created, end) = minted(json!({ "expires_in": "7d" }));
    assert_eq!(end.duration_since(created), jiff::SignedDuration::from_hours(7 * 24));
}

#[test]
fn lists_come_in_pages_newest_first() {
    let gateway = Gateway::before(&App::echo());
    let mut minted: Vec<_> = (0..7).map(|_| gateway.mint("production").id).collect();
    minted.reverse();
    let page = |query: &str| gateway.admin(&format!("GET /v1/tokens{query}"), None);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = page(&format!("?limit=3{cursor}"));
        let ids = ids(&answer);
        assert!(ids.len() <= 3);
        seen.extend(ids);
        // What comes meanwhile is newer than every page.
        gateway.mint("development");
        let Some(next) = answer.json()["next_cursor"].as_str().map(str::to_owned) else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, minted);
    assert_eq!(ids(&page("")).len(), 10);
    for query in
        ["?limit=0", "?limit=501", "?limit=x", "?cursor=x", "?status=open", "?colour=red", "?limit=1&limit=2"]
    {
        assert_problem(&page(query), 422, "validation_failed");
    }
}

#[test]
fn apps_come_in_pages_too() {
    let others = ["a", "z"].map(|name| {
        format!("[apps.{name}.environments.production]\nhosts = [\"{name}.localhost\"]\nupstreams = [\"http://127.0.0.1:1\"]\n")
    });
    let gateway = Setup::new(&App::echo()).and(&others.concat()).start();
    let page = |query: &str| gateway.admin(&format!("GET /v1/apps{query}"), None);
    let all = page("").json();
    let apps = all["items"].as_array().unwrap();
    assert!(apps.len() == 3 && all["next_cursor"].is_null());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = page(&format!("?limit=1{cursor}")).json();
        seen.extend(answer["items"].as_array().unwrap().clone());
        let Some(next) = answer["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&seen, apps);
    for query in ["?limit=0", "?limit=501", "?cursor=nowhere", "?q=shop"] {
        assert_problem(&page(query), 422, "validation_failed");
    }
}

#[test]
fn what_is_not_there_is_told_in_the_same_shape() {
    let gateway = Gateway::before(&App::echo());
    for line in
        ["GET /", "GET /v1", "GET /v2/tokens", "GET /v1/tokens/", "GET /v1/tokens/x/y", "GET /v1/apps/absent"]
    {
        assert_problem(&gateway.admin(line, None), 404, "not_found");
    }
    for (line, allowed) in
        [("PUT /v1/tokens", "POST"), ("POST /healthz", "GET"), ("GET /v1/keys/x", "DELETE")]
    {
        let answer = gateway.admin(line, None);
        assert_problem(&answer, 405, "method_not_allowed");
        assert!(answer.get("allow").unwrap().contains(allowed), "{answer:?}");
    }
    let large = json!({ "label": "x".repeat(100_000) });
    assert_problem(&gateway.admin("POST /v1/tokens", Some(large)), 413, "body_too_large");
}

fn order(app: &str) -> Value {
    json!({ "app": app, "environment": "production", "expires_in": "1h" })
}

/// A new management key of a member.
#[track_caller]
fn key(gateway: &Gateway, member: &str, scopes: &[&str], app: Option<&str>) -> String {
    let body = json!({ "member": member, "scopes": scopes, "app": app });
    let answer = gateway.admin("POST /v1/keys", Some(body));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["secret"].as_str().unwrap().to_owned()
}

/// A call over TCP; `key` may be empty.
fn ask(gateway: &Gateway, key: &str, line: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let length = body.len().to_string();
    let mut fields = vec![("Host", "localhost"), ("Content-Length", &*length)];
    if !key.is_empty() {
        fields.push(("Authorization", &bearer));
    }
    raw(gateway, [request(line, &fields), body.into_bytes()].concat())
}

fn raw(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Answer {
    let mut wire = connect(gateway.admin_address());
    wire.send(bytes);
    wire.answer()
}

/// The same over the socket, where no key is needed.
fn on_socket(gateway: &Gateway, bytes: &[u8]) -> Answer {
    let mut wire = Wire::new(UnixStream::connect(gateway.path("portcullis.sock")).unwrap());
    wire.send(bytes);
    wire.answer()
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let document = answer.json();
    assert_eq!((&document["code"], &document["status"]), (&json!(code), &json!(status)), "{document}");
    for name in ["type", "title", "detail", "request_id"] {
        assert!(document[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {document}");
    }
    assert_eq!(answer.get("content-type"), Some("application/problem+json"));
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    assert_eq!(answer.get("x-request-id"), document["request_id"].as_str());
}

#[test]
fn strangers_keep_no_caller_off_the_address() {
    let gateway = Gateway::before(&App::echo());
    let key = key(&gateway, "ann", &["read"], None);
    let known = format!("Bearer {key}");
    let mut caller = connect(gateway.admin_address());
    let mut ask = |path: &str| {
        caller.send(request(&format!("GET {path}"), &[("Host", "localhost"), ("Authorization", &known)]));
        caller.answer()
    };
    assert_eq!(ask("/v1/whoami").status, 200);
    // More of them than there are places.
    let mut silent: Vec<_> = (0..300).map(|_| connect(gateway.admin_address())).collect();
    assert_eq!(
        raw(&gateway, request("GET /v1/whoami", &[("Host", "localhost"), ("Authorization", &known)])).status,
        200
    );
    silent[0].wait_for_end();
    // Whoever has a key keeps the connection, whatever they ask for.
    for _ in 0..2 {
        assert_eq!(ask("/v1/tokens/x").code(), "not_found");
        assert_eq!(ask("/nothing").code(), "not_found");
    }
    // Who has none gets one answer, also where what was sent with it is not read.
    for line in ["GET /v1/tokens", "GET /nothing", "POST /v1/tokens"] {
        let mut stranger = connect(gateway.admin_address());
        let head = request(line, &[("Host", "localhost"), ("Content-Length", "1000000")]);
        stranger.send([head, vec![b' '; 1_000_000]].concat());
        let answer = stranger.answer();
        assert!(matches!(answer.status, 401 | 404), "{answer:?}");
        assert_eq!(answer.get("connection"), Some("close"));
        stranger.wait_for_end();
    }
}
