//! What a new configuration no longer lets in has nothing in flight once the reload is answered.

use std::net::TcpStream;

use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::{Wire, request};

const PRODUCTION: &str = "apps.shop.environments.production";
const HOST: &str = "shop.localhost";
const OTHER: &str = "www.shop.localhost";
const DEVELOPMENT: &str = "shop.dev.localhost";

/// An app that begins a download and never ends it, echoes on WebSockets, and leaves `/wait` without an answer.
fn slow_app() -> App {
    App::start(|exchange| match exchange.head.target() {
        "/download" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ntick");
            exchange.wire.wait_for_end();
        }
        "/websocket" => {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            while let Ok(bytes) = exchange.wire.take(1) {
                exchange.send(bytes);
            }
        }
        "/wait" => exchange.wire.wait_for_end(),
        _ => exchange.answer(b"hello"),
    })
}

fn setup(app: &App) -> Setup {
    Setup::new(app).set(PRODUCTION, "hosts", &format!("[\"{HOST}\", \"{OTHER}\"]"))
}

fn waiting(gateway: &Gateway, host: &str, token: &str) -> Wire<TcpStream> {
    let mut wire = gateway.connect();
    wire.send(with_token("GET /wait", host, token));
    wire
}

fn download(gateway: &Gateway, host: &str, token: &str) -> Wire<TcpStream> {
    let mut wire = gateway.connect();
    wire.send(with_token("GET /download", host, token));
    assert_eq!((wire.head().unwrap().unwrap().status(), wire.take(4).unwrap()), (200, b"tick".to_vec()));
    wire
}

fn websocket(gateway: &Gateway, host: &str, token: &str) -> Wire<TcpStream> {
    let mut wire = gateway.connect();
    let fields = [
        ("Host", host),
        ("X-Portcullis-Token", token),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    wire.send(request("GET /websocket", &fields));
    assert_eq!(wire.head().unwrap().unwrap().status(), 101);
    assert!(echoes(&mut wire));
    wire
}

fn echoes(wire: &mut Wire<TcpStream>) -> bool {
    wire.send("ping");
    wire.take(4).is_ok_and(|echo| echo == b"ping")
}

#[track_caller]
fn reload(gateway: &Gateway, setup: &Setup) {
    gateway.rewrite(setup);
    let answer = gateway.admin("POST /v1/reload", None);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[track_caller]
fn refused(mut wire: Wire<TcpStream>, status: u16, code: &str) {
    let answer = wire.answer();
    assert_eq!((answer.status, answer.code().as_str()), (status, code));
}

#[test]
fn switching_external_access_off_ends_what_came_in_by_it() {
    let app = slow_app();
    let gateway = setup(&app).start();
    let (production, development) = (gateway.mint("production").secret, gateway.mint("development").secret);
    let everywhere = json!({ "app": "*", "environment": "production", "expires_in": "1h" });
    let everywhere = gateway.mint_with(everywhere).secret;
    let waits = waiting(&gateway, HOST, &production);
    let waits_too = waiting(&gateway, OTHER, &everywhere);
    let runs = download(&gateway, HOST, &production);
    let tunnel = websocket(&gateway, OTHER, &production);
    let mut elsewhere = websocket(&gateway, DEVELOPMENT, &development);
    app.wait_for(5);

    // One that changes nothing of that ends nothing.
    reload(&gateway, &setup(&app).set("apps.shop", "description", "\"Else\""));
    reload(&gateway, &setup(&app).set(PRODUCTION, "external_access", "\"off\""));
    let next = gateway.ask(with_token("GET /", HOST, &production));
    assert_eq!((next.status, next.code().as_str()), (403, "external_access_off"));
    refused(waits, 403, "external_access_off");
    refused(waits_too, 403, "external_access_off");
    for mut cut in [runs, tunnel] {
        cut.wait_for_end();
    }
    assert!(echoes(&mut elsewhere), "the other environment's go on");
    reload(&gateway, &setup(&app));
    assert_eq!(gateway.ask(with_token("GET /", HOST, &production)).status, 200);
}

#[test]
fn a_host_that_goes_takes_along_what_came_in_by_it_alone() {
    let app = slow_app();
    let gateway = setup(&app).start();
    let token = gateway.mint("production").secret;
    let waits = waiting(&gateway, OTHER, &token);
    let mut runs = download(&gateway, OTHER, &token);
    let mut stays = websocket(&gateway, HOST, &token);
    app.wait_for(3);
    reload(&gateway, &Setup::new(&app));
    refused(waits, 404, "unknown_host");
    runs.wait_for_end();
    assert!(echoes(&mut stays));

    // It may come back as somebody else's.
    let mut stays_too = waiting(&gateway, HOST, &token);
    app.wait_for(4);
    let given = format!("[\"{DEVELOPMENT}\", \"{HOST}\"]");
    let moved = Setup::new(&app).set(PRODUCTION, "hosts", &format!("[\"{OTHER}\"]")).set(
        "apps.shop.environments.development",
        "hosts",
        &given,
    );
    reload(&gateway, &moved);
    let answer = stays_too.answer();
    assert_eq!((answer.status, answer.code().as_str()), (403, "wrong_environment"));
    stays.wait_for_end();
}

#[test]
fn an_app_that_goes_takes_everything_along() {
    let app = slow_app();
    let blog = |setup: Setup| {
        setup.set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]").set(
            "apps.blog.environments.production",
            "upstreams",
            &format!("[\"{}\"]", app.url()),
        )
    };
    let gateway = blog(setup(&app)).start();
    let body = json!({ "app": "blog", "environment": "production", "expires_in": "1h" });
    let (token, shop) = (gateway.mint_with(body).secret, gateway.mint("production").secret);
    let waits = waiting(&gateway, "blog.localhost", &token);
    let mut runs = download(&gateway, "blog.localhost", &token);
    let mut tunnel = websocket(&gateway, "blog.localhost", &token);
    let mut stays = websocket(&gateway, HOST, &shop);
    app.wait_for(4);
    reload(&gateway, &setup(&app));
    refused(waits, 404, "unknown_host");
    runs.wait_for_end();
    tunnel.wait_for_end();
    assert!(echoes(&mut stays));
    // Its tokens work again once it is back.
    reload(&gateway, &blog(setup(&app)));
    assert_eq!(gateway.ask(with_token("GET /", "blog.localhost", &token)).status, 200);
}
