//! The upstreams that a release brings are as good as those of the configuration: with its rules, and over reloads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use http::Version;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::modern::{Modern, Settings};
use crate::support::until;

const HOST: &str = "shop.localhost";
const PATH: &str = "/v1/apps/shop/environments/production/deployments";

#[track_caller]
fn release(gateway: &Gateway, urls: &[&str]) {
    let answer = Caller::operator(gateway)
        .ask(&format!("POST {PATH}"), Some(json!({ "id": "initial", "upstreams": urls })));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[track_caller]
fn reload(gateway: &Gateway) {
    assert_eq!(gateway.admin("POST /v1/reload", None).status, 200);
}

fn named(name: &'static str) -> App {
    App::start(move |exchange| exchange.answer(name.as_bytes()))
}

fn production(gateway: &Gateway) -> Value {
    let app = gateway.admin("GET /v1/apps/shop", None).json();
    let environments = app["environments"].as_array().unwrap().clone();
    environments.into_iter().find(|environment| environment["name"] == "production").unwrap()
}

/// Who answered.
fn answer(gateway: &Gateway, token: &str) -> String {
    let answer = gateway.ask(with_token("GET /", HOST, token));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().to_owned()
}

#[test]
fn a_release_is_believed_by_the_environments_authority_and_keeps_its_connections() {
    let authority = Authority::new();
    let app = Modern::echo(Settings {
        tls: Some(authority.issue(&["localhost"]).server(&["h2"])),
        ..Settings::default()
    });
    let url = format!("https://localhost:{}", app.address.port());
    let mut gateway = Setup::new(&named("listed"))
        .both("upstream_ca", "\"ca.pem\"")
        .set("gateway", "workers", "1")
        .start_beside("ca.pem", &authority.pem);
    let token = gateway.mint("production").secret;
    assert_eq!(answer(&gateway, &token), "listed");
    release(&gateway, &[&url]);
    assert_eq!(answer(&gateway, &token), "");
    reload(&gateway);
    assert_eq!(answer(&gateway, &token), "");
    release(&gateway, &["http://127.0.0.1:1", &url]);
    release(&gateway, &[&url]);
    assert_eq!(answer(&gateway, &token), "");
    let seen = app.requests();
    assert!(seen.len() == 3 && seen.iter().all(|seen| seen.version == Version::HTTP_2), "{seen:?}");
    assert_eq!(app.connections(), 1, "what stays the same is taken over");
    assert_eq!(production(&gateway)["upstreams_from"], "deployment");
    let shown = gateway.cli(&["app", "show", "shop"]).stdout;
    assert!(shown.contains("upstreams (deployment's)") && shown.contains(&url), "{shown}");

    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    gateway.restart();
    assert_eq!((answer(&gateway, &token), app.connections()), (String::new(), 2));
}

#[test]
fn a_release_is_checked_for_its_health_over_reloads() {
    let well = Arc::new(AtomicBool::new(true));
    let asked = well.clone();
    let moody = App::start(move |exchange| match exchange.head.target() {
        "/up" if !asked.load(Ordering::SeqCst) => {
            exchange.send("HTTP/1.1 500 Unwell\r\nContent-Length: 0\r\n\r\n");
        }
        _ => exchange.answer(b"moody"),
    });
    let steady = named("steady");
    let check = "{ path = \"/up\", interval = \"50ms\", unhealthy_after = 1, healthy_after = 1 }";
    let gateway = Setup::new(&named("listed")).both("health_check", check).start();
    let token = gateway.mint("production").secret;
    release(&gateway, &[&moody.url(), &steady.url()]);
    let healthy = || {
        let upstreams = production(&gateway)["upstreams"].as_array().unwrap().clone();
        upstreams.iter().map(|upstream| upstream["healthy"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    until("both to be asked", || {
        let asked = |app: &App| app.requests().iter().any(|request| request.head.target() == "/up");
        (asked(&moody) && asked(&steady)).then_some(())
    });
    assert_eq!(healthy(), [true, true]);
    well.store(false, Ordering::SeqCst);
    until("one to be down", || (healthy() == [false, true]).then_some(()));
    assert!((0..6).all(|_| answer(&gateway, &token) == "steady"));
    reload(&gateway);
    assert_eq!(healthy(), [false, true], "a reload forgets nothing");
    // The other goes: the one that is down is all there is.
    release(&gateway, &[&moody.url()]);
    assert_eq!(healthy(), [false]);
    gateway.ask(with_token("GET /", HOST, &token)).refused(503, "upstream_unavailable");
    well.store(true, Ordering::SeqCst);
    until("it to be up", || (healthy() == [true]).then_some(()));
    assert_eq!(answer(&gateway, &token), "moody");
}

#[test]
fn a_release_gets_no_more_connections_than_the_configuration_allows() {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let app = App::start(move |exchange| {
        let busy = now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(busy, Ordering::SeqCst);
        thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        exchange.answer(b"hi");
    });
    let gateway = Setup::new(&named("listed")).both("connections", "2").start();
    let token = gateway.mint("production").secret;
    release(&gateway, &[&app.url()]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(answer(&gateway, &token), "hi");
                }
            });
        }
        reload(&gateway);
        release(&gateway, &[&app.url()]);
    });
    assert!(most.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_release_that_nobody_can_vouch_for_is_not_served_and_the_next_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    let variables = [("SSL_CERT_FILE", none.as_path()), ("SSL_CERT_DIR", Path::new(""))];
    let mut gateway = Setup::new(&named("listed")).start_in(folder, "none.pem", "", &variables);
    let token = gateway.mint("production").secret;
    release(&gateway, &["https://localhost:1"]);
    gateway.ask(with_token("GET /", HOST, &token)).refused(503, "upstream_unavailable");
    gateway
        .wait_for_words("the release of shop in production cannot be served: the system has no certificates");
    let other = named("other");
    release(&gateway, &[&other.url()]);
    assert_eq!(answer(&gateway, &token), "other");
    release(&gateway, &["https://localhost:1"]);
    // What the store holds keeps nobody from starting.
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    gateway.restart_among(&variables);
    gateway.ask(with_token("GET /", HOST, &token)).refused(503, "upstream_unavailable");
    assert_eq!(gateway.admin("GET /readyz", None).status, 200);
}

#[test]
fn the_first_request_after_a_release_goes_there_while_the_configuration_is_read_again() {
    let (one, two) = (named("one"), named("two"));
    let gateway = Gateway::before(&named("listed"));
    let token = gateway.mint("production").secret;
    thread::scope(|scope| {
        let releasing = scope.spawn(|| {
            for round in 0..60 {
                let (app, name) = if round % 2 == 0 { (&one, "one") } else { (&two, "two") };
                release(&gateway, &[&app.url()]);
                assert!((0..4).all(|_| answer(&gateway, &token) == name), "{name} in round {round}");
            }
        });
        while !releasing.is_finished() {
            reload(&gateway);
        }
    });
}

#[test]
fn a_release_does_not_lead_to_the_admin_side_wherever_that_is() {
    let gateway = Gateway::before(&named("listed"));
    let refused = |url: String| {
        let body = json!({ "id": "initial", "upstreams": [url] });
        let answer = Caller::operator(&gateway).ask(&format!("POST {PATH}"), Some(body));
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"), "{answer:?}");
    };
    refused(format!("http://{}", gateway.admin_address()));
    refused(format!("http://localhost:{}", gateway.admin_address().port()));
    let before = gateway.admin_address();
    let app = App::echo();
    gateway.rewrite(&Setup::new(&app).set("admin", "listen", "\"127.0.0.2:0\""));
    reload(&gateway);
    let last = || gateway.addresses("admin listens on http://").pop();
    let now = until("word of the other address", || last().filter(|now| *now != before));
    refused(format!("http://{now}"));
}
