//! What happens in a real browser while somebody types, and where they press Enter.

use serde_json::json;

use super::browser::{origin, signed_in};
use crate::support::app::App;
use crate::support::browser::ENTER;
use crate::support::gateway::Gateway;
use crate::support::until;

#[test]
fn the_audit_log_is_narrowed_down_while_one_types() {
    let mut gateway = Gateway::before(&App::echo());
    gateway.mint("production");
    let browser = signed_in(&gateway);
    browser.visit(&format!("{}/audit", origin(&gateway)));
    browser.run("window.stayed = true", &json!([]));
    let choose = "const s = document.querySelector('#action'); s.value = arguments[0]; s.dispatchEvent(new Event('input', { bubbles: true }))";
    browser.run(choose, &json!(["token.mint"]));
    let said = |words: &str| {
        until(words, || {
            let said = browser.run("return document.querySelector('#found').textContent", &json!([]));
            (said == words).then_some(())
        });
    };
    said("1 entry");
    browser.fill("#actor", "nobody");
    browser.wait_for("#results", "Nothing here");
    said("0 entries");
    assert_eq!(browser.run("return window.stayed", &json!([])), true, "no page was loaded");
    // Where no answer comes the browser says so: old rows do not stand under a new filter.
    gateway.kill();
    browser.fill("#actor", "somebody");
    until("the browser's own page", || {
        (browser.run("return window.stayed ?? null", &json!([])).is_null()).then_some(())
    });
}

#[test]
fn enter_makes_a_token_once_its_scopes_were_tried() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    browser.visit(&format!("{}/tokens/new?place=shop/production", origin(&gateway)));
    browser.click("summary");
    browser.fill("#scopes", "GET /a/*");
    browser.click("#try-path");
    browser.press(&format!("/a/b{ENTER}"));
    browser.wait_for("#trial", "Allowed, by `GET /a/*`");
    assert_eq!(browser.text("h1"), "New token", "who tries makes no token");
    browser.click("#label");
    browser.press(&format!("tried and made{ENTER}"));
    browser.wait_for("h1", "Copy your token now");
}

#[test]
fn links_look_like_links_whatever_they_name() {
    let gateway = Gateway::before(&App::echo());
    gateway.mint_with(
        json!({ "label": "named", "app": "shop", "environment": "production", "expires_in": "1h" }),
    );
    let browser = signed_in(&gateway);
    for (path, link) in [
        ("/tokens", "tbody th a bdi"),
        ("/apps/shop/environments/production/deployments", ".crumb a:nth-of-type(2) bdi"),
    ] {
        browser.visit(&format!("{}{path}", origin(&gateway)));
        browser.find(link);
        let line = "return getComputedStyle(document.querySelector(arguments[0])).textDecorationLine";
        assert_eq!(browser.run(line, &json!([link])), "underline", "{path}");
    }
    let line = "return getComputedStyle(document.querySelector('.who bdi')).textDecorationLine";
    assert_eq!(browser.run(line, &json!([])), "none");
}
