//! Browser sessions, as far as they can be told without a browser: who gets one, what it opens, and what ends it.

use std::time::Duration;

use serde_json::json;

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::gateway::{Gateway, Minted, Setup};
use crate::support::until;
use crate::support::way::{HOST, Way};
use crate::support::websocket::{agree, wish};
use crate::support::wire::{Answer, request};

const ACCEPT: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn target(path: &str, token: &Minted) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}project-protection-bypass={}", token.secret)
}

fn navigate(gateway: &Gateway, target: &str, fields: &[(&str, &str)]) -> Answer {
    gateway.ask(request(&format!("GET {target}"), &[&[ACCEPT], fields].concat()))
}

fn paste(gateway: &Gateway, form: &str, fields: &[(&str, &str)]) -> Answer {
    let length = form.len().to_string();
    let fields = [&[FORM, ("Content-Length", &length)], fields].concat();
    gateway.ask([request("POST /.portcullis/session", &fields), form.into()].concat())
}

/// The name and value of the one cookie that an answer sets.
#[track_caller]
fn cookie(answer: &Answer) -> String {
    let cookie = answer.get("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    cookie.split_once(';').unwrap().0.to_owned()
}

/// The cookie of a session with this token.
#[track_caller]
fn session(gateway: &Gateway, token: &Minted) -> String {
    cookie(&navigate(gateway, &target("/", token), &[]))
}

fn with_cookie(line: &str, cookie: &str) -> Vec<u8> {
    request(line, &[("Cookie", cookie)])
}

#[test]
fn a_navigation_with_a_token_becomes_a_session_at_the_same_address_without_it() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let answer = navigate(&gateway, &target("/a/b?x=%2F&y", &token), &[]);
    assert_eq!((answer.status, answer.get("location")), (303, Some("/a/b?x=%2F&y")), "{answer:?}");
    assert_eq!(answer.get("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    let set = answer.get("set-cookie").unwrap();
    assert!(set.starts_with("portcullis=") && !set.contains(&token.secret[4..]), "{set}");
    assert!(set.ends_with("; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"), "{set}");
    assert!(app.requests().is_empty(), "the app has not seen it");
    let line = gateway.logged(answer.get("x-request-id").unwrap());
    assert_eq!(
        (&line["code"], &line["status"], &line["token_id"]),
        (&"ok".into(), &303.into(), &token.id.as_str().into())
    );

    assert_eq!(line["ended"], "complete", "{line}");

    let cookie = cookie(&answer);
    let theirs = format!("a=\"1\"; {cookie};b=2;  __Host-portcullis=x");
    let answer = gateway.ask(request("GET /a/b?x=%2F&y", &[("Cookie", &theirs)]));
    assert_eq!((answer.status, answer.get("cache-control")), (200, Some("private")));
    let seen = app.only();
    assert_eq!(seen.head.get("cookie"), Some("a=\"1\";b=2"));
    assert_eq!(seen.head.get("x-portcullis-token-id"), Some(token.id.as_str()));
    // Where it was all there was, nothing is left.
    assert_eq!(gateway.ask(with_cookie("POST /", &cookie)).status, 200);
    assert_eq!(app.requests()[1].head.get("cookie"), None);
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("portcullis="));
}

#[test]
fn programs_are_never_redirected_and_browsers_may_decline() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let own = target("/", &token);
    let fetch = |mode, dest| [("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)];
    for (line, fields, redirected) in [
        (format!("GET {own}"), vec![], false),
        (format!("GET {own}"), vec![("Accept", "*/*"), ("User-Agent", "Mozilla/5.0")], false),
        (format!("GET {own}"), vec![("Accept", "application/json, text/html")], false),
        (format!("POST {own}"), vec![ACCEPT], false),
        (format!("GET {own}"), [&fetch("cors", "empty")[..], &[ACCEPT]].concat(), false),
        (format!("GET {own}"), fetch("no-cors", "image").to_vec(), false),
        (format!("GET {own}"), fetch("navigate", "document").to_vec(), true),
        (format!("GET {own}"), fetch("navigate", "iframe").to_vec(), true),
        (format!("GET {own}"), vec![ACCEPT], true),
        (format!("GET {own}&portcullis-session=none"), vec![ACCEPT], false),
        // What a browser would take for another host.
        (format!("GET {}", target("//evil.example/", &token)), vec![ACCEPT], false),
    ] {
        let answer = gateway.ask(request(&line, &fields));
        assert_eq!(answer.status, if redirected { 303 } else { 200 }, "{line} {fields:?}: {answer:?}");
        assert_eq!(answer.get("set-cookie").is_some(), redirected, "{line} {fields:?}");
    }
    let mut wire = gateway.connect();
    wire.send(request(&format!("HEAD {own}"), &[ACCEPT]));
    assert_eq!(wire.head().unwrap().unwrap().status(), 303);
    // In a header it is no link that somebody followed.
    let by_header = request("GET /", &[ACCEPT, ("X-Portcullis-Token", &token.secret)]);
    assert_eq!(gateway.ask(by_header).status, 200);
    let off = Setup::new(&app).both("browser_sessions", "false").start();
    let token = off.mint("production");
    assert_eq!(navigate(&off, &target("/", &token), &[]).status, 200);
    paste(&off, &format!("token={}", token.secret), &[]).refused(404, "not_found");
    assert!(!navigate(&off, "/", &[]).text().contains("<form"));
}

#[test]
fn over_tls_the_cookie_is_bound_to_the_host_and_may_be_for_frames() {
    let app = App::echo();
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(&app).and(&authority.entry("127.0.0.1:0", "shop")).start();
    let token = gateway.mint("production");
    for way in Way::ALL.into_iter().filter(|way| way.tls) {
        let ask = |line: (&str, &str), fields: &[(&str, &str)]| {
            way.connect(&gateway, &authority).ask(line, fields, b"", true)
        };
        let accept = ("accept", ACCEPT.1);
        let plain = ask(("GET", &target("/", &token)), &[accept]);
        let set = plain.get("set-cookie").unwrap();
        assert!(set.starts_with("__Host-portcullis="), "{set}");
        assert!(set.ends_with("; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax"), "{set}");
        let own = cookie(&plain);
        assert_eq!(ask(("GET", "/"), &[("cookie", &own)]).status, 200, "{way:?}");
        let other_name = own.replace("__Host-", "");
        ask(("GET", "/"), &[("cookie", &other_name)]).refused(401, "token_missing");

        let framed = ask(("GET", &target("/?portcullis-session=samesite-none", &token)), &[accept]);
        assert_eq!(framed.get("location"), Some("/"));
        let set = framed.get("set-cookie").unwrap();
        assert!(set.ends_with("; HttpOnly; Secure; SameSite=None; Partitioned"), "{set}");
        let framed = cookie(&framed);
        // Any page may make a browser send this one along.
        let (ours, theirs) = (("origin", "https://shop.localhost"), ("origin", "https://evil.example"));
        let site = |site| ("sec-fetch-site", site);
        for (method, field, allowed) in [
            ("GET", theirs, true),
            ("GET", site("cross-site"), true),
            ("POST", theirs, false),
            ("POST", ("origin", "null"), false),
            ("POST", site("cross-site"), false),
            ("DELETE", site("same-site"), false),
            ("POST", ours, true),
            ("POST", site("same-origin"), true),
        ] {
            let answer = ask((method, "/"), &[("cookie", &framed), field]);
            assert_eq!(
                answer.status,
                if allowed { 200 } else { 401 },
                "{way:?} {method} {field:?}: {answer:?}"
            );
        }
    }
    // The proxy before us says what its client's connection is.
    let behind = Setup::new(&app).set("gateway", "trusted_proxies", "[\"127.0.0.1\"]").start();
    let token = behind.mint("production");
    let answer = navigate(&behind, &target("/", &token), &[("X-Forwarded-Proto", "https")]);
    assert!(answer.get("set-cookie").unwrap().starts_with("__Host-portcullis="));
}

#[test]
fn apps_of_one_site_change_nothing_in_each_others_sessions() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let session = session(&gateway, &gateway.mint("production"));
    let (ours, theirs) = (("Origin", "http://shop.localhost"), ("Origin", "http://blog.localhost"));
    let site = |site| ("Sec-Fetch-Site", site);
    let moved = ("Origin", "http://shop.localhost:9999");
    for (method, fields, allowed) in [
        ("GET", vec![theirs, site("same-site")], true),
        ("POST", vec![theirs, site("same-site")], false),
        ("POST", vec![theirs], false),
        ("DELETE", vec![site("same-site")], false),
        ("POST", vec![ours, site("same-origin")], true),
        ("POST", vec![], true),
        // Forms of an app whose pages give no referrer.
        ("POST", vec![("Origin", "null"), site("same-origin")], true),
        // Without more it may be a form of a neighbour's as well.
        ("POST", vec![("Origin", "null")], false),
        ("POST", vec![("Origin", "null"), site("cross-site")], false),
        // What a proxy makes of the host does not count against what the browser itself says.
        ("POST", vec![moved, site("same-origin")], true),
        ("POST", vec![moved], false),
        ("POST", vec![moved, ours, site("same-origin")], false),
    ] {
        let sent = [&[("Cookie", &*session)], &fields[..]].concat();
        let status = gateway.ask(request(&format!("{method} /"), &sent)).status;
        assert_eq!(status, if allowed { 200 } else { 401 }, "{method} {fields:?}");
    }
}

#[test]
fn the_page_for_people_says_what_is_wrong_and_takes_a_token() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let answer = navigate(&gateway, "/a?b=%22%3Cscript%3E&c='", &[]);
    assert_eq!((answer.status, answer.get("content-type")), (401, Some("text/html; charset=utf-8")));
    assert_eq!(answer.get("www-authenticate"), Some("Bearer realm=\"shop\""));
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(answer.get(name), Some(value), "{name}");
    }
    let policy = answer.get("content-security-policy").unwrap();
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    let page = answer.text();
    for part in [
        ">shop<",
        ">production<",
        "You need access to this app",
        "token_missing",
        "action=\"/.portcullis/session\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("value=\"/a?b=%22%3Cscript%3E&#38;c=&#39;\""), "{page}");
    assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("http://"), "{page}");

    // What was wrong with a token that came is said, and it is not repeated.
    gateway.revoke(&token.id);
    let answer = navigate(&gateway, &target("/a?b", &token), &[]);
    let page = answer.text();
    assert!(
        answer.status == 401 && page.contains("token_revoked") && page.contains("value=\"/a?b\""),
        "{page}"
    );
    assert!(!page.contains(&token.secret[4..]));
    let other = gateway.mint("development");
    let answer = navigate(&gateway, &target("/", &other), &[]);
    assert!(answer.status == 403 && answer.text().contains("another environment"), "{answer:?}");
    let nowhere = navigate(&gateway, "/", &[("Host", "nobody.localhost")]);
    assert!(nowhere.status == 404 && !nowhere.text().contains("<form"), "{nowhere:?}");
    // Programs get what they always got.
    gateway.ask(request("GET /", &[])).refused(401, "token_missing");
    gateway.ask(request("GET /", &[ACCEPT, ("Sec-Fetch-Mode", "cors")])).refused(401, "token_missing");
}

#[test]
fn a_pasted_token_becomes_a_session_and_leads_only_to_this_host() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let form = |landing: &str| format!("token=+{}%0A&landing={landing}", token.secret);
    for (landing, leads_to) in [
        ("%2Fa%3Fb%3Dc%26d", "/a?b=c&d"),
        ("/a?project-protection-bypass=pct_x%26b", "/a?b"),
        ("", "/"),
        ("//evil.example/", "/"),
        ("%2F%5Cevil.example", "/"),
        ("%09//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/a%0d%0aSet-Cookie:%20a=b", "/"),
        ("/.portcullis/session", "/"),
    ] {
        let answer = paste(&gateway, &form(landing), &[("Origin", "http://shop.localhost")]);
        assert_eq!((answer.status, answer.get("location")), (303, Some(leads_to)), "{landing}: {answer:?}");
        assert_eq!(answer.get("referrer-policy"), Some("no-referrer"));
        assert_eq!(gateway.ask(with_cookie("GET /", &cookie(&answer))).status, 200);
    }
    let bearer = format!("token=Bearer+{}", token.secret);
    let same = ("Sec-Fetch-Site", "same-origin");
    assert_eq!(paste(&gateway, &bearer, &[same]).status, 303);
    assert_eq!(paste(&gateway, &bearer, &[same, ("Origin", "http://shop.localhost:9999")]).status, 303);

    for field in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "none"),
    ] {
        let answer = paste(&gateway, &form("/"), &[field]);
        answer.refused(400, "invalid_request");
        assert_eq!(answer.get("set-cookie"), None, "{field:?}");
    }
    for (wrong, status, code) in [
        ("", 401, "token_missing"),
        ("token=", 401, "token_missing"),
        ("token=pct_nonsense", 401, "token_unknown"),
        ("token=%ff", 401, "token_missing"),
    ] {
        paste(&gateway, wrong, &[]).refused(status, code);
    }
    let wrong = paste(&gateway, "token=pct_x&landing=/a", &[ACCEPT]);
    assert!(wrong.status == 401 && wrong.text().contains("value=\"/a\""), "{wrong:?}");
    paste(&gateway, &"a".repeat(9_000), &[]).refused(413, "body_too_large");
    gateway.ask(request("GET /.portcullis/session", &[])).refused(405, "method_not_allowed");
    gateway
        .ask(request("POST /.portcullis/session", &[("Content-Length", "0")]))
        .refused(400, "invalid_request");
    assert!(app.requests().iter().all(|request| !request.head.target().contains(".portcullis")));
}

#[test]
fn pasting_is_no_way_to_guess() {
    let gateway = Setup::new(&App::echo()).set("gateway.limits", "auth_failures_per_minute", "3").start();
    let token = gateway.mint("production");
    for _ in 0..3 {
        paste(&gateway, "token=pct_nonsense", &[]).refused(401, "token_unknown");
    }
    let answer = paste(&gateway, "token=pct_nonsense", &[]);
    answer.refused(429, "rate_limited");
    assert!(answer.get("retry-after").is_some());
    assert_eq!(
        paste(&gateway, &format!("token={}", token.secret), &[]).status,
        303,
        "a valid one never waits"
    );
}

#[test]
fn a_session_is_what_its_token_is() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let order = json!({
        "app": "*", "environment": "production", "expires_in": "1h", "scopes": ["GET /", "GET /a/*"], "rate_limit": "4/1h",
    });
    let token = gateway.mint_with(order);
    let cookie = session(&gateway, &token);
    assert_eq!(gateway.ask(with_cookie("GET /a/b", &cookie)).status, 200);
    gateway.ask(with_cookie("GET /c", &cookie)).refused(403, "insufficient_scope");
    gateway.ask(with_cookie("POST /a/b", &cookie)).refused(403, "insufficient_scope");
    // Though its token opens that host too.
    let elsewhere = request("GET /", &[("Host", "blog.localhost"), ("Cookie", &cookie)]);
    gateway.ask(elsewhere).refused(401, "token_missing");
    for _ in 0..2 {
        assert_eq!(gateway.ask(with_cookie("GET /", &cookie)).status, 200);
    }
    gateway.ask(with_cookie("GET /", &cookie)).refused(429, "rate_limited");

    let far = json!({ "app": "shop", "environment": "production", "expires_in": "1h", "allowed_addresses": ["10.0.0.0/8"] });
    let far = gateway.mint_with(far);
    paste(&gateway, &format!("token={}", far.secret), &[]).refused(403, "address_not_allowed");

    // Another way of presenting one counts more, even where it opens nothing.
    let good = gateway.mint("production");
    let cookie = session(&gateway, &good);
    let both = request("GET /", &[("Cookie", &cookie), ("X-Portcullis-Token", "nonsense")]);
    gateway.ask(both).refused(401, "token_unknown");
    let own = request("GET /", &[("Cookie", &cookie), ("Authorization", "Basic dTpw")]);
    assert_eq!(gateway.ask(own).status, 200);
    for broken in [&cookie[..cookie.len() - 1], "portcullis=", "portcullis", &cookie.replace('=', "=A")] {
        gateway.ask(with_cookie("GET /", broken)).refused(401, "token_missing");
    }
    // One that a neighbour has set for the whole domain does not keep ours from counting.
    assert_eq!(gateway.ask(with_cookie("GET /", &format!("portcullis=evil; {cookie}"))).status, 200);
}

#[test]
fn a_session_outlives_a_restart_and_ends_with_its_token() {
    let app = App::start(|exchange| match exchange.head.target() {
        "/stream" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun");
            exchange.wire.wait_for_end();
            exchange.close();
        }
        _ => exchange.answer(b"hello"),
    });
    let mut gateway = Gateway::before(&app);
    let (revoked, deleted, kept) =
        (gateway.mint("production"), gateway.mint("production"), gateway.mint("production"));
    let [cookie, gone, other] = [&revoked, &deleted, &kept].map(|token| session(&gateway, token));
    gateway.kill();
    gateway.restart();
    let ask = |cookie: &str| gateway.ask(with_cookie("GET /", cookie));
    assert_eq!((ask(&cookie).status, ask(&gone).status, ask(&other).status), (200, 200, 200));
    let mut stream = gateway.connect();
    stream.send(with_cookie("GET /stream", &cookie));
    assert_eq!(stream.head().unwrap().unwrap().status(), 200);
    assert_eq!(stream.take(5).unwrap(), b"begun");
    let receipt = gateway.revoke(&revoked.id);
    assert_eq!(receipt["ended"]["streams"], 1, "{receipt}");
    stream.wait_for_end();
    ask(&cookie).refused(401, "token_revoked");
    assert_eq!(gateway.admin(&format!("DELETE /v1/tokens/{}", deleted.id), None).status, 200);
    ask(&gone).refused(401, "token_unknown");

    let publish = json!({ "id": "next" });
    let line = "POST /v1/apps/shop/environments/production/deployments";
    assert_eq!(gateway.admin(line, Some(publish)).status, 201);
    ask(&other).refused(401, "deployment_replaced");
    let soon = gateway.mint_for("production", Duration::from_secs(2));
    let soon = session(&gateway, &soon);
    until("the session's end", || (ask(&soon).status == 401).then_some(()));
    ask(&soon).refused(401, "token_expired");
    let last = gateway.mint("production");
    let last = session(&gateway, &last);
    let switch = "PUT /v1/apps/shop/environments/production/external-access";
    assert_eq!(gateway.admin(switch, Some(json!({ "enabled": false }))).status, 200);
    ask(&last).refused(403, "external_access_off");
}

#[test]
fn a_websocket_opens_for_pages_of_this_origin_only() {
    let app = App::start(|exchange| {
        agree(exchange, "");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let cookie = session(&gateway, &gateway.mint("production"));
    for (origin, opens) in [
        (Some("http://shop.localhost"), true),
        (None, true),
        (Some("http://evil.example"), false),
        (Some("http://shop.dev.localhost"), false),
        (Some("http://shop.localhost:81"), false),
        (Some("null"), false),
    ] {
        let mut fields = wish("").to_vec();
        fields[0] = ("Cookie", &cookie);
        fields.extend(origin.map(|origin| ("Origin", origin)));
        let mut wire = gateway.connect();
        wire.send(request("GET /", &fields));
        let answer = wire.answer();
        assert_eq!(answer.status, if opens { 101 } else { 401 }, "{origin:?}: {answer:?}");
    }
    assert_eq!(app.requests().len(), 2);
}

#[test]
fn on_public_paths_the_cookie_goes_too() {
    let app = App::echo();
    let gateway = Setup::new(&app).both("public_paths", "[\"/open\"]").start();
    let cookie = session(&gateway, &gateway.mint("production"));
    assert_eq!(gateway.ask(with_cookie("GET /open", &format!("a=b; {cookie}"))).status, 200);
    let seen = app.only();
    assert_eq!((seen.head.get("cookie"), seen.head.get("x-portcullis-token-id")), (Some("a=b"), None));
}

#[test]
fn the_key_file_is_judged_and_where_it_cannot_be_made_sessions_last_as_long_as_the_process() {
    let app = App::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/portcullis.key");
    let setup = Setup::new(&app).set("secrets", "key_file", &format!("{:?}", path.display().to_string()));
    let mut gateway = setup.start();
    gateway.wait_for_words("browser sessions will end with this process");
    let cookie = session(&gateway, &gateway.mint("production"));
    assert_eq!(gateway.ask(with_cookie("GET /", &cookie)).status, 200);
    gateway.kill();
    gateway.restart();
    gateway.ask(with_cookie("GET /", &cookie)).refused(401, "token_missing");

    std::fs::create_dir(folder.path().join("missing")).unwrap();
    std::fs::write(&path, "too short").unwrap();
    let checked = gateway.cli(&["check"]);
    assert!(checked.code != 0 && checked.stderr.contains("32 bytes"), "{checked:?}");
}
