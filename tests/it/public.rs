//! What passes without a token: public paths and CORS preflights, each only where the configuration says so.

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::request;

const PRODUCTION: &str = "apps.shop.environments.production";

fn with(app: &App, key: &str, value: &str) -> Gateway {
    Setup::new(app).set(PRODUCTION, key, value).start()
}

#[test]
fn public_paths_need_no_token_with_any_method() {
    let app = App::echo();
    let gateway = with(&app, "public_paths", r#"["/healthz", "/assets/*"]"#);
    for line in
        ["GET /healthz", "PURGE /healthz?a=b", "GET /assets/", "GET /assets/a/b.css", "DELETE /assets/x"]
    {
        let answer = gateway.ask(request(line, &[("X-Portcullis-App", "forged")]));
        assert_eq!((answer.status, answer.get("cache-control")), (200, None), "{line}");
    }
    for seen in app.requests() {
        assert!(
            seen.head.get("x-portcullis-token-id").is_none() && seen.head.get("x-portcullis-app").is_none()
        );
        assert_eq!(seen.head.get("x-forwarded-for"), Some("127.0.0.1"));
    }
}

#[test]
fn everything_else_still_needs_one() {
    let app = App::echo();
    let gateway = with(&app, "public_paths", r#"["/healthz", "/assets/*"]"#);
    for path in [
        "/",
        "/healthz/",
        "/Healthz",
        "/assets",
        "/assetsx",
        "/assets/../admin",
        "/assets/%2e%2e/admin",
        "/assets/..;/x",
        "/assets/..%2fadmin",
        "/assets/%2E%2e%2Fadmin",
        "/assets//x",
        "/assets/a;b",
        "/assets/.%2e/x",
        "/assets/%252e%252e/x",
        "/assets/a%00",
        "/assets/a%5c..",
        "/assets/./x",
        "/assets/%zz",
        "/assets/a%",
        "/x?/assets/",
        "/%68ealthz",
        "//healthz",
    ] {
        gateway.ask(request(&format!("GET {path}"), &[])).refused(401, "token_missing");
    }
    gateway.ask(request("GET /healthz", &[("Host", "shop.dev.localhost")])).refused(401, "token_missing");
    assert!(app.requests().is_empty());
}

#[test]
fn a_token_on_a_public_path_is_removed_and_ignored() {
    let app = App::echo();
    let gateway = with(&app, "public_paths", r#"["/healthz"]"#);
    let token = gateway.mint("development").secret;
    let bearer = format!("Bearer {token}");
    for (line, fields) in [
        (format!("GET /healthz?project-protection-bypass={token}&a=b"), vec![]),
        ("GET /healthz?a=b".to_owned(), vec![("X-Portcullis-Token", "nonsense")]),
        ("GET /healthz?a=b".to_owned(), vec![("Authorization", &*bearer)]),
    ] {
        let answer = gateway.ask(request(&line, &fields));
        assert_eq!((answer.status, answer.get("cache-control")), (200, Some("private")), "{line} {fields:?}");
        let seen = app.requests().pop().unwrap();
        assert_eq!(seen.head.target(), "/healthz?a=b");
        assert!(seen.head.get("x-portcullis-token").is_none() && seen.head.get("authorization").is_none());
        assert!(seen.head.get("x-portcullis-token-id").is_none());
    }
}

#[test]
fn preflights_pass_only_where_configured_and_only_as_preflights() {
    let app = App::echo();
    let preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT")];
    let closed = Gateway::before(&app);
    closed.ask(request("OPTIONS /x", &preflight)).refused(401, "token_missing");
    let open = with(&app, "preflight", "true");
    assert_eq!(open.ask(request("OPTIONS /x", &preflight)).status, 200);
    open.ask(request("OPTIONS /x", &preflight[..1])).refused(401, "token_missing");
    open.ask(request("OPTIONS /x", &preflight[1..])).refused(401, "token_missing");
    open.ask(request("PUT /x", &preflight)).refused(401, "token_missing");
    assert_eq!(app.requests().len(), 1);
}
