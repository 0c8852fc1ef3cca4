//! Access tokens that the gateway gets for an app with a client-credentials grant.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{App, Exchange};
use crate::support::exchange::with_token;
use crate::support::stage::Stage;
use crate::support::until;
use crate::support::wire::Answer;

const HOST: &str = "shop.localhost";
const CLIENT_SECRET: &str = "client hunter2+&=";

/// What a token endpoint says next: status and body.
type Script = Arc<Mutex<(u16, String)>>;

fn endpoint(script: &Script) -> App {
    let script = script.clone();
    App::start(move |exchange: &mut Exchange<'_>| {
        exchange.body();
        let (status, body) = script.lock().unwrap().clone();
        if status == 0 {
            // It hangs for as long as the gateway waits.
            exchange.wire.wait_for_end();
            exchange.close();
            return;
        }
        exchange.send(format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    })
}

fn issued(token: &str, seconds: u64) -> (u16, String) {
    (200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds }).to_string())
}

fn script(first: (u16, String)) -> Script {
    Arc::new(Mutex::new(first))
}

fn stage() -> Stage {
    Stage::with(|setup| {
        setup.set("apps.shop.environments.production", "upstream_auth", "\"bearer $Secret{API}\"")
    })
}

fn grant(url: &str) -> Value {
    json!({
        "value": CLIENT_SECRET,
        "grant": { "token_url": format!("{url}/token?tenant=a"), "client_id": "shop:1", "scopes": ["read", "a/b"] },
    })
}

impl Stage {
    #[track_caller]
    fn set_grant(&self, body: Value) -> Value {
        let answer = self.gateway.admin("PUT /v1/secrets/API", Some(body));
        assert!(answer.status < 300, "{answer:?}");
        answer.json()
    }

    fn asked(&self) -> Answer {
        self.gateway.ask(with_token("GET /", HOST, &self.token))
    }

    /// The access token that the app gets, once there is one.
    #[track_caller]
    fn wait_for_token(&self, expected: &str) {
        until(&format!("{expected} at the app"), || {
            let answer = self.asked();
            assert!(answer.status == 200 || answer.code() == "secret_unavailable", "{answer:?}");
            let got = self.app.requests().last().cloned();
            let got = got.as_ref().and_then(|request| request.head.get("authorization"));
            (answer.status == 200 && got == Some(&format!("Bearer {expected}"))).then_some(())
        });
    }

    fn shown(&self) -> Value {
        self.gateway.admin("GET /v1/secrets/API", None).json()["grant"].clone()
    }
}

#[test]
fn a_token_is_fetched_and_renewed_ahead_of_its_end() {
    let script = script(issued("first", 4));
    let (endpoint, stage) = (endpoint(&script), stage());
    let set = stage.set_grant(grant(&endpoint.url()));
    assert_eq!((&set["type"], &set["grant"]["auth"]), (&json!("oauth-token"), &json!("basic")));
    stage.wait_for_token("first");
    let request = endpoint.requests()[0].clone();
    assert_eq!(request.head.line, "POST /token?tenant=a HTTP/1.1");
    assert_eq!(request.head.get("content-type"), Some("application/x-www-form-urlencoded"));
    // Each is encoded as in a form before the two are put together (RFC 6749, section 2.3.1).
    assert_eq!(
        request.head.get("authorization"),
        Some("Basic c2hvcCUzQTE6Y2xpZW50JTIwaHVudGVyMiUyQiUyNiUzRA==")
    );
    assert_eq!(String::from_utf8(request.body).unwrap(), "grant_type=client_credentials&scope=read%20a%2Fb");

    *script.lock().unwrap() = issued("second", 3600);
    stage.wait_for_token("second");
    assert_eq!(endpoint.requests().len(), 2);
    assert!(stage.shown()["token_expires_at"].is_string());
    assert_eq!(stage.shown()["last_error"], Value::Null);
}

#[test]
fn the_client_may_be_named_in_the_body() {
    let script = script(issued("token", 60));
    let (endpoint, stage) = (endpoint(&script), stage());
    let mut body = grant(&endpoint.url());
    body["grant"]["auth"] = json!("post");
    stage.set_grant(body);
    stage.wait_for_token("token");
    let request = endpoint.only();
    assert_eq!(request.head.get("authorization"), None);
    let body = String::from_utf8(request.body).unwrap();
    assert!(body.ends_with("&client_id=shop%3A1&client_secret=client%20hunter2%2B%26%3D"), "{body}");
}

#[test]
fn the_token_that_lives_is_used_while_the_endpoint_fails_and_then_requests_are_refused() {
    for (failure, words) in [
        ((500, "hunter2".to_owned()), "500"),
        (
            (401, json!({ "error": "invalid_client", "error_description": "hunter2" }).to_string()),
            "invalid_client",
        ),
        ((200, "<html>hunter2</html>".to_owned()), "no access token"),
        ((200, "x".repeat(100_000)), "over 64 KiB"),
    ] {
        let script = script(issued("living", 6));
        let (endpoint, stage) = (endpoint(&script), stage());
        stage.set_grant(grant(&endpoint.url()));
        stage.wait_for_token("living");
        *script.lock().unwrap() = failure;
        let told =
            until("the failure to be told", || stage.shown()["last_error"].as_str().map(str::to_owned));
        assert!(told.contains(words) && !told.contains("hunter2"), "{told}");
        assert_eq!(stage.asked().status, 200, "it still lives");
        let refused = until("its end", || Some(stage.asked()).filter(|answer| answer.status != 200));
        refused.refused(502, "secret_unavailable");
        let lacking = stage.gateway.admin("GET /readyz", None).json();
        assert_eq!(lacking["secrets_unavailable"][0]["reason"], "no_token", "{lacking}");
        assert!(!stage.gateway.stderr().contains("hunter2"));
        // And all is well again as soon as the endpoint is.
        *script.lock().unwrap() = issued("again", 3600);
        stage.wait_for_token("again");
    }
}

#[test]
fn a_slow_endpoint_delays_no_request() {
    let script = script((0, String::new()));
    let (endpoint, stage) = (endpoint(&script), stage());
    stage.set_grant(grant(&endpoint.url()));
    endpoint.wait_for(1);
    stage.asked().refused(502, "secret_unavailable");
    // One that is down is no worse.
    stage.set_grant(grant("http://127.0.0.1:1"));
    let told = until("the failure to be told", || stage.shown()["last_error"].as_str().map(str::to_owned));
    assert!(told.contains("cannot be reached"), "{told}");
    stage.asked().refused(502, "secret_unavailable");
}

#[test]
fn another_grant_takes_the_place_of_the_first_at_once() {
    let (one, two) = (script(issued("one", 3600)), script(issued("two", 3600)));
    let (first, second, stage) = (endpoint(&one), endpoint(&two), stage());
    stage.set_grant(grant(&first.url()));
    stage.wait_for_token("one");
    stage.set_grant(grant(&second.url()));
    let answer = stage.asked();
    let got = stage.app.requests().last().unwrap().head.get("authorization").map(str::to_owned);
    assert!(answer.status == 502 || got.as_deref() == Some("Bearer two"), "{answer:?} {got:?}");
    stage.wait_for_token("two");
    // What is the same stays, with the token that it brought.
    let asked = second.requests().len();
    stage.set_grant(grant(&second.url()));
    let edit = Some(json!({ "description": "the API" }));
    assert_eq!(stage.gateway.admin("PATCH /v1/secrets/API", edit).status, 200);
    assert_eq!(stage.asked().status, 200);
    assert_eq!(second.requests().len(), asked);
    // And without a grant the value is what is sent.
    stage.set_grant(json!({ "value": "plain", "grant": null }));
    stage.wait_for_token("plain");
    assert_eq!(stage.shown(), Value::Null);
}

#[test]
fn a_grant_that_is_revoked_asks_no_more() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let endpoint = App::start(move |exchange: &mut Exchange<'_>| {
        exchange.body();
        counted.fetch_add(1, Ordering::Relaxed);
        let (_, body) = issued("token", 2);
        exchange.answer(body.as_bytes());
    });
    let stage = stage();
    stage.set_grant(grant(&endpoint.url()));
    stage.wait_for_token("token");
    stage.gateway.admin("POST /v1/secrets/API/revoke", None);
    stage.asked().refused(502, "secret_unavailable");
    // One may have been under way.
    std::thread::sleep(Duration::from_millis(100));
    let asked = count.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(count.load(Ordering::Relaxed), asked);
}

#[test]
fn a_new_client_secret_takes_nobody_the_token_that_lives() {
    let script = script(issued("living", 3600));
    let (endpoint, stage) = (endpoint(&script), stage());
    stage.set_grant(grant(&endpoint.url()));
    stage.wait_for_token("living");
    let refused = json!({ "error": "invalid_client" }).to_string();
    *script.lock().unwrap() = (401, refused);
    let mut other = grant(&endpoint.url());
    other["value"] = json!("mistyped");
    stage.set_grant(other.clone());
    until("the trouble", || {
        assert_eq!(stage.asked().status, 200);
        stage.shown()["last_error"].as_str().filter(|error| error.contains("invalid_client")).map(drop)
    });
    assert!(stage.shown()["token_expires_at"].is_string());
    *script.lock().unwrap() = issued("next", 3600);
    other["value"] = json!("right");
    stage.set_grant(other.clone());
    until("the next token", || {
        assert_eq!(stage.asked().status, 200);
        (stage.app.requests().last()?.head.get("authorization") == Some("Bearer next")).then_some(())
    });
    // What is for something else is not used, nor what was revoked.
    *script.lock().unwrap() = (500, String::new());
    other["grant"]["scopes"] = json!(["write"]);
    stage.set_grant(other);
    assert_eq!(stage.asked().code(), "secret_unavailable");
}
