//! Health checks: an app that is not well gets no request until it is well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::modern::{Modern, Script, Settings};
use crate::support::until;

const OFTEN: &str =
    "{ path = \"/up?deep\", interval = \"50ms\", timeout = \"1s\", unhealthy_after = 2, healthy_after = 2 }";

/// An app whose health is up to the test.
fn moody(name: &'static str) -> (App, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let asked = well.clone();
    let app = App::start(move |exchange| match exchange.head.target() {
        "/up?deep" if !asked.load(Ordering::SeqCst) => {
            exchange.send("HTTP/1.1 500 Unwell\r\nContent-Length: 0\r\n\r\n");
        }
        // Redirections count as well.
        "/up?deep" => drop(exchange.send("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")),
        _ => exchange.answer(name.as_bytes()),
    });
    (app, well)
}

fn healthy(gateway: &Gateway) -> Vec<bool> {
    let app = gateway.admin("GET /v1/apps/shop", None).json();
    let production = app["environments"].as_array().unwrap().iter().find(|seen| seen["name"] == "production");
    let upstreams = production.unwrap()["upstreams"].as_array().unwrap().clone();
    upstreams.iter().map(|upstream| upstream["healthy"].as_bool().unwrap()).collect()
}

#[track_caller]
fn wait_for(gateway: &Gateway, expected: &[bool]) {
    until(&format!("health {expected:?}"), || (healthy(gateway) == expected).then_some(()));
}

#[test]
fn what_is_down_gets_no_request_until_it_is_up() {
    let ((one, one_is_well), (two, two_is_well)) = (moody("one"), moody("two"));
    let gateway = Setup::with_upstreams(&[&one.url(), &two.url()]).both("health_check", OFTEN).start();
    let token = gateway.mint("production").secret;
    let ask = || gateway.ask(with_token("GET /", "shop.localhost", &token));
    wait_for(&gateway, &[true, true]);
    one_is_well.store(false, Ordering::SeqCst);
    wait_for(&gateway, &[false, true]);
    assert!((0..10).all(|_| ask().text() == "two"));
    two_is_well.store(false, Ordering::SeqCst);
    wait_for(&gateway, &[false, false]);
    let answer = ask();
    answer.refused(503, "upstream_unavailable");
    assert!(answer.get("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    one_is_well.store(true, Ordering::SeqCst);
    wait_for(&gateway, &[true, false]);
    assert!((0..10).all(|_| ask().text() == "one"));
    gateway.wait_for_words("is up: its health check succeeds");
    assert!(gateway.stderr().contains("is down: its health check fails: the answer was 500"));

    let asked = one.requests().into_iter().find(|request| request.head.target() == "/up?deep").unwrap().head;
    assert!(asked.line.starts_with("GET "), "{asked:?}");
    assert!(["shop.localhost", "shop.dev.localhost"].contains(&asked.get("host").unwrap()), "{asked:?}");
}

#[test]
fn an_app_that_does_not_answer_its_check_is_down() {
    let app = App::start(|exchange| match exchange.head.target() {
        "/up?deep" => exchange.wire.wait_for_end(),
        _ => exchange.answer(b"hi"),
    });
    let check = OFTEN.replace("1s", "20ms");
    let gateway = Setup::new(&app).both("health_check", &check).start();
    wait_for(&gateway, &[false]);
    gateway.wait_for_words("no answer in time");
}

#[test]
fn checks_take_the_way_that_requests_take() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    for protocols in [Some(&["h2", "http/1.1"][..]), Some(&["http/1.1"]), None] {
        let tls = protocols.map(|protocols| issued.server(protocols));
        let scheme = if tls.is_some() { "https" } else { "h2c" };
        let app = Modern::start(Settings { tls, ..Settings::default() }, |seen| {
            Script::new(if seen.uri.path() == "/up" { 200 } else { 404 }, "")
        });
        let url = format!("{scheme}://localhost:{}", app.address.port());
        let mut setup = Setup::with_upstreams(&[&url]).both("health_check", &OFTEN.replace("?deep", ""));
        if scheme == "https" {
            setup = setup.both("upstream_ca", "\"ca.pem\"");
        }
        let gateway = setup.start_beside("ca.pem", &authority.pem);
        until("a few checks", || (app.requests().len() >= 6).then_some(()));
        assert_eq!(healthy(&gateway), [true], "{protocols:?}");
        let seen = app.requests()[0].clone();
        let host = seen
            .uri
            .host()
            .map(str::to_owned)
            .or_else(|| Some(seen.headers.get("host")?.to_str().unwrap().into()));
        assert!(host.unwrap().ends_with("localhost"), "{seen:?}");
    }
}
