//! Reports of GitHub's secret scanning: signed, bounded, taken once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::app::{App, Exchange};
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
use crate::support::leak;
use crate::support::until;
use crate::support::wire::{Answer, request};

const PATH: &str = "/.portcullis/leaks/github";
/// A SubjectPublicKeyInfo of P-256 but for its point.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// GitHub, as far as it signs.
struct Github(EcdsaKeyPair);

impl Github {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    /// Its keys as it publishes them, under the identifier `now`.
    fn keys(&self) -> String {
        published(&BASE64_STANDARD.encode([&SPKI[..], self.0.public_key().as_ref()].concat()))
    }

    fn sign(&self, body: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(&SystemRandom::new(), body).unwrap())
    }
}

fn published(key: &str) -> String {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n");
    json!({ "public_keys": [{ "key_identifier": "now", "key": pem, "is_current": true }] }).to_string()
}

fn found(tokens: &[&str]) -> Vec<u8> {
    let items = tokens.iter().map(|token| {
        json!({ "token": token, "type": "portcullis_token", "url": format!("https://github.com/a/b?{token}#L1"), "source": "content" })
    });
    Value::from(items.collect::<Vec<_>>()).to_string().into_bytes()
}

impl Gateway {
    fn reported(&self, key: &str, signature: &str, body: &[u8]) -> Answer {
        self.ask(report(key, signature, body))
    }
}

fn report(key: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let fields = [
        ("Content-Length", &*length),
        ("Content-Type", "application/json"),
        ("Github-Public-Key-Identifier", key),
        ("Github-Public-Key-Signature", signature),
    ];
    [request(&format!("POST {PATH}"), &fields), body.to_vec()].concat()
}

fn with_keys(app: &App, keys: &str) -> Gateway {
    Setup::new(app).set("leaks", "github_keys", "\"keys.json\"").start_beside("keys.json", keys)
}

#[test]
fn true_positives_end_at_once_and_the_rest_is_told_apart() {
    let (app, github) = (App::echo(), Github::new());
    let gateway = with_keys(&app, &github.keys());
    let minted = gateway.mint("production");
    let stranger = leak::token();
    let body = found(&[&stranger, &minted.secret, "some_token"]);
    let answer = gateway.reported("now", &github.sign(&body), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let verdicts: Value = serde_json::from_slice(&answer.body).unwrap();
    let labels: Vec<_> =
        verdicts.as_array().unwrap().iter().map(|verdict| verdict["label"].clone()).collect();
    assert_eq!(labels, ["false_positive", "true_positive", "false_positive"]);
    let hash = BASE64_STANDARD.encode(Sha256::digest(minted.secret.as_bytes()));
    assert_eq!(
        (&verdicts[1]["token_hash"], &verdicts[1]["token_type"]),
        (&json!(hash), &json!("portcullis_token"))
    );
    let refused = gateway.ask(with_token("GET /", "shop.localhost", &minted.secret));
    assert_eq!(refused.code(), "token_revoked");
    let shown = gateway.admin(&format!("GET /v1/tokens/{}", minted.id), None).json();
    assert_eq!((&shown["revoked_by"], &shown["status"]), (&json!("github"), &json!("revoked")));
    let leaks = gateway.admin("GET /v1/leaks", None).json()["items"].clone();
    // What came after the path could have held the token.
    assert_eq!(
        (&leaks[0]["source"], &leaks[0]["place"]),
        (&json!("github"), &json!("https://github.com/a/b"))
    );
    assert_eq!(leaks.as_array().unwrap().len(), 1);

    // The same again, be it under another signature, is not taken, also after a restart.
    for signature in [github.sign(&body), github.sign(&body)] {
        let replayed = gateway.reported("now", &signature, &body);
        assert_eq!(replayed.status, 400, "{replayed:?}");
        assert!(String::from_utf8_lossy(&replayed.body).contains("taken before"), "{replayed:?}");
    }
}

#[test]
fn all_places_reach_the_owner_whoever_spoke_first() {
    let (app, github, hook) = (App::echo(), Github::new(), Hook::taking());
    let setup = hook.notified(Setup::new(&app)).set("leaks", "github_keys", "\"keys.json\"");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hook-secret"), hook::SECRET).unwrap();
    let gateway = setup.start_in(folder, "keys.json", &github.keys(), &[]);
    let (minted, other) = (gateway.mint("production"), gateway.mint("production"));
    let bob = Caller::member(&gateway, "bob", &["read", "mint"], None);
    for place in ["https://invented.example/1", "https://invented.example/2"] {
        bob.get(
            200,
            "POST /v1/leaks",
            Some(json!({ "tokens": [minted.secret], "source": "me", "url": place })),
        );
    }
    let items: Vec<_> = [&minted, &other]
        .iter()
        .flat_map(|token| {
            (1..=12).map(|place| {
                let url = format!("https://github.com/a/b/{place}");
                json!({ "token": token.secret, "type": "portcullis_token", "url": url, "source": "content" })
            })
        })
        .collect();
    let body = Value::from(items).to_string().into_bytes();
    assert_eq!(gateway.reported("now", &github.sign(&body), &body).status, 200);
    // Bob's words once, and then GitHub's of each token.
    let calls = hook.calls_of("token.leaked", 3);
    assert_eq!(calls[0].body["data"]["leak"]["by"], "bob");
    let mut told: Vec<_> = calls[1..].iter().map(|call| &call.body["data"]).collect();
    told.sort_by_key(|data| data["token"]["id"] != minted.id);
    for data in &told {
        let places = data["leak"]["places"].as_array().unwrap();
        assert_eq!((places.len(), &places[9]), (10, &json!("https://github.com/a/b/10")));
        assert_eq!((&data["leak"]["more_places"], &data["leak"]["source"]), (&json!(2), &json!("github")));
    }
    assert_eq!((&told[0]["done"], &told[1]["done"]), (&json!("already_ended"), &json!("revoked")));
    // This report ended it, and each of its places says so.
    let leaks = gateway.admin(&format!("GET /v1/leaks?subject={}", other.id), None).json()["items"].clone();
    let leaks = leaks.as_array().unwrap();
    assert_eq!(leaks.len(), 12);
    assert!(leaks.iter().all(|leak| leak["done"] == "revoked"), "{leaks:?}");
    assert_eq!(hook.calls().len(), 3);
}

#[test]
fn made_up_places_hide_no_signed_one() {
    let (app, github, hook) = (App::echo(), Github::new(), Hook::taking());
    let setup = hook.notified(Setup::new(&app)).set("leaks", "github_keys", "\"keys.json\"");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hook-secret"), hook::SECRET).unwrap();
    let gateway = setup.start_in(folder, "keys.json", &github.keys(), &[]);
    let minted = gateway.mint("production");
    let bob = Caller::member(&gateway, "bob", &["read", "mint"], None);
    let made_up = |places: Vec<String>, source: &str| {
        let body = json!({ "tokens": [minted.secret], "source": source, "places": places });
        bob.get(200, "POST /v1/leaks", Some(body));
    };
    // Under GitHub's name too, and as many as are kept.
    made_up(vec!["https://github.com/a/b".to_owned()], "github");
    made_up((0..100).map(|place| format!("https://invented.example/{place}")).collect(), "me");
    let places = ["https://github.com/a/b", "https://github.com/a/c"].map(
        |url| json!({ "token": minted.secret, "type": "portcullis_token", "url": url, "source": "content" }),
    );
    let body = json!(places).to_string().into_bytes();
    assert_eq!(gateway.reported("now", &github.sign(&body), &body).status, 200);
    let answer = gateway.admin("GET /v1/leaks?limit=500", None).json();
    let leaks = answer["items"].as_array().unwrap();
    assert_eq!(leaks.len(), 100);
    let by_github: Vec<_> =
        leaks.iter().filter(|leak| leak["source"] == "github").map(|leak| &leak["place"]).collect();
    assert_eq!(by_github, ["https://github.com/a/c", "https://github.com/a/b"]);
    let calls = hook.calls_of("token.leaked", 2);
    assert_eq!(calls[1].body["data"]["leak"]["source"], "github");
    assert_eq!(calls[1].body["data"]["leak"]["by"], Value::Null);
    let log = gateway.admin("GET /v1/audit?limit=500", None).json();
    let by_github = |entry: &&Value| entry["action"] == "leak.report" && entry["actor"] == "github";
    assert_eq!(log["items"].as_array().unwrap().iter().filter(by_github).count(), 2);
}

#[test]
fn what_is_not_signed_by_github_changes_nothing() {
    let (app, github) = (App::echo(), Github::new());
    let gateway = with_keys(&app, &github.keys());
    let minted = gateway.mint("production");
    let body = found(&[&minted.secret]);
    let signature = github.sign(&body);
    let mut changed = body.clone();
    *changed.last_mut().unwrap() = b' ';
    let long = vec![b' '; 1024 * 1024 + 1];
    for (key, signature, body, status) in [
        ("now", &*signature, &changed, 400),
        ("other", &signature, &body, 400),
        ("now", &Github::new().sign(&body), &body, 400),
        ("now", "nonsense", &body, 400),
        ("now", "", &body, 400),
        ("now", &github.sign(b"{}"), &b"{}".to_vec(), 400),
        ("now", &github.sign(&long), &long, 413),
    ] {
        let answer = gateway.reported(key, signature, body);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(gateway.ask(request(&format!("POST {PATH}"), &[("Content-Length", "0")])).status, 400);
    assert_eq!(gateway.ask(request(&format!("GET {PATH}"), &[])).status, 405);
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &minted.secret)).status, 200);
    assert_eq!(gateway.admin("GET /v1/leaks", None).json()["items"], json!([]));
    assert_eq!(gateway.reported("now", &signature, &body).status, 200);
}

#[test]
fn the_published_vector_is_taken() {
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUqkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==";
    const BODY: &[u8] = br#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#;
    const SIGNATURE: &str =
        "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=";
    let gateway = with_keys(&App::echo(), &published(KEY));
    let answer = gateway.reported("now", SIGNATURE, BODY);
    assert_eq!(answer.status, 200, "{answer:?}");
    let verdicts: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&verdicts[0]["label"], &verdicts[0]["token_type"]),
        (&json!("false_positive"), &json!("some_type"))
    );
}

#[test]
fn keys_come_from_a_url_and_strangers_do_not_make_us_ask_again() {
    let (app, github) = (App::echo(), Github::new());
    let keys = github.keys();
    let publisher = App::start(move |exchange: &mut Exchange<'_>| exchange.answer(keys.as_bytes()));
    let url = format!("\"{}/meta/public_keys\"", publisher.url());
    let gateway = Setup::new(&app).set("leaks", "github_keys", &url).start();
    let minted = gateway.mint("production");
    let body = found(&[&minted.secret]);
    let signature = github.sign(&body);
    for _ in 0..3 {
        assert_eq!(gateway.reported("unknown", &signature, &body).status, 400);
    }
    assert_eq!(gateway.reported("now", &signature, &body).status, 200);
    assert_eq!(publisher.only().head.line, "GET /meta/public_keys HTTP/1.1");

    let off = Setup::new(&app).set("leaks", "github_keys", "\"off\"").start();
    assert_eq!(off.reported("now", &signature, &body).status, 404);
    // Nobody is told anything wrong where the keys cannot be had.
    let lost = Setup::new(&app).set("leaks", "github_keys", "\"missing.json\"").start();
    let answer = lost.reported("now", &signature, &body);
    assert_eq!((answer.status, answer.get("retry-after").is_some()), (503, true), "{answer:?}");
}

#[test]
fn who_heard_no_answer_reports_the_same_again_and_is_told() {
    let (app, github, open) = (App::echo(), Github::new(), Arc::new(AtomicBool::new(false)));
    let (keys, gate) = (github.keys(), open.clone());
    let publisher = App::start(move |exchange: &mut Exchange<'_>| {
        until("leave to answer", || gate.load(Ordering::SeqCst).then_some(()));
        exchange.answer(keys.as_bytes());
    });
    let gateway = Setup::new(&app).set("leaks", "github_keys", &format!("\"{}\"", publisher.url())).start();
    let minted = gateway.mint("production");
    let body = found(&[&minted.secret]);
    let signature = github.sign(&body);
    let mut impatient = gateway.connect();
    impatient.send(report("now", &signature, &body));
    publisher.wait_for(1);
    drop(impatient);
    until("that they are known to be gone", || {
        gateway.log().iter().any(|line| line["path"] == PATH).then_some(())
    });
    open.store(true, Ordering::SeqCst);
    until("the end of what they reported", || {
        let answer = gateway.ask(with_token("GET /", "shop.localhost", &minted.secret));
        (answer.status == 401).then_some(())
    });
    let answer = gateway.reported("now", &signature, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let verdicts: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(verdicts[0]["label"], "true_positive");
    assert_eq!(gateway.reported("now", &signature, &body).status, 400, "told once");
}

#[test]
fn strangers_who_send_slowly_keep_no_report_out() {
    let (app, github) = (App::echo(), Github::new());
    let setup = Setup::new(&app).set("leaks", "github_keys", "\"keys.json\"");
    let setup = setup.set("gateway", "trusted_proxies", "[\"127.0.0.1\"]");
    let gateway = setup.start_beside("keys.json", &github.keys());
    let minted = gateway.mint("production");
    let body = found(&[&minted.secret]);
    let (length, signature) = (body.len().to_string(), github.sign(&body));
    // It is asked for its body when it has a place.
    let mut early = gateway.connect();
    let fields = [
        ("Content-Length", &*length),
        ("Expect", "100-continue"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Github-Public-Key-Identifier", "now"),
        ("Github-Public-Key-Signature", &signature),
    ];
    early.send(request(&format!("POST {PATH}"), &fields));
    assert_eq!(early.head().unwrap().unwrap().status(), 100);
    // More than there are places, whether they come from one network or from many.
    let mut strangers: Vec<_> = (0..48).map(|_| gateway.connect()).collect();
    for (number, stranger) in strangers.iter_mut().enumerate() {
        let from = if number < 8 { "192.0.2.7".to_owned() } else { format!("198.51.{number}.7") };
        let fields = [
            ("Content-Length", "10"),
            ("X-Forwarded-For", &*from),
            ("Github-Public-Key-Identifier", "x"),
            ("Github-Public-Key-Signature", "x"),
        ];
        stranger.send([request(&format!("POST {PATH}"), &fields), b"[".to_vec()].concat());
    }
    // Who was pushed out is told so, and is as many as there is no place for.
    until("those who were pushed out", || {
        (gateway.log().iter().filter(|line| line["status"] == 503).count() == 17).then_some(())
    });
    let refused = gateway.metrics().of("leak_reports_refused_total{reason=\"pushed_out\"}");
    assert_eq!(refused, 17.0);
    // Strangers from everywhere push out each other, and not who came before them.
    early.send(&body);
    let answer = early.answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = found(&[&minted.secret, "another"]);
    let answer = gateway.reported("now", &github.sign(&body), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}
