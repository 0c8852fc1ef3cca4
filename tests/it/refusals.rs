//! What the gateway answers itself: every code of the table, which of two goes first, and that none reaches the app.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::until;
use crate::support::wire::{Answer, request};

/// Well-formed, with the right checksum, and never minted.
const NEVER_MINTED: &str = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";

const UNKNOWN: &str = "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"";

/// A request to a host with a token.
fn with(host: &str, token: &str) -> Vec<u8> {
    request("GET /", &[("Host", host), ("X-Portcullis-Token", token)])
}

/// The start of a challenge that names an error; the rest is the document's detail.
fn challenge(answer: &Answer, error: &str) -> bool {
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    let expected = format!("Bearer realm=\"shop\", error=\"{error}\", error_description=\"{detail}\"");
    answer.get("www-authenticate") == Some(&expected)
}

#[test]
fn without_a_token() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let answer = gateway.ask(request("GET /", &[]));
    answer.refused(401, "token_missing");
    assert_eq!(answer.get("www-authenticate"), Some("Bearer realm=\"shop\""));
    assert!(!answer.json()["detail"].as_str().unwrap().contains("Authorization"));

    for foreign in ["Basic dXNlcjpwYXNz", "Bearer eyJhbGciOi", "Digest a=b", "Bearer"] {
        let answer = gateway.ask(request("GET /", &[("Authorization", foreign)]));
        let document = answer.refused(401, "token_missing");
        assert_eq!(answer.get("www-authenticate"), Some("Bearer realm=\"shop\""));
        assert!(document["detail"].as_str().unwrap().contains("Authorization"), "{document}");
    }
    // A management key opens the admin side only, and is nothing here.
    let key = NEVER_MINTED.replace("pct_", "pcm_");
    gateway
        .ask(request("GET /", &[("Authorization", &format!("Bearer {key}"))]))
        .refused(401, "token_missing");
    gateway.ask(with("shop.localhost", &key)).refused(401, "token_unknown");
    assert!(app.bytes().is_empty());
}

#[test]
fn what_is_no_token_is_always_answered_alike() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let answers: Vec<String> =
        ["nonsense", &NEVER_MINTED.replace("0mLq17", "0mLq18"), NEVER_MINTED, "", "pct_é"]
            .iter()
            .map(|token| {
                let answer = gateway.ask(with("shop.localhost", token));
                answer.refused(401, "token_unknown");
                assert!(challenge(&answer, "invalid_token"), "{answer:?}");
                let id = answer.get("x-request-id").unwrap().to_owned();
                // The clock moves on between two answers.
                let fields = answer.head.fields.iter().filter(|(name, _)| name != "date");
                format!("{fields:?} {}", answer.text(), fields = fields.collect::<Vec<_>>())
                    .replace(&id, "ID")
            })
            .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert!(answers[0].contains(&UNKNOWN.replace('"', "\\\"")), "{}", answers[0]);
    assert!(app.bytes().is_empty());
}

#[test]
fn tokens_that_have_ended() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let expiring = gateway.mint_for("production", Duration::from_millis(500));
    let revoked = gateway.mint("production");
    assert_eq!(gateway.ask(with("shop.localhost", &revoked.secret)).status, 200);
    gateway.revoke(&revoked.id);
    let before = app.bytes();
    let answer = gateway.ask(with("shop.localhost", &revoked.secret));
    answer.refused(401, "token_revoked");
    assert!(challenge(&answer, "invalid_token"), "{answer:?}");

    let answer = until("the token's expiry", || {
        let answer = gateway.ask(with("shop.localhost", &expiring.secret));
        (answer.status != 200).then_some(answer)
    });
    answer.refused(401, "token_expired");
    assert!(challenge(&answer, "invalid_token"), "{answer:?}");
    // Ended comes before misplaced, and revoked before expired.
    gateway.ask(with("shop.dev.localhost", &expiring.secret)).refused(401, "token_expired");
    gateway.ask(with("shop.dev.localhost", &revoked.secret)).refused(401, "token_revoked");
    gateway.revoke(&expiring.id);
    gateway.ask(with("shop.localhost", &expiring.secret)).refused(401, "token_revoked");
    let now = app.bytes();
    assert!(!String::from_utf8_lossy(&now[before.len()..]).contains("pct_"));
}

#[test]
fn tokens_of_another_place() {
    let app = App::echo();
    let other = format!("[\"{}\"]", app.url());
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &other)
        .set("apps.shop.environments.staging", "hosts", "[\"*.shop.test\"]")
        .set("apps.shop.environments.staging", "upstreams", &other)
        .set("apps.shop.environments.staging", "external_access", "\"off\"")
        .start();
    let production = gateway.mint("production").secret;
    let staging = gateway.mint("staging").secret;
    for (host, token, status, code) in [
        ("shop.dev.localhost", &production, 403, "wrong_environment"),
        ("blog.localhost", &production, 403, "wrong_app"),
        // An app goes before an environment, an environment before its switch.
        ("blog.localhost", &staging, 403, "wrong_app"),
        ("a.shop.test", &production, 403, "wrong_environment"),
        ("a.shop.test", &staging, 403, "external_access_off"),
        ("A.Shop.Test:8080", &staging, 403, "external_access_off"),
        ("a.b.shop.test", &staging, 404, "unknown_host"),
        ("shop.test", &staging, 404, "unknown_host"),
        (".shop.test", &staging, 404, "unknown_host"),
        ("elsewhere.localhost", &staging, 404, "unknown_host"),
    ] {
        let answer = gateway.ask(with(host, token));
        answer.refused(status, code);
        assert_eq!(answer.get("www-authenticate"), None, "{host}");
    }
    assert!(app.bytes().is_empty());

    let everywhere =
        gateway.mint_with(json!({ "app": "*", "environment": "production", "expires_in": "1h" })).secret;
    assert_eq!(gateway.ask(with("blog.localhost", &everywhere)).status, 200);
    assert_eq!(gateway.ask(with("shop.localhost", &everywhere)).status, 200);
    gateway.ask(with("shop.dev.localhost", &everywhere)).refused(403, "wrong_environment");
}

#[test]
fn external_access_waits_for_a_first_token_unless_it_is_fixed() {
    let app = App::echo();
    let development = "apps.shop.environments.development";
    let gateway = Setup::new(&app).set(development, "external_access", "\"on\"").start();
    let state = || {
        let environments = gateway.admin("GET /v1/apps/shop", None).json()["environments"].clone();
        ["development", "production"].map(|name| {
            let all = environments.as_array().unwrap();
            let found = all.iter().find(|environment| environment["name"] == name).unwrap();
            found["external_access"]["open"].as_bool().unwrap()
        })
    };
    assert_eq!(state(), [true, false]);
    let token = gateway.mint("production").secret;
    assert_eq!(state(), [true, true]);
    assert_eq!(gateway.ask(with("shop.localhost", &token)).status, 200);
}

#[test]
fn the_first_code_that_applies_answers() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "body_bytes", "10").start();
    let token = gateway.mint("production").secret;
    let twice = |host| {
        let fields = [("Host", host), ("X-Portcullis-Token", &*token), ("X-Portcullis-Token", "x")];
        request("GET /", &fields)
    };
    gateway.ask(twice("elsewhere.localhost")).refused(400, "invalid_request");
    gateway.ask(twice("shop.localhost")).refused(400, "invalid_request");
    gateway.ask(request("GET /", &[("Host", "elsewhere.localhost")])).refused(404, "unknown_host");
    gateway.ask(with("elsewhere.localhost", "x")).refused(404, "unknown_host");
    // Whether a body would be taken is told to those who may send one.
    let large = [("Content-Length", "11")];
    gateway.ask(request("POST /", &large)).refused(401, "token_missing");
    gateway.ask(request("POST /", &[("Expect", "200-ok")])).refused(401, "token_missing");
    gateway.ask([&b"GET / HTTP/1.0\r\n\r\n"[..]].concat()).refused(404, "unknown_host");
    assert!(app.bytes().is_empty());
}

#[test]
fn a_token_twice_is_a_bad_request_and_says_so() {
    let gateway = Gateway::before(&App::echo());
    let answer = gateway.ask(request("GET /", &[("X-Portcullis-Token", "a"), ("X-Portcullis-Token", "b")]));
    answer.refused(400, "invalid_request");
    assert!(challenge(&answer, "invalid_request"), "{answer:?}");
}

#[test]
fn requests_that_go_no_further() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "body_bytes", "10").start();
    let token = gateway.mint("production").secret;
    let field = ("X-Portcullis-Token", &*token);
    for line in ["TRACE /", "CONNECT /"] {
        let answer = gateway.ask(request(line, &[field]));
        answer.refused(405, "method_not_allowed");
        assert!(answer.get("allow").unwrap().contains("GET"), "{answer:?}");
    }
    gateway.ask(request("GET /", &[field, ("Expect", "200-ok")])).refused(417, "expectation_failed");

    let announced = request("POST /", &[field, ("Content-Length", "11")]);
    gateway.ask([&announced[..], b"hello world"].concat()).refused(413, "body_too_large");
    // An app that waits for the rest of what was refused notices nothing but the end.
    let before = app.requests().len();
    assert_eq!(before, 0);
    let exact = request("POST /", &[field, ("Content-Length", "10")]);
    assert_eq!(gateway.ask([&exact[..], b"helloworld"].concat()).text(), "helloworld");
    let counted = request("POST /", &[field, ("Transfer-Encoding", "chunked")]);
    let chunks = b"6\r\nhello \r\n6\r\nworld!\r\n0\r\n\r\n";
    gateway.ask([&counted[..], chunks].concat()).refused(413, "body_too_large");
}

#[test]
fn a_body_that_does_not_come() {
    let app = App::start(|exchange| {
        exchange.body();
        exchange.answer(b"never");
    });
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"300ms\"").start();
    let token = gateway.mint("production").secret;
    let head = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "10")]);
    let answer = gateway.ask([&head[..], b"abc"].concat());
    answer.refused(408, "request_timeout");
    assert_eq!(answer.get("connection"), Some("close"));
}

#[test]
fn heads_over_the_limits() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("gateway.limits", "header_bytes", "131072")
        .set("gateway.limits", "headers", "20")
        .start();
    let token = gateway.mint("production").secret;
    let bare = |request: Vec<u8>, status: u16, code: &str| {
        let answer = gateway.ask(request);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.get("connection"), Some("close"), "{answer:?}");
        let line =
            until("its access-log line", || gateway.log().into_iter().find(|line| line["code"] == code));
        assert_eq!((&line["status"], &line["code"]), (&json!(status), &json!(code)));
    };
    let long = format!("GET /{}", "a".repeat(70_000));
    bare(request(&long, &[("X-Portcullis-Token", &token)]), 414, "uri_too_long");
    let wide = "a".repeat(140_000);
    bare(request("GET /", &[("X-Portcullis-Token", &token), ("X-Wide", &wide)]), 431, "headers_too_large");
    let many = vec![("X-Many", "a"); 19];
    let fields = [&[("X-Portcullis-Token", &*token)][..], &many].concat();
    bare(request("GET /", &fields), 431, "headers_too_large");
    assert!(app.bytes().is_empty());
    let fields = [&[("X-Portcullis-Token", &*token)][..], &many[..18]].concat();
    assert_eq!(gateway.ask(request("GET /", &fields)).status, 200);
    let long = format!("GET /{}", "a".repeat(60_000));
    assert_eq!(gateway.ask(request(&long, &[("X-Portcullis-Token", &token)])).status, 200);
}

#[test]
fn apps_that_fail() {
    let app = App::start(|exchange| {
        match exchange.head.target() {
            "/silent" => {
                exchange.wire.wait_for_end();
            }
            "/garbage" => {
                exchange.send("this is not HTTP\r\n\r\n");
            }
            "/two-lengths" => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
            }
            "/switch" => {
                exchange
                    .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
            }
            _ => {}
        }
        exchange.close();
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Setup::new(&app)
        .set("apps.shop.environments.production", "timeouts", "{ response_header = \"300ms\" }")
        .set("apps.shop.environments.development", "upstreams", &format!("[\"http://{closed}\"]"))
        .start();
    let token = gateway.mint("production").secret;
    for (path, status, code) in [
        ("/gone", 502, "upstream_unreachable"),
        ("/garbage", 502, "upstream_invalid"),
        ("/two-lengths", 502, "upstream_invalid"),
        ("/switch", 502, "upstream_invalid"),
        ("/silent", 504, "upstream_timeout"),
    ] {
        let answer = gateway.ask(request(&format!("GET {path}"), &[("X-Portcullis-Token", &token)]));
        answer.refused(status, code);
    }
    let token = gateway.mint("development").secret;
    gateway.ask(with("shop.dev.localhost", &token)).refused(502, "upstream_unreachable");
}

#[test]
fn an_app_that_takes_no_connection_in_time() {
    // A listener that never accepts, its queue filled: what else comes waits.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
    }
    let production = "apps.shop.environments.production";
    let gateway = Setup::new(&App::echo())
        .set(production, "upstreams", &format!("[\"http://{address}\"]"))
        .set(production, "timeouts", "{ connect = \"300ms\" }")
        .start();
    let token = gateway.mint("production").secret;
    gateway.ask(with("shop.localhost", &token)).refused(504, "upstream_timeout");
}

#[test]
fn an_address_that_guesses_is_told_to_wait() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "auth_failures_per_minute", "3").start();
    let token = gateway.mint("production").secret;
    for _ in 0..5 {
        gateway.ask(request("GET /", &[])).refused(401, "token_missing");
    }
    for _ in 0..3 {
        gateway.ask(with("shop.localhost", NEVER_MINTED)).refused(401, "token_unknown");
    }
    let answer = gateway.ask(with("shop.localhost", NEVER_MINTED));
    answer.refused(429, "rate_limited");
    let wait: u32 = answer.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    // Only what is unknown is slowed down: those with a token share the address.
    assert_eq!(gateway.ask(with("shop.localhost", &token)).status, 200);
    gateway.ask(with("shop.dev.localhost", &token)).refused(403, "wrong_environment");
}

#[test]
fn a_refusal_leaves_the_connection_in_use() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("GET /", &[]));
    wire.answer().refused(401, "token_missing");
    wire.send(request("HEAD /", &[]));
    let head = wire.head().unwrap().unwrap();
    assert_eq!(head.status(), 401);
    assert!(head.get("content-length").unwrap().parse::<u32>().unwrap() > 0);
    let body = request("POST /", &[("Content-Length", "5")]);
    wire.send([&body[..], b"hello"].concat());
    wire.answer().refused(401, "token_missing");
    wire.send(with("shop.localhost", &token));
    assert_eq!(wire.answer().status, 200);
    let ids = app.only();
    assert_eq!(ids.head.line, "GET / HTTP/1.1");
}

#[test]
fn the_gateways_own_paths_are_on_every_host() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    for host in ["shop.localhost", "elsewhere.localhost", "127.0.0.1:80"] {
        let answer = gateway.ask(request("GET /.portcullis/healthz", &[("Host", host)]));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.get("x-request-id").is_some());
        gateway
            .ask(request("POST /.portcullis/healthz", &[("Host", host)]))
            .refused(405, "method_not_allowed");
        gateway.ask(request("GET /.portcullis/other", &[("Host", host)])).refused(404, "not_found");
    }
    assert!(app.bytes().is_empty());
    // Only that prefix is taken from the app.
    let token = gateway.mint("production").secret;
    for path in ["/.portcullis", "/.portcullisx/", "/a/.portcullis/healthz"] {
        let answer = gateway.ask(request(&format!("GET {path}"), &[("X-Portcullis-Token", &token)]));
        assert_eq!(answer.text(), "hello", "{path}");
    }
}
