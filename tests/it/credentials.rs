//! How a token is presented, and how every trace of it is gone from what the app receives.

use crate::support::app::{App, Request};
use crate::support::gateway::Gateway;
use crate::support::stage::Stage;
use crate::support::wire::{Answer, request};

const PARAMETER: &str = "project-protection-bypass";

impl Stage {
    fn ask(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.gateway.ask(request(&format!("GET {target}"), fields))
    }

    /// What reached the app, which must have been asked and be free of the token.
    #[track_caller]
    fn passes(&self, target: &str, fields: &[(&str, &str)]) -> Request {
        let before = self.app.requests().len();
        let answer = self.ask(target, fields);
        assert_eq!(answer.status, 200, "{target} {fields:?}: {answer:?}");
        let requests = self.app.requests();
        assert_eq!(requests.len(), before + 1);
        let bytes = self.app.bytes();
        assert!(!String::from_utf8_lossy(&bytes).contains(&self.token), "{requests:?}");
        requests[before].clone()
    }

    #[track_caller]
    fn refused(&self, target: &str, fields: &[(&str, &str)], status: u16, code: &str) {
        let before = self.app.bytes();
        self.ask(target, fields).refused(status, code);
        assert_eq!(self.app.bytes(), before);
    }
}

/// Every character percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn by_header() {
    let stage = Stage::new();
    for name in ["X-Portcullis-Token", "x-portcullis-token", "X-PORTCULLIS-TOKEN"] {
        let seen = stage.passes("/a?b=c", &[(name, &stage.token)]);
        assert_eq!(seen.head.get(name), None);
        assert_eq!(seen.head.target(), "/a?b=c");
    }
    // The Authorization is then the app's, whatever it holds.
    for authorization in ["Basic dXNlcjpwYXNz", "Bearer eyJhbGciOi.x.y", "Custom  a,  b"] {
        let fields = [("X-Portcullis-Token", &*stage.token), ("Authorization", authorization)];
        assert_eq!(stage.passes("/", &fields).head.get("authorization"), Some(authorization));
    }
    stage.refused("/", &[("X-Portcullis-Token", &format!("Bearer {}", stage.token))], 401, "token_unknown");
}

#[test]
fn as_bearer_in_any_case() {
    let stage = Stage::new();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer\t"] {
        let value = format!("{scheme} {}", stage.token);
        let seen = stage.passes("/a", &[("Authorization", &value)]);
        assert_eq!(seen.head.get("authorization"), None, "{scheme}");
    }
    stage.refused("/", &[("Authorization", &stage.token)], 401, "token_missing");
    stage.refused("/", &[("Authorization", &format!("Basic {}", stage.token))], 401, "token_missing");
    stage.refused("/", &[("Authorization", &format!("Bearer {}x", stage.token))], 401, "token_unknown");
    stage.refused("/", &[("Authorization", "Bearer pct_")], 401, "token_unknown");
}

#[test]
fn in_the_query_and_only_that_pair_goes() {
    let stage = Stage::new();
    let token = &stage.token;
    let name = encoded(PARAMETER);
    let value = encoded(token);
    for (sent, left) in [
        (format!("/?{PARAMETER}={token}"), "/"),
        (format!("/a?{PARAMETER}={token}"), "/a"),
        (format!("/a?x=1&{PARAMETER}={token}"), "/a?x=1"),
        (format!("/a?{PARAMETER}={token}&x=1"), "/a?x=1"),
        (format!("/a?x=%20+&{PARAMETER}={token}&&y=%C3%A9&z"), "/a?x=%20+&&y=%C3%A9&z"),
        (format!("/a?{PARAMETER}={token}&"), "/a"),
        (format!("/a?&{PARAMETER}={token}"), "/a"),
        (
            format!("/a?{PARAMETER}s=1&{PARAMETER}={token}&x={PARAMETER}"),
            &format!("/a?{PARAMETER}s=1&x={PARAMETER}"),
        ),
        (format!("/a?{name}={value}&x=%2f"), "/a?x=%2f"),
        (format!("/a/%2e%2e//b;c?{PARAMETER}={token}"), "/a/%2e%2e//b;c"),
        (format!("/a?q=a?b&{PARAMETER}={token}&r=/:@!$'()*,;[]"), "/a?q=a?b&r=/:@!$'()*,;[]"),
    ] {
        let seen = stage.passes(&sent, &[]);
        assert_eq!(seen.head.target(), left, "{sent}");
    }
    // Names are compared with their case.
    stage.refused(&format!("/?Project-Protection-Bypass={token}"), &[], 401, "token_missing");
    stage.refused(&format!("/?x={PARAMETER}={token}"), &[], 401, "token_missing");
    stage.refused(&format!("/?{PARAMETER}"), &[], 401, "token_unknown");
    stage.refused(&format!("/?{PARAMETER}={token}%20"), &[], 401, "token_unknown");
    stage.refused(&format!("/?{PARAMETER}={}", &token[..39]), &[], 401, "token_unknown");
}

#[test]
fn the_same_pair_goes_from_the_referer() {
    let stage = Stage::new();
    let token = &stage.token;
    for (sent, left) in [
        (format!("http://shop.localhost/a?{PARAMETER}={token}"), "http://shop.localhost/a"),
        (format!("http://shop.localhost/a?x=1&{PARAMETER}={token}&y#z"), "http://shop.localhost/a?x=1&y#z"),
        (
            format!("http://shop.localhost/?{}={}", encoded(PARAMETER), encoded(token)),
            "http://shop.localhost/",
        ),
        ("http://elsewhere.test/?x=%20#y".to_owned(), "http://elsewhere.test/?x=%20#y"),
    ] {
        // However the token of this request came.
        let query = format!("/?{PARAMETER}={token}");
        assert_eq!(stage.passes(&query, &[("Referer", &sent)]).head.get("referer"), Some(left));
        let seen = stage.passes("/", &[("X-Portcullis-Token", token), ("Referer", &sent)]);
        assert_eq!(seen.head.get("referer"), Some(left));
    }
}

#[test]
fn more_than_one_is_refused_whatever_they_hold() {
    let stage = Stage::new();
    let token = &*stage.token;
    let bearer = format!("Bearer {token}");
    let query = format!("/?{PARAMETER}={token}");
    let header = ("X-Portcullis-Token", token);
    for (target, fields) in [
        ("/", vec![header, header]),
        ("/", vec![header, ("X-Portcullis-Token", "")]),
        ("/", vec![header, ("Authorization", &bearer)]),
        ("/", vec![("Authorization", &bearer), ("Authorization", &bearer)]),
        ("/", vec![("Authorization", &bearer), ("Authorization", "Basic dTpw")]),
        ("/", vec![header, ("Authorization", "Basic dTpw"), ("Authorization", "Basic dTpw")]),
        (&query, vec![header]),
        (&query, vec![("Authorization", &bearer)]),
        (&query, vec![("X-Portcullis-Token", "nonsense")]),
        (&format!("{query}&{PARAMETER}={token}"), vec![]),
        (&format!("{query}&{}=", encoded(PARAMETER)), vec![]),
        (&format!("{query}&a&{PARAMETER}"), vec![]),
    ] {
        stage.refused(target, &fields, 400, "invalid_request");
    }
}

#[test]
fn answers_to_a_token_are_private_unless_the_app_says() {
    let app = App::start(|exchange| {
        let own = match exchange.head.target() {
            "/own" => "Cache-Control: public, max-age=60\r\n",
            _ => "",
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n"));
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let ask = |line: &str| gateway.ask(request(line, &[("X-Portcullis-Token", &token)]));
    assert_eq!(ask("GET /").get("cache-control"), Some("private"));
    assert_eq!(ask("GET /own").get("cache-control"), Some("public, max-age=60"));
}

#[test]
fn other_names_can_be_set() {
    let stage = Stage::with(|setup| {
        setup.set("tokens", "header", "\"Shop-Key\"").set("tokens", "query_parameter", "\"the.key\"")
    });
    let token = &*stage.token;
    let seen = stage.passes("/", &[("shop-key", token)]);
    assert_eq!(seen.head.get("shop-key"), None);
    for name in ["the.key", "the%2ekey", "%74he%2Eke%79"] {
        assert_eq!(stage.passes(&format!("/?a&{name}={token}"), &[]).head.target(), "/?a", "{name}");
    }
    // The usual names are nothing here, and what begins with X-Portcullis- still never passes.
    stage.refused("/", &[("X-Portcullis-Token", token)], 401, "token_missing");
    stage.refused(&format!("/?{PARAMETER}={token}"), &[], 401, "token_missing");
    let seen = stage.passes("/", &[("Shop-Key", token), ("X-Portcullis-Token", token), ("shop_key", token)]);
    assert_eq!((seen.head.get("x-portcullis-token"), seen.head.get("shop_key")), (None, None));
}

#[test]
fn the_query_form_can_be_switched_off() {
    let stage = Stage::with(|setup| setup.set("tokens", "query_parameter", "\"\""));
    let target = format!("/?{PARAMETER}={}", stage.token);
    stage.refused(&target, &[], 401, "token_missing");
    let seen = stage.passes("/?=x&a", &[("X-Portcullis-Token", &stage.token)]);
    assert_eq!(seen.head.target(), "/?=x&a");
    let minted = stage.gateway.cli(&[
        "token",
        "create",
        "--app",
        "shop",
        "--environment",
        "production",
        "--expires",
        "1h",
    ]);
    assert_eq!(minted.code, 0, "{minted:?}");
    assert!(!minted.stdout.contains(PARAMETER), "{}", minted.stdout);
}
