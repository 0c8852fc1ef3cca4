//! Leaks on pages: seen by those whom they concern, told as text, and undelivered notices for who looks after all.

use serde_json::json;

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
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
