//! Leaks on pages: seen by those whom they concern, told as text, and undelivered notices for who looks after all.

use serde_json::json;

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
use crate::support::leak;
use crate::support::until;
use crate::support::visitor::{Visitor, between};

fn report(gateway: &Gateway, secret: &str, source: &str, place: &str) {
    let body = json!({ "tokens": [secret], "source": source, "url": place });
    let answer = gateway.admin("POST /v1/leaks", Some(body));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn leaks_are_told_as_text_to_their_owners_and_on_the_tokens_page() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    assert!(visitor.page("/leaks").contains("No leaks known"));
    let (ann, _) = Visitor::member(&gateway, "ann", &["read"], None);
    let caller = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let (hers, other) = (caller.mint("production"), gateway.mint("development"));
    let quiet = gateway.mint("production");
    let place = "javascript:alert(1)//<img src=x onerror=alert(1)>";
    report(&gateway, &hers.secret, "nightly <i>scan</i>", place);
    report(&gateway, &hers.secret, "nightly <i>scan</i>", place);
    report(&gateway, &other.secret, "hand", "https://paste.example/1");

    let all = visitor.page("/leaks");
    assert!(all.contains("<bdi class=\"code\">https://paste.example/1</bdi>"), "{all}");
    assert!(
        !all.contains("href=\"https:") && !all.contains("href=\"javascript") && !all.contains("<img"),
        "{all}"
    );
    assert!(all.contains("nightly &#60;i&#62;scan&#60;/i&#62;") && all.contains("2 times"), "{all}");
    assert!(all.contains(&format!("/tokens/{}", other.id)) && !all.contains("pct_"), "{all}");
    let own = ann.page("/leaks");
    assert!(own.contains(&hers.id) && !own.contains(&other.id) && !own.contains("Undelivered"), "{own}");
    assert_eq!(ann.get("/leaks/notices").status, 403);

    let page = ann.page(&format!("/tokens/{}", hers.id));
    assert!(page.contains("This token leaked") && page.contains("reported as leaked by"), "{page}");
    assert!(!visitor.page(&format!("/tokens/{}", quiet.id)).contains("leaked"));
    let narrowed = visitor.page(&format!("/leaks?subject={}", other.id));
    assert!(narrowed.contains("hand") && !narrowed.contains(&hers.id), "{narrowed}");
    let called = gateway.admin(&format!("GET /v1/leaks?subject={}", other.id), None).json();
    assert_eq!(called["items"].as_array().map(Vec::len), Some(1));
}

/// What the next page says of a leak that this visitor reports.
#[track_caller]
fn told(visitor: &Visitor<'_>, value: &str, next: &str) -> String {
    let sent = visitor.submit("/leaks/report", &[("value", value), ("source", "hand"), ("url", "a chat")]);
    assert_eq!(sent.status, 303, "{sent:?}");
    between(&visitor.page(next), "role=\"status\">", "</p>").to_owned()
}

#[test]
fn a_leak_is_reported_on_a_page_and_the_verdict_told() {
    let gateway = Gateway::before(&App::echo());
    let operator = Visitor::operator(&gateway);
    let (hers, caller) = (gateway.mint("production"), Caller::member(&gateway, "ann", &["mint"], None));
    let form = operator.page("/leaks/report");
    assert!(form.contains("value=\"operator\"") && form.contains("type=\"password\""), "{form}");
    assert!(operator.page("/leaks").contains("href=\"/leaks/report\""));

    let hint = &hers.secret[36..];
    assert_eq!(
        told(&operator, &format!(" {} ", hers.secret), "/leaks"),
        format!("The token ending in …{hint} was live, and is revoked.")
    );
    let refused = gateway.ask(with_token("GET /", "shop.localhost", &hers.secret));
    assert_eq!(refused.code(), "token_revoked");
    let again = told(&operator, &hers.secret, "/leaks");
    assert_eq!(again, format!("The token ending in …{hint} had ended before."));
    assert!(told(&operator, &leak::token(), "/leaks").contains("none of ours"));
    let page = operator.page("/leaks");
    assert!(
        page.contains("by <bdi>hand</bdi>") && page.contains("a chat") && !page.contains("pct_"),
        "{page}"
    );

    // Whoever may mint may report what is another's, and is not told whose it is.
    let (bob, _) = Visitor::member(&gateway, "bob", &["mint"], None);
    let hers = caller.mint("production");
    let verdict = told(&bob, &hers.secret, "/leaks/report");
    assert!(verdict.contains("was live, and is revoked. It is not yours"), "{verdict}");
    assert!(!verdict.contains(&hers.secret[36..]), "{verdict}");
    let refused = gateway.ask(with_token("GET /", "shop.localhost", &hers.secret));
    assert_eq!(refused.code(), "token_revoked");
}

#[test]
fn the_form_that_reports_a_leak_is_for_those_who_may_and_says_nothing_back() {
    let gateway = Gateway::before(&App::echo());
    let operator = Visitor::operator(&gateway);
    let token = gateway.mint("production");
    let (dan, _) = Visitor::member(&gateway, "dan", &["read"], None);
    assert_eq!(dan.get("/leaks/report").status, 403);
    let sent = dan.submit("/leaks/report", &[("value", &token.secret), ("source", "hand")]);
    assert_eq!(sent.status, 403);
    assert!(!dan.page("/leaks").contains("/leaks/report"));
    let unproven = operator.post("/leaks/report", &[("value", &token.secret), ("source", "hand")]);
    assert_eq!(unproven.status, 403);
    let encoded = format!("a%70{}", &token.secret[1..]);
    let long = "x".repeat(30_000);
    for (value, source, url) in [
        ("", "hand", ""),
        ("pct_x", "hand", ""),
        ("\u{0}\u{202e}<script>", "hand", ""),
        (&token.secret, "", ""),
        (&format!("{0} {0}", token.secret), "hand", ""),
        (&token.secret, &token.secret, ""),
        (&token.secret, "hand", &format!("https://paste.example/?t={}", token.secret)),
        (&token.secret, "hand", &encoded),
        (&token.secret, &long, ""),
        (&long, "hand", &long),
    ] {
        let sent = operator.submit("/leaks/report", &[("value", value), ("source", source), ("url", url)]);
        let page = sent.text();
        assert_eq!(sent.status, 422, "{page}");
        assert!(page.contains("Not yet") && !page.contains(&token.secret[4..]), "{page}");
        assert!(!page.contains("<script>") && page.len() < 20_000, "{}", page.len());
    }
    let answer = gateway.ask(with_token("GET /", "shop.localhost", &token.secret));
    assert_eq!(answer.status, 200, "none of them did anything");

    // What is sent twice is one report.
    let page = operator.page("/leaks/report");
    let once = between(&page, "name=\"once\" value=\"", "\"");
    let fields = [("once", once), ("value", &token.secret), ("source", "hand")];
    for _ in 0..2 {
        assert_eq!(operator.submit("/leaks/report", &fields).status, 303);
        let page = operator.page("/leaks");
        assert!(page.contains("was live, and is revoked.") && !page.contains("2 times"), "{page}");
    }
}

#[test]
fn whoever_reports_the_key_they_came_with_is_out_and_told_why() {
    let gateway = Gateway::before(&App::echo());
    let made = gateway.admin("POST /v1/keys", Some(json!({ "member": "ann", "scopes": ["mint"] }))).json();
    let key = made["secret"].as_str().unwrap();
    let ann = Visitor::stranger(&gateway);
    assert_eq!(ann.post("/sign-in", &[("key", key)]).status, 303);
    let sent = ann.submit("/leaks/report", &[("value", key), ("source", "ann")]);
    assert_eq!((sent.status, sent.get("location")), (303, Some("/sign-in?ended=reported")), "{sent:?}");
    assert!(ann.page("/sign-in?ended=reported").contains("it is revoked"));
    assert_eq!(ann.post("/sign-in", &[("key", key)]).status, 401);
}

#[test]
fn a_suspicion_is_told_from_a_leak() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let visitor = Visitor::operator(&gateway);
    let token = gateway.mint("production");
    let line = format!("GET /?project-protection-bypass={}", token.secret);
    let preview = [
        ("Host", "shop.localhost"),
        ("User-Agent", "Slackbot-LinkExpanding 1.0 <b>(+https://api.slack.com/robots)"),
    ];
    assert_eq!(gateway.ask(crate::support::wire::request(&line, &preview)).status, 200);
    let page = until("the warning", || {
        let page = visitor.page(&format!("/tokens/{}", token.id));
        page.contains("This token may have leaked").then_some(page)
    });
    assert!(page.contains("opened by a crawler") && page.contains("owner warned"), "{page}");
    assert!(!page.contains("This token leaked"), "{page}");
    for page in [page, visitor.page("/leaks")] {
        let from = "from <bdi class=\"code\">127.0.0.1</bdi>, <bdi>Slackbot-LinkExpanding 1.0 &#60;b&#62;(";
        assert!(page.contains(from) && !page.contains("<b>"), "{page}");
    }
}

#[test]
fn notices_that_did_not_arrive_are_listed_for_who_looks_after_all() {
    let (app, hook) = (App::echo(), Hook::saying(&[410]));
    let gateway = hook.notified(Setup::new(&app)).start_beside("hook-secret", hook::SECRET);
    let visitor = Visitor::operator(&gateway);
    assert!(visitor.page("/leaks/notices").contains("Nothing waits"));
    let token = gateway.mint("production");
    report(&gateway, &token.secret, "hand", "");
    until("a notice that was given up", || {
        let notices = gateway.admin("GET /v1/notices", None).json();
        notices["items"].as_array()?.iter().any(|notice| notice["status"] == "dead").then_some(())
    });
    let page = visitor.page("/leaks/notices");
    for shown in ["a token leaked", "given up", "webhook", &token.id] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let leaks = visitor.page("/leaks");
    assert!(leaks.contains("Undelivered notices (1)") && leaks.contains("were given up"), "{leaks}");
    let again = between(&page, "action=\"/leaks/notices/", "\"");
    let before = hook.calls().len();
    assert_eq!(visitor.submit(&format!("/leaks/notices/{again}"), &[]).status, 303);
    assert!(visitor.page("/leaks/notices").contains("The notice will be tried again now."));
    hook.wait_for(before + 1);
}
