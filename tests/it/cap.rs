//! `connections`: the most connections to an app, however many workers and requests there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Setup;
use crate::support::modern::{Modern, Script, Settings};
use crate::support::until;
use crate::support::websocket::{agree, wish};
use crate::support::wire::request;

#[test]
fn requests_share_the_connections_there_may_be() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let app = App::start(move |exchange| {
        let busy = now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(busy, Ordering::SeqCst);
        thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        exchange.answer(b"hi");
    });
    let gateway = Setup::new(&app).both("connections", "2").start();
    let token = gateway.mint("production").secret;
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut wire = gateway.connect();
                for _ in 0..20 {
                    wire.send(with_token("GET /", "shop.localhost", &token));
                    let answer = wire.answer();
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
    assert_eq!(app.requests().len(), 320);
    assert!(most.load(Ordering::SeqCst) <= 2);
}

#[test]
fn who_waits_too_long_is_told_to_come_back() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let app = App::start(move |exchange| {
        while held.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_err() {
            thread::yield_now();
        }
        exchange.answer(b"hi");
    });
    let gateway =
        Setup::new(&app).both("connections", "1").both("timeouts", "{ connect = \"100ms\" }").start();
    let token = gateway.mint("production").secret;
    let mut first = gateway.connect();
    first.send(with_token("GET /", "shop.localhost", &token));
    app.wait_for(1);
    let answer = gateway.ask(with_token("GET /", "shop.localhost", &token));
    answer.refused(503, "upstream_unavailable");
    assert_eq!(answer.get("retry-after"), Some("1"));
    // Being busy is not being unwell.
    let shown = gateway.admin("GET /v1/apps/shop", None).text().to_owned();
    assert!(!shown.contains("\"healthy\":false"), "{shown}");
    gate.add_permits(2);
    assert_eq!(first.answer().text(), "hi");
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).text(), "hi");
}

#[test]
fn one_http2_connection_can_be_all_there_is() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let settings = Settings { streams: Some(4), ..Settings::default() };
    let app = Modern::start(settings, move |_| Script::new(200, "hi").after(&held));
    let gateway = Setup::with_upstreams(&[&format!("h2c://{}", app.address)])
        .both("connections", "1")
        .set("gateway", "workers", "1")
        .start();
    let token = gateway.mint("production").secret;
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let answer = gateway.ask(with_token("GET /", "shop.localhost", &token));
                assert_eq!((answer.status, answer.text()), (200, "hi"));
            });
        }
        until("four at the app", || (app.requests().len() == 4).then_some(()));
        gate.add_permits(12);
    });
    assert_eq!((app.connections(), app.requests().len()), (1, 12));
}

#[test]
fn workers_give_way_to_each_other() {
    let app = Modern::echo(Settings::default());
    let gateway =
        Setup::with_upstreams(&[&format!("h2c://{}", app.address)]).both("connections", "1").start();
    let token = gateway.mint("production").secret;
    // Connections go to both workers by turns, and each keeps at it.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut wire = gateway.connect();
                for _ in 0..60 {
                    wire.send(with_token("GET /", "shop.localhost", &token));
                    let answer = wire.answer();
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
    assert_eq!(app.requests().len(), 360);
}

/// Which has a connection of its own.
#[test]
fn an_upgrade_takes_the_place_of_a_connection_that_is_idle() {
    let app = App::start(|exchange| match exchange.head.target() {
        "/chat" => {
            agree(exchange, "");
            exchange.wire.wait_for_end();
            exchange.close();
        }
        _ => exchange.answer(b"hi"),
    });
    // An idle connection is kept for longer than this.
    let gateway = Setup::new(&app)
        .set("gateway", "workers", "1")
        .both("connections", "1")
        .both("timeouts", "{ connect = \"1s\" }")
        .start();
    let token = gateway.mint("production").secret;
    for _ in 0..2 {
        assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 200);
        let mut wire = gateway.connect();
        wire.send(request("GET /chat", &wish(&token)));
        assert_eq!(wire.head().unwrap().unwrap().status(), 101);
    }
}

#[test]
fn who_waits_goes_with_the_secrets_of_then() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let app = App::start(move |exchange| {
        while held.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_err() {
            thread::yield_now();
        }
        exchange.answer(b"hi");
    });
    let gateway = Setup::new(&app)
        .both("connections", "1")
        .set("apps.shop.environments.production", "upstream_auth", "\"bearer $Secret{KEY}\"")
        .start();
    let set = |value: &str| {
        let answer = gateway.admin("PUT /v1/secrets/KEY", Some(json!({ "value": value })));
        assert!(answer.status < 300, "{answer:?}");
    };
    set("first-value");
    let token = gateway.mint("production").secret;
    let ask = || {
        let mut wire = gateway.connect();
        wire.send(with_token("GET /", "shop.localhost", &token));
        wire
    };
    let in_flight = |count: f64| {
        until("requests in flight", || {
            let name = "requests_in_flight{app=\"shop\",environment=\"production\"}";
            (gateway.metrics().of(name) == count).then_some(())
        });
    };
    let mut first = ask();
    app.wait_for(1);
    let mut second = ask();
    in_flight(2.0);
    set("second-value");
    gate.add_permits(1);
    assert_eq!(first.answer().text(), "hi");
    app.wait_for(2);
    let mut third = ask();
    in_flight(2.0);
    assert_eq!(gateway.admin("POST /v1/secrets/KEY/revoke", None).status, 200);
    gate.add_permits(1);
    assert_eq!(second.answer().text(), "hi");
    third.answer().refused(502, "secret_unavailable");
    let got: Vec<_> =
        app.requests().iter().map(|request| request.head.get("authorization").unwrap().to_owned()).collect();
    assert_eq!(got, ["Bearer first-value", "Bearer second-value"]);
}
