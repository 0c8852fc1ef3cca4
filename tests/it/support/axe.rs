//! An engine that judges whether everybody can use a page: <https://github.com/dequelabs/axe-core>, under the licence
//! beside it.

use serde_json::json;

use super::browser::Browser;

const ENGINE: &str = include_str!("../dashboard/axe.min.js");

/// What is looked at.
pub(crate) const ALL: &str = "{}";
const CONTRAST: &str = "{ runOnly: 'color-contrast' }";
const SIZES: &str = "{ runOnly: ['target-size', 'scrollable-region-focusable'] }";

/// The page as it is shown now: nothing on it may keep anybody out, and it fits its window.
#[track_caller]
pub(crate) fn judge(browser: &Browser, name: &str, rules: &str) {
    if browser.run("return typeof axe", &json!([])) == "undefined" {
        browser.run(ENGINE, &json!([]));
    }
    let found = browser.eval(&format!(
        "const found = await axe.run({rules}); return found.violations.map((v) => \
         [v.impact, v.id, v.nodes.map((n) => n.target.join(' ') + ': ' + n.failureSummary)])",
    ));
    let found = found.as_array().unwrap_or_else(|| panic!("{name}: {found}"));
    assert!(found.is_empty(), "{name}: {found:#?}");
    let wide = browser.run("return document.documentElement.scrollWidth > innerWidth", &json!([]));
    assert_eq!(wide, false, "{name} is wider than its window");
}

/// The same in the light, in the dark and at a phone's width, also what is folded away; with a picture of each.
#[track_caller]
pub(crate) fn judge_each_look(browser: &Browser, name: &str) {
    let unfold = |open: bool| {
        browser.run(
            &format!("document.querySelectorAll('details').forEach((d) => {{ d.open = {open} }})"),
            &json!([]),
        );
    };
    for (look, width, scheme, rules) in
        [("light", 1280, "light", ALL), ("dark", 1280, "dark", CONTRAST), ("phone", 390, "light", SIZES)]
    {
        browser.resize(width, 860, false);
        browser.prefer(scheme);
        browser.shoot(&format!("{name}-{look}"));
        unfold(true);
        judge(browser, &format!("{name}, {look}"), rules);
        unfold(false);
    }
    browser.resize(1280, 860, false);
    browser.prefer("light");
}
