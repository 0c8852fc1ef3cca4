//! The limits of `[gateway.limits]`, each of them over HTTP/1.1 and HTTP/2, in the clear and over TLS.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::gateway::{Gateway, Setup};
use crate::support::until;
use crate::support::way::{HOST, Talk, Way};
use crate::support::websocket::agree;

const HEALTH: (&str, &str) = ("GET", "/.portcullis/healthz");
const TOKEN: &str = "x-portcullis-token";

/// A gateway that is reached in all ways, and who issued its certificate.
struct Site {
    gateway: Gateway,
    authority: Authority,
}

impl Site {
    fn new(app: &App, limits: &[(&str, &str)]) -> Self {
        let authority = Authority::new();
        authority.write("shop", &[HOST]);
        let mut setup = Setup::new(app).and(&authority.entry("127.0.0.1:0", "shop"));
        for (key, value) in limits {
            setup = setup.set("gateway.limits", key, value);
        }
        Self { gateway: setup.start(), authority }
    }

    #[track_caller]
    fn connect(&self, way: Way) -> Talk {
        way.connect(&self.gateway, &self.authority)
    }

    /// Waits for the access-log line of a path.
    fn logged(&self, path: &str) -> Value {
        until(path, || self.gateway.log().into_iter().find(|line| line["path"] == path))
    }

    /// Does the same in all ways at once.
    fn each_way(&self, test: impl Fn(Way) + Sync) {
        let test = &test;
        thread::scope(|scope| {
            Way::ALL.map(|way| scope.spawn(move || test(way))).map(|way| way.join().unwrap())
        });
    }
}

#[test]
fn connections() {
    let site = Site::new(&App::echo(), &[("connections", "2")]);
    let health = |talk: &mut Talk| talk.ask(HEALTH, &[], b"", true).status;
    for way in Way::ALL {
        let (mut first, mut second) = (site.connect(way), site.connect(way));
        assert_eq!((health(&mut first), health(&mut second)), (200, 200));
        thread::scope(|scope| {
            let third = scope.spawn(|| health(&mut site.connect(way)));
            thread::sleep(Duration::from_millis(200));
            assert!(!third.is_finished(), "{way:?}");
            assert_eq!(health(&mut first), 200);
            drop(second);
            assert_eq!(third.join().unwrap(), 200, "{way:?}");
        });
    }
}

#[test]
fn header_timeout() {
    let app = App::echo();
    let site = Site::new(&app, &[("header_timeout", "\"600ms\"")]);
    site.each_way(|way| {
        let mut silent = way.connect_in_silence(&site.gateway, &site.authority);
        let mut half = site.connect(way);
        half.half_a_head();
        let mut later = site.connect(way);
        assert_eq!(later.ask(HEALTH, &[], b"", true).status, 200);
        later.half_a_head();
        later.wait_for_end();
        half.wait_for_end();
        silent.wait_for_end();
    });
    assert_eq!(app.connections(), 0);
}

#[test]
fn idle_timeout() {
    let app = App::start(|exchange| {
        match exchange.head.target() {
            "/" => return exchange.answer(b"hello"),
            "/body" => return exchange.wire.wait_for_end(),
            path if path.starts_with("/tunnel") => agree(exchange, ""),
            _ => drop(exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")),
        }
        while exchange.send([b'x'; 65_536]) {}
        exchange.close();
    });
    let site = Site::new(&app, &[("idle_timeout", "\"700ms\"")]);
    let token = site.gateway.mint("production").secret;
    let field = [(TOKEN, token.as_str())];
    site.each_way(|way| {
        let name = format!("{}{}", if way.http2 { "2" } else { "1" }, if way.tls { "s" } else { "" });
        let (mut idle, mut body) = (site.connect(way), site.connect(way));
        let (mut deaf, mut tunnel) = (site.connect(way), site.connect(way));
        assert_eq!(idle.ask(("GET", "/"), &field, b"", true).status, 200);
        deaf.begin(&format!("/large-{name}"), &field);
        tunnel.begin_tunnel(&format!("/tunnel-{name}"), &field);
        assert_eq!(body.half_a_body("/body", &field), 408, "{way:?}");
        idle.wait_for_end();
        let line = site.logged(&format!("/large-{name}"));
        assert_eq!((&line["ended"], &line["status"]), (&"client_gone".into(), &200.into()), "{line}");
        let path = format!("/tunnel-{name}");
        // That it still speaks does not help a client that takes nothing.
        let ended = until("the end of the tunnel", || {
            tunnel.say(b"still here");
            thread::sleep(Duration::from_millis(50));
            site.gateway.log().into_iter().find(|line| line["path"] == path.as_str())
        });
        assert_eq!(ended["ended"], "client_gone", "{ended}");
    });
}

#[test]
fn header_bytes_headers_and_body_bytes() {
    let app = App::echo();
    let limits = [("header_bytes", "8192"), ("headers", "20"), ("body_bytes", "1000")];
    let site = Site::new(&app, &limits);
    let token = site.gateway.mint("production").secret;
    let field = (TOKEN, token.as_str());
    site.each_way(|way| {
        let get = |fields: &[(&str, &str)]| {
            let fields = [fields, &[field]].concat();
            site.connect(way).ask(("GET", "/"), &fields, b"", true).status
        };
        assert_eq!((get(&[("x-a", "b"); 15]), get(&[("x-a", "b"); 30])), (200, 431), "{way:?}");
        let (fits, over) = ("x".repeat(7_000), "x".repeat(8_192));
        assert_eq!((get(&[("x-long", &fits)]), get(&[("x-long", &over)])), (200, 431), "{way:?}");
        for announced in [true, false] {
            let post = |body: &[u8]| site.connect(way).ask(("POST", "/"), &[field], body, announced);
            assert_eq!(post(&[b'x'; 1_000]).body.len(), 1_000, "{way:?}");
            post(&[b'x'; 1_001]).refused(413, "body_too_large");
        }
    });
    assert!(app.requests().iter().all(|request| request.body.len() <= 1_000));
}

#[test]
fn auth_failures_per_minute() {
    let app = App::echo();
    let site = Site::new(&app, &[("auth_failures_per_minute", "4")]);
    let token = site.gateway.mint("production").secret;
    let ask = |way: Way, token: &str| site.connect(way).ask(("GET", "/"), &[(TOKEN, token)], b"", true);
    for way in Way::ALL {
        ask(way, "nonsense").refused(401, "token_unknown");
    }
    for way in Way::ALL {
        let refused = ask(way, "nonsense");
        refused.refused(429, "rate_limited");
        assert!(refused.get("retry-after").is_some(), "{way:?}");
        assert_eq!(ask(way, &token).status, 200, "{way:?}: a valid token is never slowed");
    }
}
