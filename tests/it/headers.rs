//! What the app receives besides the request, and what the client receives besides the answer.

use std::sync::mpsc;

use serde_json::json;

use crate::support::app::{App, Request};
use crate::support::gateway::Gateway;
use crate::support::stage::Stage;
use crate::support::wire::{Answer, request};

impl Stage {
    /// Sends a request with the token and these fields.
    #[track_caller]
    fn pass(&self, fields: &[(&str, &str)]) -> (Request, Answer) {
        let fields = [&[("X-Portcullis-Token", &*self.token)], fields].concat();
        let answer = self.gateway.ask(request("GET /", &fields));
        assert_eq!(answer.status, 200, "{answer:?}");
        (self.app.requests().pop().unwrap(), answer)
    }
}

/// All values of a field, in every spelling that an app could take for it.
fn folded<'a>(seen: &'a Request, name: &str) -> Vec<&'a str> {
    let fold = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let named = seen.head.fields.iter().filter(|(field, _)| fold(field) == fold(name));
    named.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn who_asked_and_for_what() {
    let stage = Stage::new();
    let (seen, answer) = stage.pass(&[("Host", "Shop.localhost:8080")]);
    let port = stage.gateway.address().port().to_string();
    for (name, value) in [
        ("host", "Shop.localhost:8080"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "Shop.localhost:8080"),
        ("x-forwarded-port", &port),
        ("x-portcullis-token-id", &stage.id),
        ("x-portcullis-app", "shop"),
        ("x-portcullis-environment", "production"),
        ("x-request-id", answer.get("x-request-id").unwrap()),
    ] {
        assert_eq!(folded(&seen, name), [value], "{name}");
    }
    assert_eq!(folded(&seen, "x-portcullis-token-label"), [""; 0]);
    assert_eq!(folded(&seen, "forwarded"), [""; 0]);
}

#[test]
fn strangers_cannot_speak_for_the_gateway() {
    let stage = Stage::new();
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Forwarded-Method",
        "X-Forwarded-User",
        "Forwarded",
        "X-Request-Id",
        "X-Portcullis-Token-Id",
        "X-Portcullis-Token-Label",
        "X-Portcullis-App",
        "X-Portcullis-Environment",
        "X-Portcullis-Anything",
    ];
    let spellings = |name: &str| {
        let last = name.rfind('-').unwrap_or(0);
        let mixed = format!("{}{}", &name[..last], name[last..].replace('-', "_"));
        [name.to_owned(), name.to_lowercase(), name.replace('-', "_"), mixed.to_uppercase()]
    };
    for name in names {
        let spelt = spellings(name);
        let fields: Vec<_> = spelt.iter().map(|name| (name.as_str(), "forged")).collect();
        let (seen, answer) = stage.pass(&fields);
        assert!(!folded(&seen, name).contains(&"forged") && folded(&seen, name).len() < 2, "{seen:?}");
        assert_ne!(answer.get("x-request-id"), Some("forged"));
    }
    // What merely looks alike is the app's.
    let kept = [
        ("X-Forward", "a"),
        ("X-Portcullis", "b"),
        ("X-Requested-With", "c"),
        ("X_Own", "d"),
        ("Cookie", "session=1; theme=\"dark\""),
    ];
    let (seen, _) = stage.pass(&kept);
    for (name, value) in kept {
        assert_eq!(seen.head.get(name), Some(value));
    }
}

#[test]
fn a_client_cannot_have_our_fields_removed() {
    let stage = Stage::new();
    let named = "close, X-Forwarded-For, X-Forwarded-Proto, X-Portcullis-Token-Id, X-Portcullis-App, Host, \
                 X-Portcullis-Environment, X-Request-Id, Content-Length, Transfer-Encoding";
    let (seen, _) = stage.pass(&[("Connection", named)]);
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-portcullis-token-id", "x-portcullis-app"] {
        assert_eq!(folded(&seen, name).len(), 1, "{name}: {seen:?}");
    }
    assert_eq!(seen.head.get("host"), Some("shop.localhost"));
    // Nor the token, which a later hop would then see, nor the framing of a body.
    let fields = [("Connection", "X-Portcullis-Token, Content-Length"), ("Content-Length", "5")];
    let fields = [&[("X-Portcullis-Token", &*stage.token)], &fields[..]].concat();
    let answer = stage.gateway.ask([&request("POST /", &fields)[..], b"hello"].concat());
    assert_eq!(answer.text(), "hello");
    let seen = stage.app.requests().pop().unwrap();
    assert_eq!((seen.head.get("content-length"), seen.head.get("x-portcullis-token")), (Some("5"), None));
}

#[test]
fn hop_by_hop_fields_stay_on_their_side() {
    let app = App::start(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nConnection: X-Inner, keep-alive\r\nX-Inner: a\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Request-Id: the-apps\r\nX-Outer: b\r\nSet-Cookie: a=1\r\n\
             Set-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
        );
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let answer = gateway.ask(request(
        "GET /",
        &[
            ("X-Portcullis-Token", &token),
            ("Connection", "keep-alive, X-Inner"),
            ("Connection", "x-other"),
            ("X-Inner", "a"),
            ("X-Other", "a"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic dTpw"),
            ("TE", "gzip"),
            ("Upgrade", "h2c"),
            ("Accept", "b"),
            ("X-Twice", "1"),
            ("X-Twice", "2"),
        ],
    ));
    let seen = app.only();
    for name in [
        "connection",
        "x-inner",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
    ] {
        assert_eq!(seen.head.get(name), None, "{seen:?}");
    }
    assert_eq!((seen.head.get("accept"), seen.head.all("x-twice")), (Some("b"), vec!["1", "2"]));

    for name in ["connection", "x-inner", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.get(name), None, "{answer:?}");
    }
    assert_eq!((answer.get("x-outer"), answer.head.all("set-cookie")), (Some("b"), vec!["a=1", "b=2"]));
    // One identifier for both sides: that of the access log.
    assert_ne!(answer.get("x-request-id"), Some("the-apps"));
    assert_eq!(answer.get("x-request-id"), seen.head.get("x-request-id"));
    assert_eq!(gateway.logged(answer.get("x-request-id").unwrap())["code"], "ok");
}

#[test]
fn what_was_judged_does_not_pass_in_another_spelling() {
    let stage = Stage::new();
    let names =
        ["Content_Length", "Transfer_Encoding", "Keep_Alive", "Proxy_Authorization", "X_Original_URL"];
    let (seen, _) = stage.pass(&names.map(|name| (name, "5")));
    for name in names {
        assert_eq!(folded(&seen, name), [""; 0], "{name}");
    }
    let (seen, _) = stage.pass(&[("Snake_Case", "kept")]);
    assert_eq!(seen.head.get("snake_case"), Some("kept"));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let stage =
        Stage::with(|setup| setup.set("gateway", "trusted_proxies", "[\"127.0.0.0/8\", \"10.0.0.0/8\"]"));
    let (seen, answer) = stage.pass(&[
        ("X-Forwarded-For", "192.0.2.1, 198.51.100.7"),
        ("X-Forwarded-For", "10.0.0.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "outside.example"),
        ("X-Forwarded-Port", "443"),
        ("X-Request-Id", "from-outside.1"),
        ("X_Forwarded_User", "forged"),
        ("X-Portcullis-App", "forged"),
    ]);
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.1, 198.51.100.7, 10.0.0.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "outside.example"),
        ("x-forwarded-port", "443"),
        ("x-request-id", "from-outside.1"),
        ("x-portcullis-app", "shop"),
    ] {
        assert_eq!(folded(&seen, name), [value], "{name}");
    }
    assert_eq!(folded(&seen, "x-forwarded-user"), [""; 0]);
    assert_eq!(answer.get("x-request-id"), Some("from-outside.1"));
    // The last address that no trusted proxy has is the client's.
    assert_eq!(stage.gateway.logged("from-outside.1")["client"], "198.51.100.7");

    // An identifier that would not be fit for a log is replaced.
    for unfit in ["a b", "a\"b", "", &"a".repeat(200), "\u{e9}"] {
        let (seen, answer) = stage.pass(&[("X-Request-Id", unfit)]);
        let id = answer.get("x-request-id").unwrap().to_owned();
        assert!(id != unfit && !id.is_empty(), "{unfit:?}");
        assert_eq!(folded(&seen, "x-request-id"), [id]);
    }
}

#[test]
fn a_stranger_is_not_believed_about_its_address() {
    let stage = Stage::with(|setup| setup.set("gateway", "trusted_proxies", "[\"10.0.0.0/8\"]"));
    let (_, answer) = stage.pass(&[("X-Forwarded-For", "192.0.2.1"), ("X-Request-Id", "mine")]);
    let id = answer.get("x-request-id").unwrap();
    assert_ne!(id, "mine");
    assert_eq!(stage.gateway.logged(id)["client"], "127.0.0.1");
}

#[test]
fn labels_travel_percent_encoded() {
    let stage = Stage::new();
    for (label, sent) in [
        ("CI", "CI"),
        ("CI runner 7", "CI%20runner%207"),
        ("50% & \"more\"", "50%25%20&%20\"more\""),
        ("Prüfstand – 試験 🚀", "Pr%C3%BCfstand%20%E2%80%93%20%E8%A9%A6%E9%A8%93%20%F0%9F%9A%80"),
        ("!~", "!~"),
    ] {
        let body = json!({ "app": "shop", "environment": "production", "expires_in": "1h", "label": label });
        let minted = stage.gateway.mint_with(body);
        stage.gateway.ask(request("GET /", &[("X-Portcullis-Token", &minted.secret)]));
        let seen = stage.app.requests().pop().unwrap();
        assert_eq!(folded(&seen, "x-portcullis-token-label"), [sent], "{label}");
        assert_eq!(folded(&seen, "x-portcullis-token-id"), [minted.id]);
    }
}

#[test]
fn the_apps_own_host_can_be_sent_instead() {
    let stage =
        Stage::with(|setup| setup.set("apps.shop.environments.production", "host_header", "\"upstream\""));
    let (seen, _) = stage.pass(&[]);
    assert_eq!(seen.head.get("host"), Some(&*stage.app.address.to_string()));
    assert_eq!(folded(&seen, "x-forwarded-host"), ["shop.localhost"]);
}

#[test]
fn every_answer_has_an_identifier_of_its_own() {
    let stage = Stage::new();
    let mut wire = stage.gateway.connect();
    let mut ids = Vec::new();
    for line in ["GET /a", "GET /b", "GET /.portcullis/healthz", "TRACE /"] {
        wire.send(request(line, &[("X-Portcullis-Token", &stage.token)]));
        ids.push(wire.answer().get("x-request-id").unwrap().to_owned());
    }
    let lines: Vec<_> =
        ids.iter().map(|id| stage.gateway.logged(id)["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(lines, ["/a", "/b", "/.portcullis/healthz", "/"]);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn trailers_pass_but_not_those_that_say_who_or_where() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |exchange| {
        while !exchange.wire.chunk().unwrap().is_empty() {}
        tell.send(exchange.wire.trailers().unwrap()).unwrap();
        exchange.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status, x-portcullis-app\r\n\r\n\
             2\r\nok\r\n0\r\ngrpc-status: 0\r\nx-portcullis-app: forged\r\n\r\n",
        );
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let names = "grpc-message, authorization, content-length, host, x_portcullis_app, x-checksum";
    let head = request(
        "POST /",
        &[
            ("X-Portcullis-Token", &token),
            ("TE", "trailers"),
            ("Trailer", names),
            ("Transfer-Encoding", "chunked"),
        ],
    );
    let body = "2\r\nhi\r\n0\r\ngrpc-message: a\r\nauthorization: b\r\ncontent-length: 5\r\nhost: c\r\n\
                x_portcullis_app: d\r\nx-checksum: e\r\nx_portcullis_token: f\r\nset_cookie: g\r\n\r\n";
    let mut wire = gateway.connect();
    wire.send([&head[..], body.as_bytes()].concat());
    let head = wire.head().unwrap().unwrap();
    assert_eq!(head.get("transfer-encoding"), Some("chunked"));
    assert_eq!(wire.chunk().unwrap(), b"ok");
    assert!(wire.chunk().unwrap().is_empty());
    assert_eq!(wire.trailers().unwrap(), ["grpc-status: 0"]);
    let seen = app.only();
    assert_eq!((seen.head.get("te"), seen.head.get("trailer")), (Some("trailers"), Some(names)));
    let mut trailers = told.recv().unwrap();
    trailers.sort_unstable();
    assert_eq!(trailers, ["grpc-message: a", "x-checksum: e"]);
}
