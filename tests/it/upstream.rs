//! The ways to an app: schemes, protocols, and what happens where one of several apps cannot be reached.

use std::sync::Arc;
use std::thread;

use http::Version;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::modern::{Modern, Script, Settings};
use crate::support::until;
use crate::support::wire::request;

fn h2c(app: &Modern) -> String {
    format!("h2c://{}", app.address)
}

/// `app show`'s own answer about the upstreams of `production`.
fn shown(gateway: &Gateway) -> Vec<Value> {
    let app = gateway.admin("GET /v1/apps/shop", None).json();
    let production = app["environments"].as_array().unwrap().iter().find(|seen| seen["name"] == "production");
    production.unwrap()["upstreams"].as_array().unwrap().clone()
}

#[test]
fn h2c_carries_requests_whole_and_many_at_once() {
    let app = Modern::echo(Settings::default());
    let gateway = Setup::with_upstreams(&[&h2c(&app)]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    let fields = [
        ("X-Portcullis-Token", token.as_str()),
        ("Host", "shop.localhost:8080"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("TE", "trailers, deflate"),
        ("grpc-timeout", "100m"),
        ("Content-Length", "5"),
    ];
    let answer = gateway.ask([request("POST /a?b=c", &fields), b"hello".to_vec()].concat());
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    let seen = app.only();
    assert_eq!(
        (seen.version, seen.uri.to_string()),
        (Version::HTTP_2, "http://shop.localhost:8080/a?b=c".into())
    );
    for (name, value) in [
        ("host", None),
        ("connection", None),
        ("transfer-encoding", None),
        ("x-hop", None),
        ("te", Some("trailers")),
        ("grpc-timeout", Some("100m")),
        ("content-length", Some("5")),
        ("x-forwarded-host", Some("shop.localhost:8080")),
    ] {
        assert_eq!(seen.headers.get(name).map(|value| value.to_str().unwrap()), value, "{name}");
    }
    thread::scope(|scope| {
        for _ in 0..20 {
            scope
                .spawn(|| assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 200));
        }
    });
    assert_eq!(app.connections(), 1);
    let line = gateway.logged(answer.get("x-request-id").unwrap());
    assert_eq!(line["upstream"], h2c(&app));
}

#[test]
fn trailers_pass_both_ways() {
    let app = Modern::start(Settings::default(), |_| {
        Script::new(200, "hi").field("trailer", "grpc-status").trailer("grpc-status", "7")
    });
    let gateway = Setup::with_upstreams(&[&h2c(&app)]).start();
    let token = gateway.mint("production").secret;
    let fields = [
        ("X-Portcullis-Token", token.as_str()),
        ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", "x-checksum"),
    ];
    let mut wire = gateway.connect();
    wire.send([request("POST /", &fields), b"3\r\nabc\r\n0\r\nx-checksum: 9\r\n\r\n".to_vec()].concat());
    let head = wire.head().unwrap().unwrap();
    assert_eq!((head.status(), head.get("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(wire.chunk().unwrap(), b"hi");
    assert!(wire.chunk().unwrap().is_empty());
    assert_eq!(wire.trailers().unwrap(), ["grpc-status: 7"]);
    let seen = app.only();
    assert_eq!(&seen.body[..], b"abc");
    assert_eq!(seen.trailers.unwrap()["x-checksum"], "9");
}

#[test]
fn a_client_that_goes_away_resets_its_stream_and_no_other() {
    let app = Modern::start(Settings::default(), |seen| match seen.uri.path() {
        "/endless" => Script::new(200, "begin").endless(),
        _ => Script::new(200, "whole"),
    });
    let gateway = Setup::with_upstreams(&[&h2c(&app)]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(with_token("GET /endless", "shop.localhost", &token));
    assert_eq!(wire.head().unwrap().unwrap().status(), 200);
    assert_eq!(wire.chunk().unwrap(), b"begin");
    assert_eq!(app.broken_off(), 0);
    drop(wire);
    until("the reset", || (app.broken_off() == 1).then_some(()));
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).text(), "whole");
    assert_eq!(app.connections(), 1);
}

#[test]
fn an_app_that_takes_little_at_once_gets_more_connections() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let settings = Settings { streams: Some(2), ..Settings::default() };
    let app = Modern::start(settings, move |seen| match seen.uri.path() {
        "/held" => Script::new(200, "held").after(&held),
        _ => Script::new(200, "free"),
    });
    let gateway = Setup::with_upstreams(&[&h2c(&app)]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).text(), "free");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(gateway.ask(with_token("GET /held", "shop.localhost", &token)).text(), "held")
            });
        }
        // None of them waits for another: all four are there at once.
        until("all of them at the app", || (app.requests().len() == 5).then_some(()));
        gate.add_permits(4);
    });
    assert!(app.connections() >= 2);
}

#[test]
fn an_app_that_says_goodbye_loses_no_request() {
    let app = Modern::echo(Settings::default());
    let gateway = Setup::with_upstreams(&[&h2c(&app)]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for round in 1..=5 {
        for _ in 0..5 {
            let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "2")]);
            assert_eq!(gateway.ask([post, b"ab".to_vec()].concat()).text(), "ab");
        }
        assert_eq!(app.requests().len(), round * 5);
        app.say_goodbye();
    }
    assert!(app.connections() > 1);
}

#[test]
fn what_does_not_speak_http2_is_no_valid_answer() {
    let app = App::echo();
    let gateway = Setup::with_upstreams(&[&format!("h2c://{}", app.address)]).start();
    let token = gateway.mint("production").secret;
    let answer = gateway.ask(with_token("GET /", "shop.localhost", &token));
    answer.refused(502, "upstream_invalid");
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("shop"));
}

#[test]
fn a_name_is_resolved_and_localhost_needs_no_resolver() {
    let app = App::echo();
    let port = app.address.port();
    // Every resolver reads this as 127.0.0.1, but it is no address as they are usually written.
    for host in ["127.1", "localhost"] {
        let gateway = Setup::with_upstreams(&[&format!("http://{host}:{port}")]).start();
        let token = gateway.mint("production").secret;
        assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 200, "{host}");
    }
    let gateway = Setup::with_upstreams(&["http://no-such-host.invalid"]).start();
    let token = gateway.mint("production").secret;
    gateway.ask(with_token("GET /", "shop.localhost", &token)).refused(502, "upstream_unreachable");
}

#[test]
fn a_dead_upstream_is_left_out_and_let_in_again() {
    let app = App::echo();
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = reserved.local_addr().unwrap();
    drop(reserved);
    let urls = [format!("http://{dead}"), app.url()];
    let gateway = Setup::with_upstreams(&[&urls[0], &urls[1]]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    assert!(shown(&gateway).iter().all(|upstream| upstream["healthy"] == true));
    // Whether it can be repeated or not: nothing of it was sent to the one that is dead.
    for _ in 0..10 {
        let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "2")]);
        assert_eq!(gateway.ask([post, b"ab".to_vec()].concat()).text(), "ab");
    }
    let upstreams = shown(&gateway);
    assert_eq!((&upstreams[0]["url"], &upstreams[0]["healthy"]), (&urls[0].as_str().into(), &false.into()));
    assert_eq!((&upstreams[0]["retries"], &upstreams[0]["in_flight"]), (&3.into(), &0.into()));
    assert_eq!((&upstreams[1]["healthy"], &upstreams[1]["retries"]), (&true.into(), &0.into()));
    let shown_to_people = gateway.cli(&["app", "show", "shop"]).stdout;
    assert!(shown_to_people.contains(&format!("{} (unhealthy)", urls[0])), "{shown_to_people}");

    let revived = std::net::TcpListener::bind(dead).unwrap();
    thread::spawn(move || {
        for stream in revived.incoming() {
            let mut wire = crate::support::wire::Wire::new(stream.unwrap());
            while let Ok(Some(_)) = wire.head() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrevived");
            }
        }
    });
    until("a trial", || {
        let answer = gateway.ask(with_token("GET /", "shop.localhost", &token));
        assert_eq!(answer.status, 200);
        (answer.text() == "revived").then_some(())
    });
    assert!(shown(&gateway).iter().all(|upstream| upstream["healthy"] == true));
}

#[test]
fn the_last_upstream_is_tried_however_often_it_failed() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = reserved.local_addr().unwrap();
    drop(reserved);
    let gateway = Setup::with_upstreams(&[&format!("http://{dead}")]).start();
    let token = gateway.mint("production").secret;
    for _ in 0..5 {
        gateway.ask(with_token("GET /", "shop.localhost", &token)).refused(502, "upstream_unreachable");
    }
    let _revived = std::net::TcpListener::bind(dead).map(|listener| {
        thread::spawn(move || {
            let mut wire = crate::support::wire::Wire::new(listener.accept().unwrap().0);
            let _ = wire.head();
            wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        })
    });
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 204);
}

#[test]
fn an_answer_is_an_answer_even_if_it_is_503() {
    let busy = App::start(|exchange| {
        exchange.body();
        exchange.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    });
    let gateway =
        Setup::with_upstreams(&[&busy.url(), &busy.url().replace("127.0.0.1", "localhost")]).start();
    let token = gateway.mint("production").secret;
    for count in 1..=8 {
        assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).text(), "busy");
        assert_eq!(busy.requests().len(), count);
    }
    assert!(shown(&gateway).iter().all(|upstream| upstream["healthy"] == true && upstream["retries"] == 0));
}

#[test]
fn a_request_that_dies_unanswered_goes_to_the_next_upstream_where_that_is_safe() {
    let (dying, well) = (App::start(|exchange| exchange.close()), App::echo());
    let gateway = Setup::with_upstreams(&[&dying.url(), &well.url()]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 200);
    // In turn, and each connection to the one that dies is new.
    assert_eq!((dying.requests().len(), well.requests().len()), (1, 1));
    let post = with_token("POST /", "shop.localhost", &token);
    let statuses = [gateway.ask(&post).status, gateway.ask(&post).status];
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    assert_eq!((dying.requests().len(), well.requests().len()), (2, 2));
    let alone = Setup::with_upstreams(&[&dying.url()]).start();
    let token = alone.mint("production").secret;
    alone.ask(with_token("GET /", "shop.localhost", &token)).refused(502, "upstream_unreachable");
    assert_eq!(dying.requests().len(), 3);
}
