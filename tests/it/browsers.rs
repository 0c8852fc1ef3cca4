//! Real browsers through the gateway: a single-page app with bundles, calls, a WebSocket and a service worker.

use serde_json::{Value, json};

use crate::support::app::{App, Exchange};
use crate::support::authority::Authority;
use crate::support::axe;
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, Setup};
use crate::support::websocket::agree;

const PAGE: &str = include_str!("browsers/index.html");
const SCRIPT: &str = include_str!("browsers/app.js");
const WORKER: &str = include_str!("browsers/worker.js");

fn single_page_app() -> App {
    App::start(|exchange| {
        let target = exchange.head.target().to_owned();
        let (kind, body) = match target.split('?').next().unwrap_or_default() {
            "/" | "/deep/link" | "/start" => ("text/html", PAGE.to_owned()),
            "/style.css" => ("text/css", "#state { font-style: italic }".to_owned()),
            "/app.js" => ("text/javascript", SCRIPT.to_owned()),
            "/chunk.js" => ("text/javascript", "export const word = 'chunk';".to_owned()),
            "/worker.js" => ("text/javascript", WORKER.to_owned()),
            "/api/read" => ("text/plain", "read".to_owned()),
            "/api/write" => ("text/plain", String::from_utf8(exchange.body()).unwrap()),
            "/ws" => return echo_frames(exchange),
            _ => {
                exchange.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                return;
            }
        };
        let length = body.len();
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    })
}

/// Sends short frames back (RFC 6455, section 5.2).
fn echo_frames(exchange: &mut Exchange<'_>) {
    agree(exchange, "");
    while let Ok(head) = exchange.wire.take(2) {
        let length = usize::from(head[1] & 0x7f);
        let Ok(mask) = exchange.wire.take(4) else { break };
        let Ok(mut payload) = exchange.wire.take(length) else { break };
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        exchange.send([&[head[0], length as u8], &payload[..]].concat());
        if head[0] & 0x0f == 8 {
            break;
        }
    }
    exchange.close();
}

/// Waits until the app says that all of it works.
#[track_caller]
fn works(browser: &Browser) {
    browser.wait_until("return document.getElementById('state')?.textContent === 'ready'");
    let results = browser.eval("return results");
    let expected = json!({
        "chunk": "chunk", "style": "italic", "read": "read", "written": "written", "socket": "hello",
        "worker": "by worker: read", "query": "", "referrer": "", "cookie": "",
    });
    assert_eq!(results, expected);
}

/// The origin of the gateway's plain address.
fn origin(gateway: &Gateway) -> String {
    format!("http://shop.localhost:{}", gateway.address().port())
}

#[track_caller]
fn knows_nothing_of_it(app: &App, secret: &str) {
    let bytes = String::from_utf8_lossy(&app.bytes()).into_owned();
    assert!(!bytes.contains(&secret[4..]), "the app has seen the token");
    assert!(!bytes.contains("portcullis="), "the app has seen the session");
    assert!(app.requests().iter().all(|request| request.head.get("x-portcullis-token-id").is_some()));
}

#[test]
fn a_single_page_app_works_through_a_link_with_a_token_and_ends_with_it() {
    let app = single_page_app();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let browser = Browser::start();
    let origin = origin(&gateway);
    browser.visit(&format!("{origin}/deep/link?project-protection-bypass={}", token.secret));
    works(&browser);
    assert_eq!(browser.url(), format!("{origin}/deep/link"));
    knows_nothing_of_it(&app, &token.secret);

    gateway.revoke(&token.id);
    browser.wait_until("return socketClosed");
    assert_eq!(browser.eval("return (await fetch('/api/read')).status"), 401);
    browser.visit(&format!("{origin}/deep/link"));
    assert_eq!(browser.text("h1"), "The token was revoked");
    // Another takes its place, pasted where the first one's end was told.
    let next = gateway.mint("production");
    browser.type_into("#token", &next.secret);
    browser.click("button");
    works(&browser);
    assert_eq!(browser.url(), format!("{origin}/deep/link"));
    knows_nothing_of_it(&app, &next.secret);
}

#[test]
fn it_works_over_tls_through_a_pasted_token_and_in_a_frame_that_asked_for_it() {
    let app = single_page_app();
    let frame = App::start(|exchange| {
        let src = exchange.head.target().trim_start_matches("/?").to_owned();
        let body = format!("<!doctype html><iframe src=\"{src}\" width=600 height=400></iframe>");
        let length = body.len();
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    });
    let authority = Authority::new();
    authority.write("shop", &["shop.localhost", "other.localhost"]);
    let gateway = Setup::new(&app)
        .and(&authority.entry("127.0.0.1:0", "shop"))
        .set("apps.other.environments.production", "hosts", "[\"other.localhost\"]")
        .set("apps.other.environments.production", "upstreams", &format!("[\"{}\"]", frame.url()))
        .set("apps.other.environments.production", "public_paths", "[\"/*\"]")
        .start();
    let port = gateway.tls_address().port();
    let origin = format!("https://shop.localhost:{port}");
    let token = gateway.mint("production");
    let browser = Browser::start();
    browser.visit(&format!("{origin}/start"));
    browser.type_into("#token", "pct_nonsense");
    browser.click("button");
    browser.wait_until("return document.querySelector('h1').textContent === 'That token opens nothing here'");
    browser.type_into("#token", &token.secret);
    browser.click("button");
    browser.wait_until("return document.getElementById('state') !== null");
    assert_eq!(browser.url(), format!("{origin}/start"));
    assert_eq!(browser.wait_until("return window.results?.socket"), "hello");
    knows_nothing_of_it(&app, &token.secret);

    let link = format!("{origin}/start?project-protection-bypass={}", token.secret);
    let framed = |wish: &str| {
        let other = Browser::start();
        other.visit(&format!("https://other.localhost:{port}/?{link}{wish}"));
        other.enter_frame("iframe");
        other
    };
    let asked = framed("&portcullis-session=samesite-none");
    assert_eq!(asked.wait_until("return window.results?.socket"), "hello");
    assert_eq!(asked.eval("return results.written"), "written");
    // Without that wish the browser keeps the cookie back, and the page that tells so lets nobody frame it.
    let usual = framed("");
    assert_eq!(usual.eval("return document.getElementById('state')"), Value::Null);
    assert_eq!(usual.eval("return document.getElementById('token')"), Value::Null);
}

#[test]
fn an_apps_own_worker_sees_what_is_brought_there_which_of_a_link_is_used_up() {
    let gateway = Gateway::before(&single_page_app());
    let token = gateway.mint("production");
    let browser = Browser::start();
    let origin = origin(&gateway);
    browser.visit(&format!("{origin}/start?project-protection-bypass={}", token.secret));
    works(&browser);
    let seen = || browser.eval("return await (await fetch('/api/seen')).text()").as_str().unwrap().to_owned();
    assert!(!seen().contains("pct_"), "it was not there yet");
    // No server can keep a navigation from a worker of the same origin: README.md says so, and advises links.
    browser.visit(&format!("{origin}/start?project-protection-bypass={}", token.secret));
    browser.wait_until("return document.getElementById('state')?.textContent === 'ready'");
    assert!(seen().contains(&token.secret));
    gateway.revoke(&token.id);
    let order = json!({ "app": "shop", "environment": "production", "expires_in": "1h", "path": "/start" });
    let path = gateway.admin("POST /v1/shares", Some(order)).json()["path"].as_str().unwrap().to_owned();
    browser.visit(&format!("{origin}{path}"));
    browser.click("button");
    browser.wait_until("return document.getElementById('state')?.textContent === 'ready'");
    let seen = seen();
    assert!(seen.contains(&path) && seen.matches("pct_").count() == 1, "{seen}");
    let other = Browser::start();
    other.visit(&format!("{origin}{path}"));
    assert_eq!(other.text("h1"), "Access has expired");
}

#[test]
fn a_neighbours_form_does_nothing_and_leads_to_the_app() {
    let shop = single_page_app();
    let neighbour = App::start(|exchange| {
        let action = exchange.head.target().trim_start_matches("/?").to_owned();
        let form = format!("<form method=post action=\"{action}\"><button>Win</button></form>");
        let body = format!("<!doctype html><meta name=referrer content=no-referrer>{form}");
        let length = body.len();
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    });
    let gateway = Setup::new(&shop)
        .set("apps.shop.environments.production", "hosts", "[\"shop.corp.test\"]")
        .set("apps.other.environments.production", "hosts", "[\"other.corp.test\"]")
        .set("apps.other.environments.production", "upstreams", &format!("[\"{}\"]", neighbour.url()))
        .set("apps.other.environments.production", "public_paths", "[\"/*\"]")
        .start();
    let token = gateway.mint("production");
    // Of a name that is not on this very machine browsers say less without encryption.
    let browser = Browser::start_with(&["--host-resolver-rules=MAP *.corp.test 127.0.0.1"]);
    let at = |host: &str| format!("http://{host}.corp.test:{}", gateway.address().port());
    browser.visit(&format!("{}/start?project-protection-bypass={}", at("shop"), token.secret));
    browser.wait_until("return document.getElementById('state') !== null");
    browser.visit(&format!("{}/?{}/transfer", at("other"), at("shop")));
    browser.click("button");
    browser.wait_for("h1", "Go on in the app itself");
    assert!(!browser.has("form"), "a token would not help");
    axe::judge_each_look(&browser, "gateway-neighbour");
    browser.click("main a");
    browser.wait_until("return document.getElementById('state') !== null");
    assert!(!shop.requests().iter().any(|request| request.head.target() == "/transfer"));
}

#[test]
fn a_link_that_signs_in_leads_to_the_app_at_a_click() {
    let app = single_page_app();
    let gateway = Gateway::before(&app);
    let order = json!({ "app": "shop", "environment": "production", "expires_in": "1h", "path": "/start" });
    let path = gateway.admin("POST /v1/shares", Some(order)).json()["path"].as_str().unwrap().to_owned();
    let browser = Browser::start();
    let origin = origin(&gateway);
    browser.visit(&format!("{origin}{path}"));
    assert_eq!(browser.text("h1"), "You have been invited");
    axe::judge_each_look(&browser, "gateway-invitation");
    browser.click("button");
    works(&browser);
    assert_eq!(browser.url(), format!("{origin}/start"));
    let again = Browser::start();
    again.visit(&format!("{origin}{path}"));
    assert_eq!(again.text("h1"), "Access has expired");
}

#[test]
fn the_page_for_people_is_styled_safe_and_usable_in_the_dark_and_on_a_phone() {
    let gateway = Gateway::before(&single_page_app());
    let browser = Browser::start();
    let origin = origin(&gateway);
    browser.visit(&format!("{origin}/deep/link"));
    assert_eq!(browser.text("h1"), "You need access to this app");
    assert_eq!(browser.eval("return getComputedStyle(document.querySelector('main')).borderRadius"), "12px");
    assert_eq!(browser.eval("return document.querySelector('label').control.id"), "token");
    assert_eq!(browser.eval("return document.documentElement.lang"), "en");
    // Whatever would be injected does not run.
    let injected = "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; \
                    document.body.append(s); return window.ran ?? null";
    assert_eq!(browser.eval(injected), Value::Null);
    let paper = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.eval(paper);
    browser.prefer("dark");
    assert_ne!(browser.eval(paper), light);
    axe::judge_each_look(&browser, "gateway-401");
    let token = gateway.mint("production");
    gateway.revoke(&token.id);
    browser.type_into("#token", &token.secret);
    browser.click("button");
    browser.wait_for("h1", "The token was revoked");
    axe::judge_each_look(&browser, "gateway-revoked");
}
