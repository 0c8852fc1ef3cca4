//! The OpenAPI document, held against what the admin API really takes and gives.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
use crate::support::leak::digest;
use crate::support::wire::{Answer, connect, request};

/// The document, and which of its operations were held against it.
struct Description {
    document: Value,
    asked: BTreeSet<String>,
}

impl Description {
    /// Makes a call that `operation`, as in `GET /v1/tokens/{id}`, stands for, and judges its answer.
    #[track_caller]
    fn ask(&mut self, caller: &Caller<'_>, operation: &str, line: &str, body: Option<Value>) -> Answer {
        let answer = caller.ask(line, body);
        assert!(answer.status < 300, "{line}: {answer:?}");
        self.judge(operation, &answer);
        self.asked.insert(operation.to_owned());
        answer
    }

    /// Whether an answer is among those that are described.
    #[track_caller]
    fn judge(&self, operation: &str, answer: &Answer) {
        let described = self.resolved(&self.operation(operation)["responses"][answer.status.to_string()]);
        assert!(described.is_object(), "{operation}: {} is not described", answer.status);
        let kind = answer.get("content-type").unwrap();
        let content = &described["content"][kind];
        assert!(content.is_object(), "{operation}: {kind} is not described");
        for name in described["headers"].as_object().unwrap().keys() {
            assert!(answer.get(name).is_some(), "{operation}: no {name}: {answer:?}");
        }
        let tagged = described["headers"].as_object().unwrap().contains_key("ETag");
        assert_eq!(answer.get("etag").is_some(), tagged, "{operation}");
        if kind.ends_with("json") {
            let wrong = self.compare(&content["schema"], &answer.json(), "");
            assert!(wrong.is_empty(), "{operation}: {wrong:#?}\n{answer:?}");
        }
    }

    fn operation(&self, operation: &str) -> &Value {
        let (method, path) = operation.split_once(' ').unwrap();
        let found = &self.document["paths"][path][method.to_ascii_lowercase()];
        assert!(found.is_object(), "{operation} is not described");
        found
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(place) => self.document.pointer(place.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// Where a value is not as a schema has it, a field that the schema does not have included.
    fn compare(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        if let Some(ways) = schema["oneOf"].as_array() {
            let fits = ways.iter().filter(|way| self.compare(way, value, place).is_empty()).count();
            return if fits == 1 { Vec::new() } else { vec![format!("{place}: {fits} ways fit")] };
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = &schema["type"];
        let allowed = kinds.is_null()
            || kinds == kind
            || kinds.as_array().is_some_and(|all| all.contains(&kind.into()));
        let mut wrong = if allowed { Vec::new() } else { vec![format!("{place}: {kind}, not {kinds}")] };
        for item in value.as_array().into_iter().flatten() {
            wrong.extend(self.compare(&schema["items"], item, &format!("{place}[]")));
        }
        let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
            return wrong;
        };
        for (name, field) in fields {
            let place = format!("{place}.{name}");
            match known.get(name) {
                Some(schema) => wrong.extend(self.compare(schema, field, &place)),
                None => wrong.push(format!("{place}: not described")),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                wrong.push(format!("{place}.{name}: not there"));
            }
        }
        wrong
    }

    fn operations(&self) -> BTreeSet<String> {
        let paths = self.document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let methods = item.as_object().unwrap().keys().map(|method| method.to_ascii_uppercase());
            methods.map(|method| format!("{method} {path}")).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of).collect()
    }
}

fn described(gateway: &Gateway) -> Description {
    let document = gateway.admin("GET /v1/openapi.json", None).json();
    Description { document, asked: BTreeSet::new() }
}

#[test]
fn every_call_answers_as_it_is_described() {
    let app = App::echo();
    // Nobody takes what it is told.
    let gateway = Hook::lost(Setup::new(&app)).start_beside("hook-secret", hook::SECRET);
    let mut api = described(&gateway);
    let operator = Caller::operator(&gateway);
    let text =
        |answer: &Answer, place: &str| answer.json().pointer(place).unwrap().as_str().unwrap().to_owned();
    let (get, post) = (|path: &str| format!("GET {path}"), |path: &str| format!("POST {path}"));

    let full = json!({
        "app": "shop", "environment": "production", "expires_in": "7d", "label": "CI", "description": "checks",
        "scopes": ["GET /"], "allowed_addresses": ["127.0.0.0/8"], "rate_limit": "100/1m", "on_publish": "stop",
    });
    let minted = api.ask(&operator, "POST /v1/tokens", "POST /v1/tokens", Some(full.clone()));
    let (id, secret) = (text(&minted, "/token/id"), text(&minted, "/secret"));
    let once = [("Idempotency-Key", "x")];
    for status in [201, 200] {
        let answer = operator.ask_with("POST /v1/tokens", &once, Some(full.clone()));
        assert_eq!(answer.status, status);
        api.judge("POST /v1/tokens", &answer);
    }
    let token = format!("/v1/tokens/{id}");
    api.ask(&operator, "GET /v1/tokens/{id}", &get(&token), None);
    let link = json!({
        "app": "shop", "environment": "production", "expires_in": "1h", "uses": 3, "path": "/start?a=b",
        "origin": "https://shop.localhost",
    });
    for status in [201, 200] {
        let answer = operator.ask_with("POST /v1/shares", &[("Idempotency-Key", "y")], Some(link.clone()));
        assert_eq!(answer.status, status);
        api.judge("POST /v1/shares", &answer);
    }
    api.ask(&operator, "POST /v1/shares", "POST /v1/shares", Some(link));
    let edit = json!({ "label": "new", "scopes": null, "rate_limit": null });
    api.ask(&operator, "PATCH /v1/tokens/{id}", &format!("PATCH {token}"), Some(edit));
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &secret)).status, 200);

    let environment = "/v1/apps/shop/environments/production";
    let of = |rest: &str| format!("/v1/apps/{{app}}/environments/{{environment}}/{rest}");
    let publish = post(&of("deployments"));
    let next = || Some(json!({ "id": "next", "upstreams": ["http://127.0.0.1:1"] }));
    api.ask(&operator, &publish, &format!("POST {environment}/deployments?dry_run=true"), next());
    for _ in 0..2 {
        api.ask(&operator, &publish, &format!("POST {environment}/deployments"), next());
    }
    api.ask(&operator, &get(&of("deployments")), &get(&format!("{environment}/deployments")), None);
    let archive = format!("DELETE {environment}/deployments/initial");
    api.ask(&operator, &format!("DELETE {}", of("deployments/{id}")), &archive, None);
    let switch = format!("PUT {environment}/external-access");
    let on = Some(json!({ "enabled": true }));
    api.ask(&operator, &format!("PUT {}", of("external-access")), &switch, on);
    api.ask(&operator, "GET /v1/apps", "GET /v1/apps", None);
    api.ask(&operator, "GET /v1/apps/{app}", "GET /v1/apps/shop", None);

    // It ended with its deployment, so a successor takes another that lives.
    let refused =
        gateway.ask(with_token("GET /", "shop.localhost", &secret)).refused(401, "deployment_replaced");
    let denial = format!("GET /v1/denials/{}", refused["request_id"].as_str().unwrap());
    api.ask(&operator, "GET /v1/denials/{request_id}", &denial, None);
    api.ask(&operator, "GET /v1/denials", "GET /v1/denials", None);
    let live = operator.mint("production").id;
    let rotate = format!("POST /v1/tokens/{live}/rotate");
    api.ask(
        &operator,
        "POST /v1/tokens/{id}/rotate",
        &rotate,
        Some(json!({ "overlap": "1h", "expires_in": "7d" })),
    );
    let revoke = format!("POST /v1/tokens/{live}/revoke");
    api.ask(&operator, "POST /v1/tokens/{id}/revoke", &revoke, Some(json!({ "reason": "lost" })));
    api.ask(&operator, "GET /v1/tokens", "GET /v1/tokens?limit=1", None);
    api.ask(&operator, "DELETE /v1/tokens/{id}", &format!("DELETE {token}"), None);

    let ann = || Some(json!({ "name": "ann", "email": "ann@example.com" }));
    api.ask(&operator, "POST /v1/members", "POST /v1/members", ann());
    api.ask(&operator, "GET /v1/members", "GET /v1/members", None);
    api.ask(&operator, "GET /v1/members/{name}", "GET /v1/members/ann", None);
    let edit = Some(json!({ "email": null }));
    api.ask(&operator, "PATCH /v1/members/{name}", "PATCH /v1/members/ann", edit);
    let key = json!({ "member": "ann", "scopes": ["read"], "app": "shop", "label": "x", "expires_in": "7d" });
    let key = api.ask(&operator, "POST /v1/keys", "POST /v1/keys", Some(key));
    api.ask(&operator, "GET /v1/keys", "GET /v1/keys", None);
    let member = Caller::member(&gateway, "ann", &["read"], Some("shop"));
    for caller in [&operator, &member] {
        api.ask(caller, "GET /v1/whoami", "GET /v1/whoami", None);
        api.ask(caller, "POST /v1/dashboard-links", "POST /v1/dashboard-links", None);
    }
    api.ask(&operator, "DELETE /v1/dashboard-sessions", "DELETE /v1/dashboard-sessions", None);
    let digests = [operator.mint("production").secret, text(&key, "/secret")].map(|secret| digest(&secret));
    api.ask(&operator, "POST /v1/lookup", "POST /v1/lookup", Some(json!({ "digests": digests })));
    let leaked = [operator.mint("production").secret, text(&key, "/secret"), crate::support::leak::token()];
    let report = json!({ "tokens": leaked, "source": "a", "url": "b" });
    api.ask(&operator, "POST /v1/leaks", "POST /v1/leaks", Some(report));
    api.ask(&operator, "GET /v1/leaks", "GET /v1/leaks", None);
    let notices = api.ask(&operator, "GET /v1/notices", "GET /v1/notices", None);
    let retry = format!("POST /v1/notices/{}/retry", text(&notices, "/items/0/id"));
    api.ask(&operator, "POST /v1/notices/{id}/retry", &retry, None);
    let revoke = format!("DELETE /v1/keys/{}", text(&key, "/key/id"));
    api.ask(&operator, "DELETE /v1/keys/{id}", &revoke, None);
    api.ask(&operator, "DELETE /v1/members/{name}", "DELETE /v1/members/ann", None);
    let grant =
        json!({ "token_url": "http://127.0.0.1:1/", "client_id": "a", "scopes": ["b"], "auth": "post" });
    let full = json!({
        "value": "a", "type": "oauth-token", "description": "b", "apps": ["shop"], "products": ["c"],
        "environments": ["production"], "expires_in": "7d", "grant": grant,
    });
    let secret = "/v1/secrets/SHOP_KEY";
    for status in [201, 200] {
        let answer =
            api.ask(&operator, "PUT /v1/secrets/{key}", &format!("PUT {secret}"), Some(full.clone()));
        assert_eq!(answer.status, status);
    }
    api.ask(&operator, "GET /v1/secrets", "GET /v1/secrets", None);
    api.ask(&operator, "GET /v1/secrets/{key}", &get(secret), None);
    let edit = json!({ "description": "c", "products": null, "expires_at": null });
    api.ask(&operator, "PATCH /v1/secrets/{key}", &format!("PATCH {secret}"), Some(edit));
    api.ask(&operator, "POST /v1/secrets/{key}/revoke", &format!("POST {secret}/revoke"), None);
    api.ask(&operator, "POST /v1/secrets/rekey", "POST /v1/secrets/rekey", None);
    api.ask(&operator, "DELETE /v1/secrets/{key}", &format!("DELETE {secret}"), None);
    for line in [
        "GET /v1/audit",
        "GET /v1/backup",
        "POST /v1/reload",
        "GET /v1/openapi.json",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    ] {
        api.ask(&operator, line, line, None);
    }
    let open = operator.ask_with("GET /metrics", &[("Accept", "application/openmetrics-text")], None);
    api.judge("GET /metrics", &open);
    assert_eq!(api.asked, api.operations(), "each call is described, and each description was tried");
}

#[test]
fn each_field_and_parameter_that_is_taken_is_described_and_no_other() {
    let gateway = Gateway::before(&App::echo());
    let api = described(&gateway);
    let operator = Caller::operator(&gateway);
    let known = |answer: &Answer| {
        // A file, where a parameter is not looked at.
        let errors = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()["errors"].clone();
        let of = |error: &Value| error["field"] == "nonsense";
        let error = errors.as_array().into_iter().flatten().find(|error| of(error));
        let message = error.map(|error| error["message"].as_str().unwrap().to_owned())?;
        let names = message.strip_prefix("is unknown; known are: ").unwrap().split(", ");
        Some(names.filter(|name| *name != "none").map(str::to_owned).collect::<BTreeSet<_>>())
    };
    for operation in api.operations() {
        // One of the calls before may have ended them.
        let token = operator.mint("production").id;
        operator.ask("POST /v1/members", Some(json!({ "name": "ann" })));
        operator.ask("PUT /v1/secrets/SHOP_KEY", Some(json!({ "value": "a" })));
        let line = operation
            .replace("/tokens/{id}", &format!("/tokens/{token}"))
            .replace("{app}", "shop")
            .replace("{environment}", "production")
            .replace("{name}", "ann")
            .replace("{key}", "SHOP_KEY")
            .replace("{request_id}", "x")
            .replace("{id}", "x");
        let doc = api.operation(&operation);
        if let Some(body) = doc["requestBody"].as_object() {
            let schema = api.resolved(&body["content"]["application/json"]["schema"]);
            let described = schema["properties"].as_object().unwrap().keys().cloned().collect();
            let answer = operator.ask(&line, Some(json!({ "nonsense": 1 })));
            assert_eq!(known(&answer), Some(described), "{operation}: {answer:?}");
            api.judge(&operation, &answer);
            assert_eq!(schema["additionalProperties"], false, "{operation}");
            // Only a body whose fields are all optional may be absent.
            let absent = operator.ask(&line, None).status;
            assert_eq!(absent == 400, body["required"] == true, "{operation}: {absent}");
        }
        let parameters = doc["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "query");
        let described: BTreeSet<_> = parameters.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        let body = doc["requestBody"].is_object().then(|| json!({}));
        let answer = operator.ask(&format!("{line}?nonsense=1"), body);
        assert_eq!(known(&answer).unwrap_or_default(), described, "{operation}: {}", answer.status);
        for text in [&doc["summary"], &doc["description"], &doc["operationId"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{operation} is not explained");
        }
    }
}

#[test]
fn refusals_are_described_too() {
    let gateway = Gateway::before(&App::echo());
    let api = described(&gateway);
    let member = Caller::member(&gateway, "ann", &["read"], None);
    let operator = Caller::operator(&gateway);
    let mine = operator.mint("production").id;
    let stale = [("If-Match", "\"0\"")];
    for (operation, answer) in [
        ("GET /v1/tokens/{id}", operator.ask("GET /v1/tokens/x", None)),
        ("POST /v1/tokens", operator.ask("POST /v1/tokens", None)),
        ("POST /v1/tokens", member.ask("POST /v1/tokens", Some(json!({})))),
        (
            "PATCH /v1/tokens/{id}",
            operator.ask_with(&format!("PATCH /v1/tokens/{mine}"), &stale, Some(json!({ "label": "x" }))),
        ),
        (
            "DELETE /v1/apps/{app}/environments/{environment}/deployments/{id}",
            operator.ask("DELETE /v1/apps/shop/environments/production/deployments/initial", None),
        ),
    ] {
        assert!(answer.status >= 400, "{answer:?}");
        api.judge(operation, &answer);
    }
    // Like the health of the process: without a key on this machine.
    let mut wire = connect(gateway.admin_address());
    wire.send(request("GET /v1/openapi.json", &[("Host", "localhost")]));
    assert_eq!(wire.answer().json(), api.document);
    let mut wire = connect(gateway.admin_address());
    wire.send(request("GET /v1/whoami", &[("Host", "localhost")]));
    api.judge("GET /v1/whoami", &wire.answer());
}
