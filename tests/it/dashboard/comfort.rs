//! What the script takes care of where somebody goes back, presses twice, or is signed out under a form.

use serde_json::json;

use super::browser::{key, origin, sign_in, signed_in, with_key};
use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::gateway::Gateway;
use crate::support::until;

/// Ends the session and does what then finds out.
fn end(gateway: &Gateway, browser: &Browser, act: impl FnOnce()) {
    assert_eq!(gateway.admin("DELETE /v1/dashboard-sessions", None).json()["ended"], 1);
    act();
    browser.wait_for("[role=alert]", "Your session has ended");
}

fn value(browser: &Browser, selector: &str) -> String {
    let element = json!([selector]);
    let found = browser.run("return document.querySelector(arguments[0]).value", &element);
    found.as_str().unwrap().to_owned()
}

fn html(browser: &Browser) -> String {
    browser.run("return document.documentElement.outerHTML", &json!([])).to_string()
}

#[test]
fn a_value_is_gone_for_whoever_comes_back_to_its_page() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    let make = |label: &str| {
        browser.visit(&format!("{}/tokens/new?place=shop/production&label={label}", origin(&gateway)));
        browser.click("button[value=mint]");
        browser.wait_for("h1", "Copy your token now");
        assert!(html(&browser).contains("pct_"));
    };
    make("returned");
    browser.click("#stored");
    browser.click("a[href='/apps']");
    browser.wait_for("h1", "Apps");
    browser.run("history.back()", &json!([]));
    browser.wait_for("h1", "returned");
    assert!(!html(&browser).contains("pct_"));

    // Chromium puts by no page that was answered with 201, but others may: it is told here that it did. It does not ask
    // either whether to leave what nobody has copied, for that was left before.
    make("restored");
    let left = browser.run(
        "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
         return document.documentElement.outerHTML",
        &json!([]),
    );
    assert!(!left.to_string().contains("pct_"), "at once");
    browser.wait_for("h1", "restored");
    assert!(browser.url().contains("/tokens/tok_") && !html(&browser).contains("pct_"));
}

#[test]
fn what_was_typed_in_secret_does_not_wait_behind_the_next_page() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    for (path, heading, secret) in [
        ("/secrets/new", "New secret", "#value"),
        ("/leaks/report", "Report a leak", "#value"),
        ("/sign-in", "Sign in", "#key"),
    ] {
        browser.visit(&format!("{}{path}", origin(&gateway)));
        browser.fill(secret, "canary-of-a-value");
        // What the page holds as it is put by, which Chromium does unless memory is short.
        browser.run(
            "const field = document.querySelector(arguments[0]);
             addEventListener('pagehide', () => sessionStorage.setItem('left', field.value))",
            &json!([secret]),
        );
        browser.click("a.brand");
        browser.wait_for("h1", "Tokens");
        assert_eq!(browser.run("return sessionStorage.getItem('left')", &json!([])), "", "{path}");
        browser.run("history.back()", &json!([]));
        browser.wait_for("h1", heading);
        assert_eq!(value(&browser, secret), "", "{path}");
    }
}

#[test]
fn a_form_is_sent_once_however_often_its_button_is_pressed() {
    let gateway = Gateway::before(&App::echo());
    let browser = signed_in(&gateway);
    let keys = || gateway.admin("GET /v1/keys", None).json()["items"].as_array().unwrap().len();
    let press = "const form = document.querySelector('form[action=\"/keys\"]'); window.stopped = [];
        addEventListener('submit', (event) => stopped.push(event.defaultPrevented));
        form.requestSubmit(); form.requestSubmit();";
    browser.visit(&format!("{}/keys", origin(&gateway)));
    browser.fill("#member", "ann");
    browser.click("input[value=read]");
    let stopped = browser.run(&format!("{press} return stopped"), &json!([]));
    assert_eq!(stopped, json!([false, true]));
    browser.wait_for("h1", "Copy the key now");
    assert_eq!(keys(), 1);
    browser.click("#stored");

    // Whoever stops it while it is sent may send it again.
    browser.visit(&format!("{}/keys", origin(&gateway)));
    browser.fill("#member", "ann");
    browser.click("input[value=read]");
    let stopped = browser.run(&format!("{press} stop(); return stopped"), &json!([]));
    assert_eq!(stopped, json!([false, true]));
    until("the form to be as new", || {
        let script = "const form = document.querySelector('form[action=\"/keys\"]');
            form.requestSubmit(); return stopped.at(-1)";
        (browser.run(script, &json!([])) == false).then_some(())
    });
    browser.wait_for("h1", "Copy the key now");
    assert_eq!(keys(), 2);
}

#[test]
fn what_was_filled_in_comes_back_once_after_a_new_sign_in() {
    let gateway = Gateway::before(&App::echo());
    let (browser, key) = with_key(&gateway, "ann");
    let new = format!("{}/tokens/new", origin(&gateway));
    browser.visit(&format!("{new}?place=shop/production"));
    browser.fill("#label", "kept <i>over</i> a sign-in");
    browser.run("document.querySelectorAll('[name=expires]')[2].checked = true", &json!([]));
    browser.click("summary");
    browser.fill("#scopes", "GET /a/*\nPOST /b");
    // Whoever pastes a token into the wrong field has not lost it to the browser's memory.
    browser.fill("#description", "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17");
    let chosen = browser.run("return document.querySelector('[name=expires]:checked').value", &json!([]));
    end(&gateway, &browser, || browser.click("button[value=mint]"));
    let kept = browser.run("return JSON.stringify(sessionStorage)", &json!([])).to_string();
    assert!(kept.contains("a sign-in") && !kept.contains("pct_"), "{kept}");
    sign_in(&browser, "pcm_wrong");
    browser.wait_for("[role=alert]", "no management key");
    sign_in(&browser, &key);
    browser.wait_for("[role=status]", "What you had filled in is back");
    assert_eq!(browser.url(), new);
    for (field, typed) in [
        ("#place", "shop/production"),
        ("#label", "kept <i>over</i> a sign-in"),
        ("#scopes", "GET /a/*\nPOST /b"),
        ("#description", ""),
    ] {
        assert_eq!(value(&browser, field), typed, "{field}");
    }
    let again = browser.run("return document.querySelector('[name=expires]:checked').value", &json!([]));
    assert_eq!(again, chosen);
    browser.click("button[value=mint]");
    browser.wait_for("h1", "Copy your token now");
    browser.click("#stored");
    browser.visit(&new);
    assert_eq!(value(&browser, "#label"), "", "once");

    // What is tried while one types is not lost either.
    browser.fill("#label", "while trying");
    browser.click("summary");
    browser.fill("#scopes", "GET /a/*");
    end(&gateway, &browser, || browser.fill("#try-path", "/a/b"));
    sign_in(&browser, &key);
    browser.wait_for("[role=status]", "What you had filled in is back");
    assert_eq!(
        (value(&browser, "#label"), value(&browser, "#try-path")),
        ("while trying".into(), "/a/b".into())
    );
}

#[test]
fn nothing_secret_comes_back_and_nothing_to_somebody_else() {
    let gateway = Gateway::before(&App::echo());
    let (browser, ann) = with_key(&gateway, "ann");
    let bob = key(&gateway, "bob");
    let fill = || {
        browser.visit(&format!("{}/secrets/new", origin(&gateway)));
        browser.fill("#key", "SHOP_KEY");
        browser.fill("#value", "canary-of-a-value");
        browser.fill("#description", "of the shop");
        end(&gateway, &browser, || browser.click("form.card button.main"));
        let kept = browser.run("return JSON.stringify(sessionStorage)", &json!([])).to_string();
        assert!(kept.contains("of the shop") && !kept.contains("canary"), "{kept}");
    };
    fill();
    sign_in(&browser, &ann);
    browser.wait_for("[role=status]", "What you had filled in is back");
    assert_eq!((value(&browser, "#key"), value(&browser, "#value")), ("SHOP_KEY".into(), String::new()));
    assert_eq!(value(&browser, "#description"), "of the shop");
    assert_eq!(gateway.admin("GET /v1/secrets/SHOP_KEY", None).status, 404, "what was sent was not done");
    fill();
    sign_in(&browser, &bob);
    browser.wait_for("h1", "New secret");
    assert_eq!((value(&browser, "#key"), value(&browser, "#description")), (String::new(), String::new()));
    assert_eq!(browser.run("return sessionStorage.length", &json!([])), 0);
}
