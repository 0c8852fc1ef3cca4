//! What pages show and do, without a browser.

use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::stage::Stage;
use crate::support::until;
use crate::support::visitor::{Visitor, between};

const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "\u{202e}txt.exe\u{202d} 👩‍🚀 </bdi>",
    "{{7*7}} ${7*7} &lt;b&gt; &amp; '",
    "مرحبا בלבול",
];

fn order<'a>(label: &'a str, expires: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![("place", "shop/production"), ("label", label), ("expires", expires), ("once", "a")]
}

/// A request to the production environment.
fn asked(line: &str, token: &str) -> Vec<u8> {
    with_token(line, "shop.localhost", token)
}

/// The value that a page reveals.
fn revealed(page: &str) -> String {
    let (_, rest) = page.split_once(">pct_").unwrap_or_else(|| panic!("no token: {page}"));
    format!("pct_{}", &rest[..36])
}

#[test]
fn a_token_is_made_shown_once_rotated_and_revoked() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let visitor = Visitor::operator(&gateway);
    assert!(visitor.page("/tokens").contains("Make the first token"));
    let form = visitor.page("/tokens/new");
    let shortest = form.split("<label>").find(|choice| choice.contains("\"1h\"")).unwrap();
    assert!(shortest.contains("checked"), "the shortest lifetime is chosen");

    let mut sent = order("uptime monitor", "7d");
    sent.push(("scopes", "GET /healthz\r\nPOST /hook/*"));
    let made = visitor.submit("/tokens", &sent);
    assert_eq!(made.status, 201, "{made:?}");
    let value = revealed(made.text());
    let port = gateway.address().port();
    for shown in [
        format!("x-portcullis-token: {value}"),
        format!("Authorization: Bearer {value}"),
        format!("project-protection-bypass={value}"),
        format!("http://shop.localhost:{port}/"),
    ] {
        assert!(made.text().contains(&shown), "{shown}: {}", made.text());
    }
    assert_eq!(gateway.ask(asked("GET /healthz", &value)).status, 200);
    assert_eq!(gateway.ask(asked("GET /elsewhere", &value)).status, 403);

    // The same form again makes nothing, and shows nothing.
    let again = visitor.submit("/tokens", &sent);
    assert_eq!(again.status, 200, "{again:?}");
    assert!(!again.text().contains("pct_") && again.text().contains("shown before"));
    let list = visitor.page("/tokens");
    assert_eq!(list.matches("uptime monitor").count(), 1);
    assert!(list.contains(&format!("…{}", &value[36..])) && !list.contains("pct_"));

    let id = between(&list, "/tokens/tok_", "\"").to_owned();
    let path = format!("/tokens/tok_{id}");
    let page = visitor.page(&path);
    assert!(page.contains("POST /hook/*") && !page.contains("pct_"));
    let rotated = visitor.submit(&format!("{path}/rotate"), &[("overlap", "0s"), ("once", "r")]);
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let next = revealed(rotated.text());
    assert_eq!(gateway.ask(asked("GET /healthz", &value)).status, 401);
    assert_eq!(gateway.ask(asked("GET /healthz", &next)).status, 200);
    let page = visitor.page(&path);
    let successor = between(&page, "Followed by</dt><dd><a href=\"", "\"").to_owned();
    let revoked = visitor.submit(&format!("{successor}/revoke"), &[("reason", "leaked <b>")]);
    assert_eq!((revoked.status, revoked.get("location")), (303, Some(&*successor)));
    assert_eq!(gateway.ask(asked("GET /healthz", &next)).code(), "token_revoked");
    let page = visitor.page(&successor);
    assert!(page.contains("The token is revoked.") && page.contains("leaked &#60;b&#62;"), "{page}");
    assert!(!visitor.page(&successor).contains("The token is revoked."), "said once");
    let deleted = visitor.submit(&format!("{successor}/delete"), &[]);
    assert_eq!((deleted.status, deleted.get("location")), (303, Some("/tokens")));
    assert_eq!(visitor.get(&successor).status, 404);
}

#[test]
fn what_is_wrong_is_said_beside_its_field() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let wrong = [
        ("place", "shop/nowhere"),
        ("label", "a <b>"),
        ("expires", "date"),
        ("date", "2001-01-01"),
        ("scopes", "GET"),
        ("allowed_addresses", "everywhere"),
        ("rate_limit", "often"),
    ];
    let answer = visitor.submit("/tokens", &wrong);
    assert_eq!(answer.status, 422);
    let page = answer.text();
    for field in ["place-fault", "scopes-fault", "networks-fault", "rate-fault"] {
        assert!(page.contains(&format!("id=\"{field}\"")), "{field}: {page}");
    }
    assert!(page.contains("must be in the future") && page.contains("value=\"a &#60;b&#62;\""), "{page}");
    assert!(page.contains("<details class=\"more\" open>"), "what is wrong is in sight");
    let trial = [("intent", "try"), ("scopes", "GET /a/*"), ("try_path", "/a/b"), ("try_method", "POST")];
    let tried = visitor.submit("/tokens", &trial);
    assert!(tried.status == 200 && tried.text().contains("no scope allows it"), "{tried:?}");
    // Enter stands for what was filled in: a scope that is tried makes no token, until it was tried.
    let enter = |path, tried| {
        let more = [("intent", "enter"), ("place", "shop/production"), ("expires", "1h"), ("tried", tried)];
        visitor.submit("/tokens", &[&more, &trial[1..2], &trial[3..], &[("try_path", path)]].concat())
    };
    let first = enter("/a/b", "");
    assert!(first.status == 200 && first.text().contains("no scope allows it"), "{first:?}");
    let shown = between(first.text(), "name=\"tried\" value=\"", "\"").replace('\n', "\r\n");
    let other = enter("/a/c", &shown);
    assert!(other.status == 200 && other.text().contains("no scope allows it"), "{other:?}");
    assert!(visitor.page("/tokens").contains("No tokens yet"));
    assert_eq!(enter("/a/b", &shown).status, 201);
}

#[test]
fn labels_of_any_kind_are_text_and_stay_in_their_place() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let long = "é".repeat(120);
    for label in HOSTILE.into_iter().chain([&*long]) {
        gateway.mint_with(json!({
            "label": label, "description": label, "app": "shop", "environment": "production", "expires_in": "1h",
        }));
    }
    let list = visitor.page("/tokens");
    let mut pages = vec![list.clone(), visitor.page("/audit")];
    for path in list.split('"').filter(|part| part.starts_with("/tokens/tok_")) {
        pages.push(visitor.page(path));
        pages.push(visitor.page(&format!("{path}/edit")));
    }
    assert!(pages.len() >= 14, "{list}");
    for page in &pages {
        for raw in ["<script>alert", "<img src=x", "</bdi> 👩", "👩‍🚀 </bdi>", "49"] {
            assert!(raw == "49" || !page.contains(raw), "{raw}: {page}");
        }
        assert_eq!(page.matches("<bdi").count(), page.matches("</bdi>").count());
        assert!(page.len() < 100_000);
    }
    for label in ["&#60;script&#62;alert(1)&#60;/script&#62;", HOSTILE[4], &long] {
        assert!(list.contains(&format!("<bdi>{label}</bdi>")), "{label}");
    }
}

#[test]
fn the_list_is_narrowed_down_and_has_pages() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    for number in 0..52 {
        let environment = if number % 2 == 0 { "production" } else { "development" };
        gateway.mint_with(json!({
            "label": format!("token {number:02} %"), "app": "shop", "environment": environment, "expires_in": "1h",
        }));
    }
    let count = |path: &str| visitor.page(path).matches("<tr>").count().saturating_sub(1);
    assert_eq!(count("/tokens"), 50);
    let first = visitor.page("/tokens?environment=&q=token");
    let next = between(&first, "<a class=\"button\" href=\"?", "\"").replace("&#38;", "&");
    assert!(next.starts_with("q=token&cursor=tok_"), "{next}");
    let second = visitor.page(&format!("/tokens?{next}"));
    assert!(second.contains("token 00 %") && !second.contains("token 02 %") && second.contains("First page"));
    assert_eq!(count("/tokens?environment=development&q=token+5"), 1);
    assert_eq!(count("/tokens?q=%25"), 50);
    assert_eq!(count("/tokens?status=revoked"), 0);
    assert!(visitor.page("/tokens?status=revoked").contains("Nothing matches"));
    assert_eq!(count("/tokens?member=operator&app=shop"), 50);
    assert_eq!(count("/tokens?expiring=7d"), 0, "only what is in use");
    assert_eq!(visitor.get("/tokens?expiring=soon").status, 422);
    assert_eq!(visitor.get("/tokens?status=nonsense").status, 422);
    assert_eq!(visitor.get("/tokens?cursor=nonsense").status, 422);
}

#[test]
fn an_edit_meets_what_was_seen() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let id = gateway.mint("production").id;
    let path = format!("/tokens/{id}/edit");
    let form = visitor.page(&path);
    let revision = between(&form, "name=\"revision\" value=\"", "\"").to_owned();
    let fields = [
        ("revision", &*revision),
        ("label", "renamed"),
        ("scopes", "GET /a"),
        ("rate_limit", "5/1m"),
        ("expires", ""),
    ];
    assert_eq!(visitor.submit(&path, &fields).status, 303);
    let token = gateway.admin(&format!("GET /v1/tokens/{id}"), None).json();
    assert_eq!(
        (&token["label"], &token["scopes"][0], &token["rate_limit"]),
        (&json!("renamed"), &json!("GET /a"), &json!("5/1m"))
    );
    assert_eq!(visitor.submit(&path, &fields).status, 412, "it was changed since");
    let form = visitor.page(&path);
    let revision = between(&form, "name=\"revision\" value=\"", "\"").to_owned();
    let later = visitor.submit(&path, &[("revision", &revision), ("expires", "5y")]);
    assert!(later.status == 422 && later.text().contains("brought forward"), "{later:?}");
}

#[test]
fn a_plain_member_sees_their_own_and_is_offered_no_more() {
    let gateway = Gateway::before(&App::echo());
    let boss = gateway.mint_with(json!({
        "label": "of the boss", "app": "shop", "environment": "production", "expires_in": "1h",
    }));
    let (ann, _) = Visitor::member(&gateway, "ann", &["read", "mint"], None);
    let list = ann.page("/tokens");
    assert!(!list.contains("of the boss") && !list.contains("href=\"/members\"") && !list.contains("Owner"));
    for path in ["/members", "/tokens/tok_x", &format!("/tokens/{}", boss.id)] {
        let status = ann.get(path).status;
        assert_eq!(status, if path == "/members" { 403 } else { 404 }, "{path}");
    }
    for (path, status) in [
        (format!("/tokens/{}/revoke", boss.id), 404),
        (format!("/tokens/{}/delete", boss.id), 403),
        ("/members".to_owned(), 403),
        ("/keys".to_owned(), 403),
        ("/apps/shop/environments/production/external-access".to_owned(), 403),
    ] {
        assert_eq!(ann.submit(&path, &[("name", "eve"), ("enabled", "false")]).status, status, "{path}");
    }
    let made = ann.submit("/tokens", &order("my own", "1h"));
    assert_eq!(made.status, 201);
    let list = ann.page("/tokens");
    let own = between(&list, "/tokens/tok_", "\"");
    let page = ann.page(&format!("/tokens/tok_{own}"));
    assert!(page.contains("/revoke") && !page.contains("/delete"));
    assert!(!ann.page("/keys").contains("Make a key"));
    assert!(!ann.page("/apps/shop").contains("/external-access"));
    let (minter, _) = Visitor::member(&gateway, "max", &["mint"], None);
    let refused = minter.get("/tokens");
    assert!(refused.status == 403 && refused.text().contains("scope"), "{refused:?}");
}

#[test]
fn apps_members_keys_and_the_audit_log() {
    let app = App::echo();
    let gateway = Setup::new(&app).start();
    let visitor = Visitor::operator(&gateway);
    let token = gateway.mint("production").secret;
    let apps = visitor.page("/apps");
    assert!(apps.contains("shop.localhost") && apps.contains("1, not checked"), "{apps}");
    let switch = "/apps/shop/environments/production/external-access";
    assert_eq!(visitor.submit(switch, &[("enabled", "false")]).status, 303);
    assert_eq!(gateway.ask(asked("GET /", &token)).code(), "external_access_off");
    assert!(visitor.page("/apps/shop").contains("external access off"));
    assert_eq!(visitor.submit(switch, &[("enabled", "true")]).status, 303);
    assert_eq!(gateway.ask(asked("GET /", &token)).status, 200);

    assert_eq!(
        visitor.submit("/members", &[("name", "ann"), ("email", "ann@example.com"), ("once", "m")]).status,
        303
    );
    assert!(visitor.page("/members").contains("ann@example.com"));
    let wrong = visitor.submit("/members", &[("name", "operator"), ("email", "x")]);
    assert!(
        wrong.status == 422 && wrong.text().contains("name-fault") && wrong.text().contains("email-fault")
    );
    let fields =
        [("member", "ann"), ("scopes", "read"), ("scopes", "mint"), ("label", "laptop"), ("once", "k")];
    let key = visitor.submit("/keys", &fields);
    assert!(key.status == 201 && key.text().contains("pcm_"), "{key:?}");
    assert!(!visitor.submit("/keys", &fields).text().contains("pcm_"));
    let keys = visitor.page("/keys");
    assert!(keys.contains("laptop") && keys.contains("read, mint") && !keys.contains("\"pcm_"));
    let path = format!("/keys/key_{}/revoke", between(&keys, "/keys/key_", "/revoke"));
    assert_eq!(visitor.submit(&path, &[]).status, 303);
    assert_eq!(visitor.submit("/members/ann/remove", &[]).status, 303);
    assert!(visitor.page("/members").contains("ann is removed"));

    let audit = visitor.page("/audit");
    let newest = audit.find("removed a member").unwrap();
    assert!(newest < audit.rfind("made a token").unwrap(), "newest first");
    let keys = visitor.page("/audit?action=key.revoke");
    assert_eq!(keys.matches("<tr>").count(), 2);
    assert_eq!(visitor.page("/audit?actor=nobody").matches("<tr>").count(), 0);
    assert!(visitor.page("/audit?subject=ann").contains("added a member"));
}

#[test]
fn charts_tell_what_went_on_lately() {
    let stage = Stage::new();
    let visitor = Visitor::operator(&stage.gateway);
    for _ in 0..3 {
        assert_eq!(stage.gateway.ask(asked("GET /", &stage.token)).status, 200);
    }
    let wrong = with_token("GET /", "shop.dev.localhost", &stage.token);
    assert_eq!(stage.gateway.ask(wrong).code(), "wrong_environment");
    let page = until("the chart of the token", || {
        let page = visitor.page(&format!("/tokens/{}", stage.id));
        page.contains("aria-label=\"Last hour: 4 requests, 1 refused\"").then_some(page)
    });
    assert!(page.contains("wrong_environment") && page.contains("class=\"refused\""), "{page}");
    // Those of the environments come from other counts.
    until("the charts of the app", || {
        let app = visitor.page("/apps/shop");
        (app.contains("Last day: 3 requests\"") && app.contains("Last day: 1 request, 1 refused"))
            .then_some(())
    });
}
