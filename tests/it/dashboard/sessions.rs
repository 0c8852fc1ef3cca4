//! Signing in, staying in, and being out again.

use serde_json::json;

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::gateway::Gateway;
use crate::support::visitor::{Visitor, link};
use crate::support::wire::request;

fn is_out(visitor: &Visitor<'_>) -> bool {
    let answer = visitor.get("/tokens");
    match answer.status {
        303 => {
            assert_eq!(answer.get("location"), Some("/sign-in?next=%2Ftokens"));
            true
        }
        status => {
            assert_eq!(status, 200, "{answer:?}");
            false
        }
    }
}

#[test]
fn a_key_signs_in_until_it_is_revoked() {
    let gateway = Gateway::before(&App::echo());
    assert!(is_out(&Visitor::stranger(&gateway)));
    let (ann, key) = Visitor::member(&gateway, "ann", &["read"], None);
    assert!(ann.page("/tokens").contains("<bdi>ann</bdi>"));
    let cookie = ann.cookie();
    assert!(!cookie.contains("pcm_"), "{cookie}");
    gateway.admin(&format!("DELETE /v1/keys/{key}"), None);
    assert!(is_out(&ann));
    let again = ann.post("/tokens", &[("proof", "of a session that is over")]);
    assert_eq!(
        (again.status, again.get("location")),
        (303, Some("/sign-in?ended=yes&next=%2Ftokens%2Fnew")),
        "{again:?}"
    );
    let door = ann.page("/sign-in?ended=yes&next=%2Ftokens%2Fnew");
    assert!(door.contains("Your session has ended") && door.contains("value=\"/tokens/new\""), "{door}");
    let again = ann.post("/tokens/tok_x/revoke", &[]);
    assert_eq!(again.get("location"), Some("/sign-in?ended=yes&next=%2Ftokens%2Ftok_x"), "{again:?}");
    let again = ann.post("/sign-out", &[("proof", "of a session that is over")]);
    assert_eq!((again.status, again.get("location")), (303, Some("/sign-in")), "{again:?}");

    let (bob, _) = Visitor::member(&gateway, "bob", &["read", "mint"], None);
    assert!(!is_out(&bob));
    gateway.admin("DELETE /v1/members/bob", None);
    assert!(is_out(&bob));
}

#[test]
fn the_cookie_is_for_this_site_alone() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::stranger(&gateway);
    let set = visitor.post(&link(&gateway), &[]);
    let attributes: Vec<_> = set.get("set-cookie").unwrap().split("; ").skip(1).collect();
    assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Strict"]);
    // A browser that speaks TLS with what stands in front of us says so.
    let origin = visitor.origin().replace("http:", "https:");
    let set = visitor.post_with(&link(&gateway), &[("Origin", &origin)], &[]);
    let cookie = set.get("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-portcullis-admin=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(!is_out(&visitor));
}

#[test]
fn a_link_signs_in_once() {
    let gateway = Gateway::before(&App::echo());
    let ran = gateway.cli(&["dashboard"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let origin = format!("http://{}", gateway.admin_address());
    let link = ran.stdout.trim().strip_prefix(&origin).unwrap();
    assert!(ran.stderr.contains("once"), "{ran:?}");
    let visitor = Visitor::stranger(&gateway);
    // Looking at it does not use it up.
    assert!(visitor.page(link).contains("<h1>Sign in</h1>"));
    assert_eq!(visitor.post(link, &[]).status, 303);
    assert!(visitor.page("/tokens").contains("<bdi>operator</bdi>"));
    let second = Visitor::stranger(&gateway);
    assert_eq!(second.post(link, &[]).status, 401);
    assert_eq!(second.post("/sign-in/nothing", &[]).status, 401);
    assert!(is_out(&second));
}

#[test]
fn links_of_one_holder_do_not_end_those_of_others() {
    let gateway = Gateway::before(&App::echo());
    let operators = link(&gateway);
    let ann = Caller::member(&gateway, "ann", &["read"], None);
    for _ in 0..70 {
        ann.get(201, "POST /v1/dashboard-links", None);
    }
    assert_eq!(Visitor::stranger(&gateway).post(&operators, &[]).status, 303);
}

#[test]
fn cookies_that_others_set_beside_ours_neither_hide_it_nor_take_its_place() {
    let gateway = Gateway::before(&App::echo());
    let (ann, bob) = (Visitor::operator(&gateway).cookie(), Visitor::operator(&gateway).cookie());
    let is_out = |cookies: &[&str]| is_out(&Visitor::with_cookie(&gateway, &cookies.join("; ")));
    assert!(!is_out(&["portcullis-admin=junk", &ann]));
    assert!(!is_out(&[&ann, &ann, "portcullis-admin"]));
    assert!(is_out(&[&ann, &bob]), "nobody can tell which of them is theirs");
    // Another program on this host can set one by the name that is for TLS, too.
    assert!(!is_out(&["__Host-portcullis-admin=junk", "__Host-portcullis-admin=", &ann]));
    let both = [&*bob.replace("portcullis-admin", "__Host-portcullis-admin"), &ann].join("; ");
    let first = Visitor::with_cookie(&gateway, &both);
    assert_eq!(
        first.proof(),
        Visitor::with_cookie(&gateway, &bob).proof(),
        "that only TLS can set goes first"
    );
    // What keeps somebody out is not kept from them.
    for cookies in [&*format!("{ann}; {bob}"), "portcullis-admin=junk", "__Host-portcullis-admin=junk"] {
        let page = Visitor::with_cookie(&gateway, cookies).page("/sign-in");
        assert!(page.contains("a cookie that opens no session"), "{cookies}: {page}");
    }
    assert!(!Visitor::stranger(&gateway).page("/sign-in").contains("cookie"));
}

#[test]
fn an_app_on_the_same_host_never_sees_the_session() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let plain = Visitor::operator(&gateway).cookie();
    let visitor = Visitor::stranger(&gateway);
    let origin = visitor.origin().replace("http:", "https:");
    assert_eq!(visitor.post_with(&link(&gateway), &[("Origin", &origin)], &[]).status, 303);
    let cookies = format!("{plain}; {}; a=1", visitor.cookie());
    let fields = [("Host", "shop.localhost"), ("X-Portcullis-Token", &token), ("Cookie", &cookies)];
    assert_eq!(gateway.ask(request("GET /", &fields)).status, 200);
    assert_eq!(app.only().head.get("cookie"), Some("a=1"));
}

#[test]
fn whoever_signs_in_again_leaves_no_session_behind() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let first = visitor.cookie();
    assert_eq!(visitor.post(&link(&gateway), &[]).status, 303);
    assert!(!is_out(&visitor));
    assert!(is_out(&Visitor::with_cookie(&gateway, &first)));
}

#[test]
fn what_the_operator_does_in_a_browser_is_written_down_with_its_address() {
    let gateway = Gateway::before(&App::echo());
    let operator = Visitor::operator(&gateway);
    assert_eq!(operator.submit("/members", &[("name", "bob")]).status, 303);
    Visitor::member(&gateway, "ann", &["read"], None);
    let audit = gateway.admin("GET /v1/audit", None).json();
    let told: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&entry["actor"]), text(&entry["action"]), text(&entry["detail"]["from"]))
        })
        .collect();
    for (actor, action, from) in [
        ("operator", "session.begin", "127.0.0.1"),
        ("operator", "member.add", "127.0.0.1"),
        ("operator", "key.mint", "socket"),
        ("ann", "session.begin", "127.0.0.1"),
    ] {
        assert!(
            told.contains(&(actor.to_owned(), action.to_owned(), from.to_owned())),
            "{actor} {action}: {told:?}"
        );
    }
}

#[test]
fn who_may_only_write_is_led_to_where_they_may() {
    let gateway = Gateway::before(&App::echo());
    let (ann, _) = Visitor::member(&gateway, "ann", &["secrets"], None);
    assert_eq!(ann.get("/").get("location"), Some("/secrets/new"));
    let page = ann.page("/secrets/new");
    assert!(page.contains("<a href=\"/secrets/new\"") && !page.contains("href=\"/secrets\""), "{page}");
    let set = ann.submit("/secrets", &[("key", "SHOP_KEY"), ("value", "x"), ("expires", "never")]);
    assert_eq!((set.status, set.get("location")), (303, Some("/")), "{set:?}");
    assert!(ann.page("/secrets/new").contains("SHOP_KEY is set."));
    let (bob, _) = Visitor::member(&gateway, "bob", &["mint"], None);
    assert_eq!(bob.get("/").get("location"), Some("/tokens/new"));
    let made = bob.submit("/tokens", &[("place", "shop/production"), ("expires", "1h")]);
    assert!(made.status == 201 && !made.text().contains("\"/tokens/tok_"), "{made:?}");
    let (eve, _) = Visitor::member(&gateway, "eve", &["deploy"], None);
    let home = eve.page("/");
    assert!(home.contains("no pages here") && home.contains("app publish"), "{home}");
    assert!(!home.contains("token delete"), "{home}");
    let path = "/apps/shop/environments/production/deployments";
    let released = eve.submit(path, &[("id", "initial")]);
    assert_eq!((released.status, released.get("location")), (303, Some("/")), "{released:?}");
    assert!(eve.page("/").contains("initial is released anew"));
    let (fay, _) = Visitor::member(&gateway, "fay", &["delete"], None);
    assert!(fay.page("/").contains("token delete"));
    let (dan, _) = Visitor::member(&gateway, "dan", &["read"], None);
    assert_eq!(dan.get("/secrets/SHOP_KEY/edit").status, 403, "no form whose end is a refusal");
    let answer = dan.get("/sign-out");
    assert!(answer.status == 405 && answer.text().contains("<h1>"), "{answer:?}");
}

#[test]
fn signing_out_ends_the_session() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let cookie = visitor.cookie();
    let out = visitor.submit("/sign-out", &[]);
    assert_eq!((out.status, out.get("location")), (303, Some("/sign-in")));
    assert!(out.get("set-cookie").unwrap().contains("Max-Age=0"));
    let kept = Visitor::with_cookie(&gateway, &cookie);
    assert!(is_out(&kept), "the session itself is over");
}

#[test]
fn everybody_is_signed_out_at_once() {
    let gateway = Gateway::before(&App::echo());
    let (operator, (ann, _)) =
        (Visitor::operator(&gateway), Visitor::member(&gateway, "ann", &["read", "mint"], None));
    let waiting = link(&gateway);
    let caller = Caller::member(&gateway, "bob", &["read", "mint"], None);
    caller.get(403, "DELETE /v1/dashboard-sessions", None);
    assert!(!is_out(&operator) && !is_out(&ann));
    let ran = gateway.cli(&["dashboard", "--sign-out-all"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("2 sessions ended."), "{ran:?}");
    assert!(is_out(&operator) && is_out(&ann));
    assert_eq!(Visitor::stranger(&gateway).post(&waiting, &[]).status, 401, "a link is a session to come");
    assert_eq!(gateway.admin("DELETE /v1/dashboard-sessions", None).json()["ended"], 0);
    let entries = gateway.admin("GET /v1/audit", None).json();
    let noted =
        |entry: &serde_json::Value| entry["action"] == "session.end_all" && entry["detail"]["sessions"] == 2;
    assert!(entries["items"].as_array().unwrap().iter().any(noted), "{entries}");
    assert!(!is_out(&Visitor::operator(&gateway)), "whoever may comes in again");
}

#[test]
fn wrong_keys_are_refused_and_then_have_to_wait() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::stranger(&gateway);
    let token = gateway.mint("production").secret;
    for wrong in ["", "pcm_x", &token, "pcm_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"] {
        let answer = visitor.post("/sign-in", &[("key", wrong)]);
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(answer.get("set-cookie").is_none() && !answer.text().contains("pct_"), "{answer:?}");
    }
    let statuses: Vec<_> = (0..10).map(|_| visitor.post("/sign-in", &[("key", "pcm_x")]).status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429, 429, 429, 429]);
    let late = visitor.post("/sign-in", &[("key", "pcm_x")]);
    assert!(late.get("retry-after").unwrap().parse::<u64>().unwrap() <= 61);
    // Others of the same address, behind one proxy, get in.
    let (ann, _) = Visitor::member(&gateway, "ann", &["read"], None);
    assert!(!is_out(&ann));
}

#[test]
fn it_goes_on_to_where_one_wanted_to_go_and_nowhere_else() {
    let gateway = Gateway::before(&App::echo());
    let key = gateway.admin("POST /v1/keys", Some(json!({ "member": "ann", "scopes": ["read"] }))).json();
    let key = key["secret"].as_str().unwrap();
    for (next, expected) in [
        ("/tokens?q=a%20b", "/tokens?q=a%20b"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: a=b", "/"),
    ] {
        let visitor = Visitor::stranger(&gateway);
        let answer = visitor.post("/sign-in", &[("key", key), ("next", next)]);
        assert_eq!((answer.status, answer.get("location")), (303, Some(expected)), "{next:?}");
    }
}
