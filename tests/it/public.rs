//! What an environment opens to everyone: its public paths, and CORS preflights.

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::request;

const PARAMETER: &str = "project-protection-bypass";
const PREFLIGHT: [(&str, &str); 2] =
    [("Origin", "https://elsewhere.example"), ("Access-Control-Request-Method", "POST")];

/// A gateway that opens these paths of production.
fn open(app: &App, paths: &str) -> Gateway {
    Setup::new(app).set("apps.shop.environments.production", "public_paths", paths).start()
}

#[test]
fn public_paths_need_no_token_and_nothing_else_is_public() {
    let app = App::echo();
    let gateway = open(&app, "[\"/health\", \"/assets/*\"]");
    for line in [
        "GET /health",
        "POST /health",
        "GET /health?a=b",
        "GET /assets/",
        "GET /assets/a/b.css?c",
        "PUT /assets/a",
    ] {
        let answer = gateway.ask(request(line, &[("X-Portcullis-App", "forged")]));
        assert_eq!((answer.status, answer.get("cache-control")), (200, None), "{line}");
        let seen = app.requests().pop().unwrap();
        assert_eq!(format!("{} HTTP/1.1", line), seen.head.line);
        for name in [
            "x-portcullis-token-id",
            "x-portcullis-token-label",
            "x-portcullis-app",
            "x-portcullis-environment",
        ] {
            assert_eq!(seen.head.get(name), None, "{line}: {seen:?}");
        }
        assert_eq!(seen.head.get("x-forwarded-for"), Some("127.0.0.1"));
    }
    let before = app.bytes();
    for path in [
        "/",
        "/healthz",
        "/health/",
        "/Health",
        "/assets",
        "/assetsx",
        "/a?/assets/",
        // Where two servers could disagree about the path, no rule is met.
        "/assets/../admin",
        "/assets/..%2fadmin",
        "/assets/%2e%2e/admin",
        "/assets/%2E./admin",
        "/assets/./a",
        "/assets//a",
        "//assets/a",
        "/assets/..;/admin",
        "/assets/a;b",
        "/assets/a%5cb",
        "/assets/a\\..\\b",
        "/assets/%00",
        "/assets/%252e%252e/a",
        "/assets/%zz",
        "/assets/a%",
        "/health%2f..%2fadmin",
    ] {
        let answer = gateway.ask(request(&format!("GET {path}"), &[]));
        assert!(matches!(answer.status, 400 | 401), "{path}: {answer:?}");
    }
    let elsewhere = gateway.ask(request("GET /health", &[("Host", "shop.dev.localhost")]));
    elsewhere.refused(401, "token_missing");
    assert_eq!(app.bytes(), before);
}

#[test]
fn a_token_on_a_public_path_is_removed_and_ignored() {
    let app = App::echo();
    let gateway = open(&app, "[\"/assets/*\"]");
    let good = gateway.mint("production");
    let foreign = gateway.mint("development").secret;
    gateway.revoke(&good.id);
    for token in [&*good.secret, &foreign, "pct_nonsense"] {
        let bearer = format!("Bearer {token}");
        let query = format!("GET /assets/a?x&{PARAMETER}={token}");
        let referer = format!("http://shop.localhost/?{PARAMETER}={token}");
        for (line, fields) in [
            ("GET /assets/a?x", vec![("X-Portcullis-Token", token)]),
            (&*query, vec![]),
            ("GET /assets/a?x", vec![("Authorization", &*bearer), ("Referer", &*referer)]),
        ] {
            let answer = gateway.ask(request(line, &fields));
            assert_eq!(answer.status, 200, "{line} {fields:?}: {answer:?}");
            assert_eq!(answer.get("cache-control"), Some("private"), "{line} {fields:?}");
            let seen = app.requests().pop().unwrap();
            assert_eq!((seen.head.target(), seen.head.get("authorization")), ("/assets/a?x", None));
            assert!(!format!("{seen:?}").contains(token), "{seen:?}");
            assert_eq!(seen.head.get("x-portcullis-token-id"), None);
        }
    }
}

#[test]
fn preflights_pass_where_they_are_let_through() {
    let app = App::echo();
    let production = "apps.shop.environments.production";
    let gateway = Setup::new(&app).set(production, "preflight", "true").start();
    assert_eq!(gateway.ask(request("OPTIONS /a/b", &PREFLIGHT)).status, 200);
    assert_eq!(app.only().head.get("x-portcullis-app"), None);
    let before = app.bytes();
    // Anything less is a request like any other.
    gateway.ask(request("OPTIONS /a/b", &PREFLIGHT[..1])).refused(401, "token_missing");
    gateway.ask(request("OPTIONS /a/b", &[])).refused(401, "token_missing");
    gateway.ask(request("POST /a/b", &PREFLIGHT)).refused(401, "token_missing");
    let development = [&PREFLIGHT[..], &[("Host", "shop.dev.localhost")]].concat();
    gateway.ask(request("OPTIONS /a/b", &development)).refused(401, "token_missing");
    assert_eq!(app.bytes(), before);
}
