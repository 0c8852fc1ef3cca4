//! The dashboard in a real browser: what needs a script, a keyboard, eyes, or an engine that judges accessibility.

use serde_json::json;

use crate::support::app::App;
use crate::support::axe;
use crate::support::browser::{Browser, ENTER, SPACE, TAB};
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook;
use crate::support::until;
use crate::support::visitor::link;

/// Whether a page asks before it is left.
const LEAVING: &str =
    "const e = new Event('beforeunload', { cancelable: true }); dispatchEvent(e); return e.defaultPrevented";

pub(super) fn origin(gateway: &Gateway) -> String {
    format!("http://{}", gateway.admin_address())
}

/// A browser that came in by a link.
pub(super) fn signed_in(gateway: &Gateway) -> Browser {
    let browser = Browser::start();
    browser.visit(&format!("{}{}", origin(gateway), link(gateway)));
    browser.click("main button.main");
    browser.wait_for("h1", "Tokens");
    browser
}

/// The key of a new member, and a browser that came in by it.
pub(super) fn with_key(gateway: &Gateway, name: &str) -> (Browser, String) {
    let browser = Browser::start();
    browser.visit(&format!("{}/sign-in", origin(gateway)));
    let key = key(gateway, name);
    sign_in(&browser, &key);
    browser.wait_for("h1", "Tokens");
    (browser, key)
}

pub(super) fn key(gateway: &Gateway, name: &str) -> String {
    let body = json!({ "member": name, "scopes": ["read", "mint", "secrets"] });
    let made = gateway.admin("POST /v1/keys", Some(body));
    made.json()["secret"].as_str().unwrap().to_owned()
}

pub(super) fn sign_in(browser: &Browser, key: &str) {
    browser.fill("#key", key);
    browser.click("form[action='/sign-in'] button");
}

/// Some of everything, so that there is something to look at.
fn furnished() -> (App, Gateway) {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.shop", "description", "\"Storefront\"")
        .set("apps.billing.environments.production", "hosts", "[\"billing.localhost\"]")
        .set("apps.billing.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .set("apps.shop.environments.production", "request_headers", "{ \"X-Key\" = \"$Secret{SHOP_KEY}\" }")
        .set("apps.billing.environments.production", "upstream_auth", "\"bearer $Secret{BILLING_OAUTH}\"")
        .set("notify.webhook", "url", "\"http://127.0.0.1:1/hook\"")
        .set("notify.webhook", "secret_file", "\"hook-secret\"")
        .start_beside("hook-secret", hook::SECRET);
    let ask = |line: &str, body| assert!(gateway.admin(line, Some(body)).status < 300);
    for id in ["2026-11-20.1", "2026-11-22.3"] {
        ask("POST /v1/apps/shop/environments/production/deployments", json!({ "id": id }));
    }
    ask("POST /v1/members", json!({ "name": "ann", "email": "ann@example.com" }));
    ask(
        "POST /v1/keys",
        json!({ "member": "ann", "scopes": ["read", "mint"], "label": "laptop", "expires_in": "30d" }),
    );
    ask(
        "POST /v1/keys",
        json!({ "member": "ci@example.com", "scopes": ["deploy"], "app": "shop", "label": "pipeline" }),
    );
    let mint = |label: &str, app: &str, expires: &str, scopes: &[&str]| {
        gateway.mint_with(json!({
            "label": label, "app": app, "environment": "production", "expires_in": expires, "scopes": scopes,
        }))
    };
    let revoked = mint("left the company", "shop", "1y", &[]);
    let hooks = mint("stripe webhooks", "billing", "1y", &["POST /webhooks/*", "GET /webhooks/status"]);
    mint("smoke test of the nightly build", "shop", "24h", &[]);
    mint("preview for the design review \u{1f3a8}", "shop", "7d", &["GET,HEAD /*"]);
    let monitor = mint("uptime monitor", "shop", "3mo", &["GET /healthz"]);
    gateway.revoke(&revoked.id);
    let set = |name: &str, body| ask(&format!("PUT /v1/secrets/{name}"), body);
    set(
        "SHOP_KEY",
        json!({
            "value": "canary-of-shop", "type": "api-key", "description": "Payment provider, account of the shop",
            "apps": ["shop"], "environments": ["production"], "expires_in": "3d",
        }),
    );
    let grant = json!({ "token_url": "http://127.0.0.1:1/token", "client_id": "billing", "scopes": ["invoices.read"] });
    set("BILLING_OAUTH", json!({ "value": "canary-of-billing", "apps": ["billing"], "grant": grant }));
    set("OLD_PASSWORD", json!({ "value": "canary-of-old", "products": ["commerce", "logistics"] }));
    ask("POST /v1/secrets/OLD_PASSWORD/revoke", json!({}));
    let place = "https://github.com/example/infrastructure/blob/main/deploy/environments/production/.env";
    ask("POST /v1/leaks", json!({ "tokens": [hooks.secret], "source": "nightly scan", "url": place }));
    for (path, times) in [("GET /healthz", 24), ("GET /admin", 3)] {
        for _ in 0..times {
            gateway.ask(with_token(path, "shop.localhost", &monitor.secret));
        }
    }
    (app, gateway)
}

/// The value that the page reveals; found by eye, not by markup.
fn revealed(browser: &Browser) -> String {
    let text = browser.text("main");
    let start = text.find("pct_").unwrap();
    text[start..start + 40].to_owned()
}

#[test]
fn a_token_is_made_copied_guarded_and_gone_after_a_reload() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let browser = signed_in(&gateway);
    browser.click("section.empty a.main");
    browser.fill("#label", "from a browser");
    browser.run("document.querySelector('#place').value = 'shop/production'", &json!([]));
    browser.click("summary");
    browser.fill("#scopes", "GET /a/*");
    browser.fill("#try-path", "/b");
    browser.wait_for("#trial", "no scope allows it");
    browser.fill("#try-path", "/a/b");
    browser.wait_for("#trial", "Allowed, by `GET /a/*`");
    browser.click("button[value=mint]");
    browser.wait_for("h1", "Copy your token now");
    let value = revealed(&browser);

    assert_eq!(browser.run(LEAVING, &json!([])), true, "who leaves now loses it");
    browser.grant("clipboard-read");
    browser.grant("clipboard-write");
    for (which, words) in [
        ("token", value.clone()),
        ("header", format!("x-portcullis-token: {value}")),
        ("authorization", format!("Authorization: Bearer {value}")),
        ("query", format!("project-protection-bypass={value}")),
        (
            "curl",
            format!(
                "curl -H 'Authorization: Bearer {value}' http://shop.localhost:{}/",
                gateway.address().port()
            ),
        ),
    ] {
        browser.click(&format!("[data-copy={which}]"));
        until("what was copied", || {
            let copied = browser.eval("return await navigator.clipboard.readText()");
            (copied == *words).then_some(())
        });
    }
    assert_eq!(browser.run(LEAVING, &json!([])), false, "who has copied it may leave");
    browser.reload();
    browser.wait_for("h1", "from a browser");
    assert!(
        !browser.run("return document.documentElement.outerHTML", &json!([])).to_string().contains("pct_")
    );
    assert!(browser.url().contains("/tokens/tok_"));
    assert_eq!(gateway.ask(with_token("GET /a/b", "shop.localhost", &value)).status, 200);

    browser.click("details.act:nth-of-type(1) > summary");
    browser.click("form[action$='/rotate'] button");
    browser.wait_for("h1", "Copy your token now");
    let successor = revealed(&browser);
    assert_ne!(successor, value);
    assert_eq!(browser.run(LEAVING, &json!([])), true);
    browser.click("#stored");
    assert_eq!(browser.run(LEAVING, &json!([])), false, "who says that it is kept may leave");
    browser.click("a.button.main");
    browser.wait_for("h1", "from a browser");
    browser.click("details.act:last-of-type > summary");
    browser.run("document.querySelectorAll('details.act').forEach((d) => { d.open = true })", &json!([]));
    browser.click("form[action$='/revoke'] button");
    browser.wait_for("[role=status]", "revoked");
    let refused = gateway.ask(with_token("GET /a/b", "shop.localhost", &successor));
    assert_eq!(refused.code(), "token_revoked");
}

#[test]
fn a_token_is_made_with_the_keyboard_alone() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let browser = signed_in(&gateway);
    let focus = || {
        let script =
            "const e = document.activeElement; return e.id || e.name || e.textContent.trim() || e.tagName";
        browser.run(script, &json!([])).as_str().unwrap().to_owned()
    };
    // Tabs to what bears this name, as far as there is.
    let tab_to = |name: &str| {
        let mut seen = Vec::new();
        for _ in 0..40 {
            if focus() == name {
                return;
            }
            seen.push(focus());
            browser.press(TAB);
        }
        panic!("{name} is not reached: {seen:?}");
    };
    browser.press(TAB);
    assert_eq!(focus(), "Skip to the content", "first of all");
    browser.press(ENTER);
    tab_to("New token");
    browser.press(ENTER);
    browser.wait_for("h1", "New token");
    until("the focus on the first field", || (focus() == "place").then_some(()));
    browser.press("shop – prod");
    tab_to("label");
    browser.press("by keyboard");
    tab_to("expires");
    browser.press("\u{e014}");
    tab_to("Narrow it down");
    browser.press(ENTER);
    tab_to("intent");
    while browser.run("return document.activeElement.value", &json!([])) != "mint" {
        browser.press(TAB);
    }
    browser.press(ENTER);
    browser.wait_for("h1", "Copy your token now");
    until("the focus on the copy button", || focus().starts_with("Copy").then_some(()));
    tab_to("stored");
    browser.press(SPACE);
    tab_to("Done");
    browser.press(ENTER);
    browser.wait_for("h1", "by keyboard");
    let list = gateway.admin("GET /v1/tokens", None).json();
    assert_eq!(
        (&list["items"][0]["environment"], &list["items"][0]["label"]),
        (&json!("production"), &json!("by keyboard"))
    );
    let life = browser.text("main");
    assert!(life.contains("in 24 hours"), "an arrow key chose the next lifetime: {life}");
}

#[test]
fn enter_in_any_field_makes_the_token() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    browser.visit(&format!("{}/tokens/new?place=shop/production", origin(&gateway)));
    browser.click("#label");
    browser.press(&format!("by enter{ENTER}"));
    browser.wait_for("h1", "Copy your token now");
}

#[test]
fn a_label_does_not_reorder_what_stands_beside_it() {
    let gateway = Gateway::before(&App::echo());
    let label = "\u{645}\u{631} \u{202e}gnp.exe\u{202c} \u{2066}open";
    gateway
        .mint_with(json!({ "app": "shop", "environment": "production", "expires_in": "1h", "label": label }));
    let browser = signed_in(&gateway);
    // Each of its characters stands to the right of the one before it.
    let in_order = browser.run(
        "const hint = document.querySelector('tbody .hint').lastChild; const range = document.createRange();
         const lefts = [...hint.data].map((_, at) => {
           range.setStart(hint, at); range.setEnd(hint, at + 1); return range.getBoundingClientRect().left;
         });
         return lefts.every((left, at) => at === 0 || left > lefts[at - 1])",
        &json!([]),
    );
    assert_eq!(in_order, true);
}

#[test]
fn a_secrets_value_does_not_come_back() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    browser.visit(&format!("{}/secrets/new", origin(&gateway)));
    browser.fill("#key", "SHOP_KEY");
    browser.fill("#value", "canary-of-a-value");
    browser.click("form.card button.main");
    browser.wait_for("[role=status]", "SHOP_KEY is set");
    browser.run("history.back()", &json!([]));
    browser.wait_for("h1", "New secret");
    assert_eq!(browser.run("return document.querySelector('#value').value", &json!([])), "");
}

#[test]
fn a_key_is_made_guarded_and_revoked() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    browser.visit(&format!("{}/keys", origin(&gateway)));
    browser.fill("#member", "ann");
    browser.click("input[value=read]");
    browser.click("form[action='/keys'] button.main");
    browser.wait_for("h1", "Copy the key now");
    assert!(browser.text("main").contains("pcm_"));
    assert_eq!(browser.run(LEAVING, &json!([])), true, "who leaves now loses it");
    browser.click("#stored");
    assert_eq!(browser.run(LEAVING, &json!([])), false);
    browser.click("a.button.main");
    browser.wait_for("h1", "Management keys");
    let page = browser.run("return document.documentElement.outerHTML", &json!([])).to_string();
    assert!(!page.contains("pcm_"));
    browser.click("details.act > summary");
    browser.click("details.act button.danger");
    browser.wait_for("[role=status]", "is revoked");
}

#[test]
fn a_plain_member_sees_and_is_offered_what_is_theirs() {
    let gateway = Gateway::before(&App::echo());
    let others = gateway.mint("production").id;
    let (browser, _) = with_key(&gateway, "ann");
    browser.wait_for("section.empty", "No tokens yet");
    for page in ["/members", "/leaks/notices"] {
        assert!(!browser.has(&format!("a[href='{page}']")), "{page} is not offered");
        browser.visit(&format!("{}{page}", origin(&gateway)));
        browser.wait_for("h1", "This is not yours to do");
    }
    browser.visit(&format!("{}/tokens/{others}", origin(&gateway)));
    browser.wait_for("h1", "There is nothing here");
    browser.visit(&format!("{}/tokens/new?place=shop/production&label=hers", origin(&gateway)));
    browser.click("button[value=mint]");
    browser.wait_for("h1", "Copy your token now");
    let value = revealed(&browser);
    browser.click("#stored");
    browser.click("a.button.main");
    browser.wait_for("h1", "hers");
    assert!(!browser.has("form[action$='/delete']"), "whoever may not delete is not offered to");
    browser.run("document.querySelectorAll('details.act').forEach((d) => { d.open = true })", &json!([]));
    browser.click("form[action$='/revoke'] button");
    browser.wait_for("[role=status]", "revoked");
    let refused = gateway.ask(with_token("GET /", "shop.localhost", &value));
    assert_eq!(refused.code(), "token_revoked");
}

#[test]
fn a_secret_is_set_and_a_publish_asks_first() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production");
    let browser = signed_in(&gateway);
    browser.visit(&format!("{}/secrets", origin(&gateway)));
    browser.click("section.empty a.main");
    browser.fill("#key", "SHOP_KEY");
    browser.fill("#value", "canary-of-a-value");
    browser.fill("#apps", "shop");
    browser.run("document.querySelector('#date').value = '2999-12-31'; document.querySelector('#date').dispatchEvent(new Event('input'))", &json!([]));
    browser.click("form.card button.main");
    browser.wait_for("[role=status]", "SHOP_KEY is set");
    browser.click("section.doing > details:last-of-type > summary");
    browser.click("form[action$='/delete'] button");
    browser.wait_for("[role=status]", "SHOP_KEY is deleted");
    let page = browser.run("return document.documentElement.outerHTML", &json!([])).to_string();
    assert!(!page.contains("canary"));

    browser.visit(&format!("{}/apps/shop/environments/production/deployments", origin(&gateway)));
    browser.fill("#id", "blue");
    browser.click("form.card button.main");
    browser.wait_for("h1", "Publish blue?");
    axe::judge_each_look(&browser, "publish");
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token.secret)).status, 200);
    browser.click("button.danger");
    browser.wait_for("[role=status]", "1 token ended");
    let refused = gateway.ask(with_token("GET /", "shop.localhost", &token.secret));
    assert_eq!(refused.code(), "deployment_replaced");
}

#[test]
fn filters_act_while_one_types() {
    let (_app, gateway) = furnished();
    let browser = signed_in(&gateway);
    let rows = || browser.run("return document.querySelectorAll('tbody tr').length", &json!([]));
    assert_eq!(rows(), 5);
    browser.fill("#q", "monitor");
    until("one token is left", || (rows() == 1).then_some(()));
    until("the address says so", || browser.url().ends_with("/tokens?q=monitor").then_some(()));
    browser.reload();
    assert_eq!(rows(), 1);
    browser.fill("#q", "");
    browser.run("const s = document.querySelector('#status'); s.value = 'revoked'; s.dispatchEvent(new Event('input', { bubbles: true }))", &json!([]));
    browser.wait_for("tbody", "left the company");
    until("two tokens are left", || (rows() == 2).then_some(()));
    // What ends soon: of those in use.
    let day = gateway.mint_with(json!({
        "label": "ends tomorrow", "app": "shop", "environment": "production", "expires_in": "24h",
    }));
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &day.secret)).status, 200);
    until("its use", || {
        let found = gateway.admin("GET /v1/tokens?expiring=7d", None).json();
        (!found["items"].as_array()?.is_empty()).then_some(())
    });
    browser.visit(&format!("{}/tokens", origin(&gateway)));
    browser.run("const s = document.querySelector('#expiring'); s.value = '7d'; s.dispatchEvent(new Event('input', { bubbles: true }))", &json!([]));
    browser.wait_for("tbody", "ends tomorrow");
    until("the address says so", || browser.url().ends_with("/tokens?expiring=7d").then_some(()));
}

#[test]
fn every_page_is_for_everybody_and_looks_it() {
    let (_app, gateway) = furnished();
    let browser = signed_in(&gateway);
    let origin = origin(&gateway);
    let items = gateway.admin("GET /v1/tokens?q=monitor", None).json();
    let id = items["items"][0]["id"].as_str().unwrap().to_owned();
    let items = gateway.admin("GET /v1/tokens?q=webhooks", None).json();
    let leaked = items["items"][0]["id"].as_str().unwrap().to_owned();
    until("traffic on the chart", || {
        browser.visit(&format!("{origin}/tokens/{id}"));
        browser.has("figure.chart").then_some(())
    });
    let pages = [
        ("tokens", "/tokens".to_owned()),
        ("token-new", "/tokens/new".to_owned()),
        ("token", format!("/tokens/{id}")),
        ("token-edit", format!("/tokens/{id}/edit")),
        ("apps", "/apps".to_owned()),
        ("app", "/apps/shop".to_owned()),
        ("deployments", "/apps/shop/environments/production/deployments".to_owned()),
        ("members", "/members".to_owned()),
        ("member-edit", "/members/ann/edit".to_owned()),
        ("keys", "/keys".to_owned()),
        ("secrets", "/secrets".to_owned()),
        ("secret-new", "/secrets/new".to_owned()),
        ("secret", "/secrets/SHOP_KEY".to_owned()),
        ("secret-edit", "/secrets/BILLING_OAUTH/edit".to_owned()),
        ("leaks", "/leaks".to_owned()),
        ("leak-report", "/leaks/report".to_owned()),
        ("leaked-token", format!("/tokens/{leaked}")),
        ("notices", "/leaks/notices".to_owned()),
        ("audit", "/audit".to_owned()),
        ("refusal", "/tokens/nothing".to_owned()),
        ("sign-in", "/sign-in".to_owned()),
    ];
    for (name, path) in &pages {
        browser.visit(&format!("{origin}{path}"));
        axe::judge_each_look(&browser, name);
    }
    browser.visit(&format!("{origin}/tokens/new?place=shop/production&label=uptime+monitor"));
    browser.click("button[value=mint]");
    browser.wait_for("h1", "Copy your token now");
    for (look, scheme) in [("light", "light"), ("dark", "dark")] {
        browser.prefer(scheme);
        axe::judge(&browser, "reveal", axe::ALL);
        browser.shoot(&format!("reveal-{look}"));
    }
    browser.click("#stored");
    browser.visit(&format!("{origin}/tokens/new?place=shop/nowhere"));
    browser.run("document.querySelector('#place').required = false", &json!([]));
    browser.click("button[value=mint]");
    browser.wait_for("#faults", "app");
    axe::judge(&browser, "faults", axe::ALL);
}

#[test]
fn names_of_any_length_and_direction_stay_in_their_place() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let ask = |line: &str, body| assert!(gateway.admin(line, Some(body)).status < 300, "{line}");
    let (long, arabic) = ("W".repeat(120), "\u{645}\u{631}\u{62d}\u{628}\u{627} \u{628}\u{643} (v1.2)");
    for label in [&*long, arabic] {
        let minted = gateway.mint_with(json!({
            "label": label, "description": label, "app": "shop", "environment": "production", "expires_in": "1h",
            "scopes": [format!("GET /{}", "w".repeat(200))],
        }));
        ask("POST /v1/leaks", json!({ "tokens": [minted.secret], "source": label, "url": "w".repeat(1000) }));
    }
    let (member, secret) = ("m".repeat(64), "S".repeat(64));
    ask("POST /v1/members", json!({ "name": member, "email": format!("{}@example.com", "e".repeat(200)) }));
    ask("POST /v1/keys", json!({ "member": member, "scopes": ["read"], "label": long }));
    let body = json!({ "value": "x", "description": long, "apps": ["a".repeat(64)], "environments": ["e".repeat(64)] });
    ask(&format!("PUT /v1/secrets/{secret}"), body);
    let deployments = "/apps/shop/environments/production/deployments";
    ask(&format!("POST /v1{deployments}"), json!({ "id": "d".repeat(128), "upstreams": [app.url()] }));
    let id = gateway.admin("GET /v1/tokens", None).json()["items"][0]["id"].as_str().unwrap().to_owned();
    let browser = signed_in(&gateway);
    for (name, path) in [
        ("long-tokens", "/tokens"),
        ("long-token", &*format!("/tokens/{id}")),
        ("long-leaks", "/leaks"),
        ("long-secrets", "/secrets"),
        ("long-secret", &format!("/secrets/{secret}")),
        ("long-deployments", deployments),
        ("long-app", "/apps/shop"),
        ("long-members", "/members"),
        ("long-keys", "/keys"),
    ] {
        browser.visit(&format!("{}{path}", origin(&gateway)));
        axe::judge_each_look(&browser, name);
    }
}
