//! External access: closed until the first token, and a switch for every token of an environment.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};

const HOST: &str = "shop.localhost";
const PATH: &str = "PUT /v1/apps/shop/environments/production/external-access";

fn state(gateway: &Gateway) -> Value {
    let app = Caller::operator(gateway).get(200, "GET /v1/apps/shop", None);
    let all = app["environments"].as_array().unwrap().clone();
    all.into_iter().find(|environment| environment["name"] == "production").unwrap()["external_access"]
        .clone()
}

#[test]
fn the_switch_ends_what_runs_and_no_mint_reopens() {
    let app = App::start(|exchange| {
        match exchange.head.target() {
            "/wait" => {}
            "/stream" => drop(exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ntick")),
            _ => return exchange.answer(b"hello"),
        }
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    assert_eq!(state(&gateway), json!({ "mode": "on-first-token", "open": false }));
    let (token, development) = (gateway.mint("production"), gateway.mint("development"));
    let every = gateway.mint_with(json!({ "app": "*", "environment": "production", "expires_in": "1h" }));
    assert_eq!(state(&gateway), json!({ "mode": "on-first-token", "open": true }));
    let [mut waiting, mut running] = [("/wait", &token), ("/stream", &every)].map(|(path, token)| {
        let mut wire = gateway.connect();
        wire.send(with_token(&format!("GET {path}"), HOST, &token.secret));
        wire
    });
    app.wait_for(2);
    assert_eq!(running.head().unwrap().unwrap().status(), 200);

    let operator = Caller::operator(&gateway);
    let off = operator.get(200, PATH, Some(json!({ "enabled": false })));
    assert_eq!(off["external_access"], json!({ "mode": "on-first-token", "open": false }));
    assert_eq!(off["ended"], json!({ "requests": 1, "streams": 1 }));
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.code().as_str()), (403, "external_access_off"));
    running.wait_for_end();
    let later = gateway.mint("production");
    gateway.mint_with(json!({ "app": "*", "environment": "production", "expires_in": "1h" }));
    for token in [&token, &every, &later] {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).code(), "external_access_off");
    }
    assert_eq!(gateway.ask(with_token("GET /", "shop.dev.localhost", &development.secret)).status, 200);
    assert_eq!(state(&gateway)["open"], false);

    operator.get(200, PATH, Some(json!({ "enabled": true })));
    for token in [&token, &every, &later] {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    }
    let answer = operator.ask(PATH, Some(json!({ "enabled": "perhaps" })));
    assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"));
    assert_eq!(operator.ask(PATH, Some(json!({}))).status, 422);
}

#[test]
fn the_switch_outlives_a_restart_and_may_come_before_the_first_token() {
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    Caller::operator(&gateway).get(200, PATH, Some(json!({ "enabled": false })));
    let token = gateway.mint("production");
    let code = |gateway: &Gateway| gateway.ask(with_token("GET /", HOST, &token.secret)).status;
    assert_eq!(code(&gateway), 403);
    gateway.kill();
    gateway.restart();
    assert_eq!((code(&gateway), state(&gateway)["open"].clone()), (403, json!(false)));
    Caller::operator(&gateway).get(200, PATH, Some(json!({ "enabled": true })));
    assert_eq!(code(&gateway), 200);
}

#[test]
fn what_the_configuration_fixes_cannot_be_switched() {
    let app = App::echo();
    for (mode, status) in [("on", 200), ("off", 403)] {
        let gateway = Setup::new(&app)
            .set("apps.shop.environments.production", "external_access", &format!("\"{mode}\""))
            .start();
        let token = gateway.mint("production");
        for enabled in [true, false] {
            let answer = Caller::operator(&gateway).ask(PATH, Some(json!({ "enabled": enabled })));
            assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"), "{mode}");
        }
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, status, "{mode}");
        assert_eq!(state(&gateway)["mode"], mode);
    }
}
