//! From the mint of a token to its end, with whatever it has in flight, and over restarts.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::{attempt, with_token};
use crate::support::gateway::{Gateway, Setup};
use crate::support::websocket;
use crate::support::wire::{Wire, request};
use crate::support::{PATIENCE, until};

const PRODUCTION: &str = "shop.localhost";
const DEVELOPMENT: &str = "shop.dev.localhost";

#[test]
fn a_token_minted_over_the_command_line_opens_its_environment_at_once_and_no_other() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let mint = |environment: &str| {
        let line = ["token", "create", "--app", "shop", "--environment", environment, "--expires", "7d"];
        let ran = gateway.cli(&[&line[..], &["--quiet"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout.trim_end().to_owned()
    };
    for (environment, own, other) in
        [("production", PRODUCTION, DEVELOPMENT), ("development", DEVELOPMENT, PRODUCTION)]
    {
        let token = mint(environment);
        assert_eq!(gateway.ask(with_token("GET /", own, &token)).status, 200);
        let refused = gateway.ask(with_token("GET /", other, &token));
        assert_eq!((refused.status, refused.code().as_str()), (403, "wrong_environment"));
    }
    assert_eq!(app.requests().len(), 2);
}

#[test]
fn a_token_for_every_app_opens_each_in_its_environment() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let token =
        gateway.mint_with(json!({ "app": "*", "environment": "production", "expires_in": "1h" })).secret;
    for host in [PRODUCTION, "blog.localhost"] {
        assert_eq!(gateway.ask(with_token("GET /", host, &token)).status, 200, "{host}");
    }
    assert_eq!(gateway.ask(with_token("GET /", DEVELOPMENT, &token)).code(), "wrong_environment");
}

#[test]
fn expiry_ends_what_waits_and_what_runs() {
    let (app, ends) = slow_app();
    let gateway = Gateway::before(&app);
    let expires = Timestamp::now() + Duration::from_secs(4);
    let body = json!({ "app": "shop", "environment": "production", "expires_at": expires.to_string() });
    let token = gateway.mint_with(body).secret;
    let mut running = download(&gateway, "/length", &token);
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /wait", PRODUCTION, &token));
    app.wait_for(2);
    assert!(Timestamp::now() < expires, "this machine was too slow to test anything");

    let answer = waiting.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_expired"));
    assert!(Timestamp::now() >= expires);
    assert_truncated(&mut running);
    assert_ended(&ends, ["/length", "/wait"]);
    assert_eq!(gateway.ask(with_token("GET /", PRODUCTION, &token)).code(), "token_expired");
}

#[test]
fn a_revocation_ends_everything_the_token_has_in_flight_and_nothing_else() {
    let (app, ends) = slow_app();
    let gateway = Gateway::before(&app);
    let (lost, kept) = (gateway.mint("production"), gateway.mint("production"));
    let mut other = download(&gateway, "/length", &kept.secret);
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /wait", PRODUCTION, &lost.secret));
    let mut running =
        ["/length", "/chunked", "/until-close"].map(|path| download(&gateway, path, &lost.secret));
    let mut socket = websocket(&gateway, &lost.secret);
    socket.send("ping");
    assert_eq!(socket.take(4).unwrap(), b"ping");
    app.wait_for(6);

    let receipt = gateway.revoke(&lost.id);
    assert_eq!(receipt["ended"], json!({ "requests": 1, "streams": 4 }));
    assert_eq!(receipt["token"]["status"], "revoked");
    // The receipt is the proof that it is over: nothing is waited for before the next request.
    let next = gateway.ask(with_token("GET /", PRODUCTION, &lost.secret));
    assert_eq!((next.status, next.code().as_str()), (401, "token_revoked"));
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
    for stream in &mut running {
        assert_truncated(stream);
    }
    socket.wait_for_end();
    assert_ended(&ends, ["/chunked", "/length", "/until-close", "/wait", "/websocket"]);

    let again = gateway.revoke(&lost.id);
    assert_eq!(again["ended"], json!({ "requests": 0, "streams": 0 }));
    assert_eq!(gateway.ask(with_token("GET /", PRODUCTION, &kept.secret)).status, 200);
    assert_eq!(other.take(4).unwrap(), b"tick", "the other token's download goes on");

    let ended = until("the lines of what was ended", || {
        let lines: Vec<_> = gateway.log().into_iter().filter(|line| line["token_id"] == *lost.id).collect();
        // One for each of the five, and one for the request that was refused afterwards.
        (lines.len() == 6).then_some(lines)
    });
    let begun: Vec<_> = ended.iter().filter(|line| line["status"] != 401).collect();
    assert_eq!(begun.len(), 4);
    for line in begun {
        assert_eq!((&line["ended"], &line["code"]), (&json!("revoked"), &json!("ok")), "{line}");
    }
}

#[test]
fn a_revocation_cuts_a_client_that_stopped_reading() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    const LENGTH: usize = 1 << 30;
    let (end, ends) = channel();
    let app = App::start(move |exchange| {
        let block = vec![b'x'; 64 << 10];
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
        while exchange.send(&block) {
            SENT.fetch_add(block.len(), Ordering::Relaxed);
        }
        let _ = end.send(exchange.head.target().to_owned());
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let mut client = gateway.connect();
    client.send(with_token("GET /", PRODUCTION, &token.secret));
    assert_eq!(client.head().unwrap().unwrap().status(), 200);
    let mut last = (0, Instant::now());
    until("everything between the app and the client to be full", || {
        let sent = SENT.load(Ordering::Relaxed);
        if sent != last.0 {
            last = (sent, Instant::now());
        }
        (sent > 0 && last.1.elapsed() > Duration::from_millis(300)).then_some(())
    });

    assert_eq!(gateway.revoke(&token.id)["ended"], json!({ "requests": 0, "streams": 1 }));
    assert_ended(&ends, ["/"]);
    assert_truncated(&mut client);
    assert!(SENT.load(Ordering::Relaxed) < LENGTH);
}

#[test]
fn an_orderly_restart_keeps_everything() {
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    let (kept, lost) = (gateway.mint("production"), gateway.mint("production"));
    gateway.revoke(&lost.id);
    assert_eq!(gateway.ask(with_token("GET /", PRODUCTION, &kept.secret)).status, 200);
    let list = |gateway: &Gateway| gateway.admin("GET /v1/tokens", None).json();
    let before = list(&gateway);

    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    assert!(!gateway.path("portcullis.sock").exists());
    gateway.restart();
    assert_eq!(gateway.ask(with_token("GET /", PRODUCTION, &kept.secret)).status, 200);
    assert_eq!(gateway.ask(with_token("GET /", PRODUCTION, &lost.secret)).code(), "token_revoked");
    let after = list(&gateway);
    let used = &after["items"][1]["last_used_at"];
    assert!(used.is_string(), "an orderly end writes down the last use: {after}");
    let mut expected = before;
    expected["items"][1]["last_used_at"] = used.clone();
    expected["items"][1]["last_used_from"] = json!("127.0.0.1");
    assert_eq!(after, expected);
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    // `make soak` kills hundreds of times.
    let kills = std::env::var("KILLS").map_or(4, |kills| kills.parse().unwrap());
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    for round in 0..kills {
        let acknowledged = AtomicUsize::new(0);
        let enough = fastrand::usize(10..120);
        let ledger = thread::scope(|scope| {
            let busy: Vec<_> = (0..4)
                .map(|_| {
                    let socket = gateway.path("portcullis.sock");
                    let acknowledged = &acknowledged;
                    scope.spawn(move || mint_and_revoke(&socket, acknowledged))
                })
                .collect();
            until("some acknowledgements", || (acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
            gateway.kill();
            busy.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let checked = gateway.cli(&["check"]);
        assert_eq!(checked.code, 0, "round {round}: {checked:?}");
        gateway.restart();
        let mut wire = gateway.connect();
        for (secret, fate) in &ledger {
            wire.send(with_token("GET /", PRODUCTION, secret));
            let answer = wire.answer();
            let code = if answer.status == 200 { "ok".to_owned() } else { answer.code() };
            let allowed: &[&str] = match fate {
                Fate::Minted => &["ok"],
                Fate::RevocationAsked => &["ok", "token_revoked"],
                Fate::Revoked => &["token_revoked"],
            };
            assert!(allowed.contains(&code.as_str()), "round {round}: {code} for {fate:?}");
        }
    }
}

#[test]
fn ten_thousand_mints_in_parallel_give_ten_thousand_tokens() {
    const THREADS: usize = 20;
    const EACH: usize = 500;
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let order = json!({ "app": "shop", "environment": "production", "expires_in": "1h" }).to_string();
    let order =
        [request("POST /v1/tokens", &[("Content-Length", &order.len().to_string())]), order.into_bytes()]
            .concat();
    let minted = Mutex::new(HashMap::new());
    let together = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let stream = UnixStream::connect(gateway.path("portcullis.sock")).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut wire = Wire::new(stream);
                together.wait();
                for _ in 0..EACH {
                    wire.send(&order);
                    let answer = wire.answer();
                    assert_eq!(answer.status, 201, "{answer:?}");
                    let answer = answer.json();
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    let (id, secret) = (text(&answer["token"]["id"]), text(&answer["secret"]));
                    assert!(minted.lock().unwrap().insert(id, secret).is_none(), "an id came twice");
                }
            });
        }
    });
    let minted = minted.into_inner().unwrap();
    let secrets: HashSet<_> = minted.values().collect();
    assert_eq!((minted.len(), secrets.len()), (THREADS * EACH, THREADS * EACH));

    let mut listed: Vec<String> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = gateway.admin(&format!("GET /v1/tokens?limit=500{cursor}"), None).json();
        let ids = page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap());
        listed.extend(ids.map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(listed.is_sorted_by(|newer, older| newer > older), "newest first, none twice");
    assert!(listed.iter().all(|id| minted.contains_key(id)));
    assert_eq!(listed.len(), minted.len());
    let mut wire = gateway.connect();
    for secret in minted.values().take(100) {
        wire.send(with_token("GET /", PRODUCTION, secret));
        assert_eq!(wire.answer().status, 200);
    }
}

/// How far a token of the killed gateway got, as far as its holder was told.
#[derive(Debug)]
enum Fate {
    Minted,
    RevocationAsked,
    Revoked,
}

/// Mints and revokes until nobody answers any more.
fn mint_and_revoke(socket: &std::path::Path, acknowledged: &AtomicUsize) -> Vec<(String, Fate)> {
    let order = json!({ "app": "shop", "environment": "production", "expires_in": "1h" });
    let mut ledger = Vec::new();
    while let Some(answer) = attempt(socket, "POST /v1/tokens", Some(&order)) {
        assert_eq!(answer.status, 201, "{answer:?}");
        acknowledged.fetch_add(1, Ordering::Relaxed);
        let answer = answer.json();
        ledger.push((answer["secret"].as_str().unwrap().to_owned(), Fate::Minted));
        if ledger.len() % 2 == 0 {
            let id = answer["token"]["id"].as_str().unwrap();
            let revoked = attempt(socket, &format!("POST /v1/tokens/{id}/revoke"), None);
            let fate = if let Some(answer) = revoked {
                assert_eq!(answer.status, 200, "{answer:?}");
                acknowledged.fetch_add(1, Ordering::Relaxed);
                Fate::Revoked
            } else {
                Fate::RevocationAsked
            };
            ledger.last_mut().unwrap().1 = fate;
        }
    }
    ledger
}

/// An app that keeps its clients waiting: for an answer, for the rest of one, or in a WebSocket that echoes. It tells
/// the path of each request that was ended from the other side.
fn slow_app() -> (App, Receiver<String>) {
    let (end, ends) = channel();
    let app = App::start(move |exchange| {
        let path = exchange.head.target().to_owned();
        let head = match path.as_str() {
            "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/until-close" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            "/websocket" => {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            }
            "/wait" => "",
            _ => return exchange.answer(b"hello"),
        };
        exchange.send(head);
        let piece = if path == "/chunked" { "4\r\ntick\r\n" } else { "tick" };
        match path.as_str() {
            "/wait" => exchange.wire.wait_for_end(),
            "/websocket" => {
                while let Ok(bytes) = exchange.wire.take(1) {
                    exchange.send(bytes);
                }
            }
            _ => {
                while exchange.send(piece) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        exchange.close();
        let _ = end.send(path);
    });
    (app, ends)
}

/// Begins a download and reads the first of its body. One that ends with its connection is asked for by an HTTP/1.0
/// client, to whom nothing but the manner of the end can say that it was cut.
fn download(gateway: &Gateway, path: &str, token: &str) -> Wire<TcpStream> {
    let mut wire = gateway.connect();
    if path == "/until-close" {
        let head =
            format!("GET {path} HTTP/1.0\r\nHost: {PRODUCTION}\r\nX-Portcullis-Token: {token}\r\n\r\n");
        wire.send(head);
        let head = wire.head().unwrap().unwrap();
        assert!(head.line.contains(" 200 ") && head.get("content-length").is_none(), "{head:?}");
        assert_eq!(head.get("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    } else {
        wire.send(with_token(&format!("GET {path}"), PRODUCTION, token));
        assert_eq!(wire.head().unwrap().unwrap().status(), 200);
    }
    match path {
        "/chunked" => assert!(wire.chunk().unwrap().starts_with(b"tick")),
        _ => assert_eq!(wire.take(4).unwrap(), b"tick"),
    }
    wire
}

fn websocket(gateway: &Gateway, token: &str) -> Wire<TcpStream> {
    let mut wire = gateway.connect();
    wire.send(request("GET /websocket", &websocket::wish(token)));
    assert_eq!(wire.head().unwrap().unwrap().status(), 101);
    wire
}

/// The rest of an answer must not look like its end: a reset, never an orderly close.
#[track_caller]
fn assert_truncated(wire: &mut Wire<TcpStream>) {
    let mut buffer = vec![0; 64 << 10];
    let error = loop {
        match wire.stream.read(&mut buffer) {
            Ok(0) => panic!("the cut looks like an orderly end"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
}

/// The app was told of the end of exactly these.
#[track_caller]
fn assert_ended<const N: usize>(ends: &Receiver<String>, paths: [&str; N]) {
    let mut told: Vec<_> = paths.iter().map(|_| ends.recv_timeout(PATIENCE).unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, paths);
}
