//! The canary: credentials that can be recognised go down every path, and are nowhere to be found afterwards.

use std::net::TcpListener;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup, command};
use crate::support::program::{contents, finish};
use crate::support::wire::{Answer, connect, request};

const HOST: &str = "shop.localhost";

#[test]
fn a_token_is_found_nowhere_whatever_was_done_with_it() {
    let app = App::start(|exchange| {
        exchange.body();
        match exchange.head.target().split('?').next().unwrap() {
            "/garbled" => {
                exchange.send("garbled\r\n\r\n");
                exchange.close();
            }
            "/silent" => exchange.close(),
            _ => exchange.answer(b"hello"),
        }
    });
    // Nobody answers here any more.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut gateway = Setup::new(&app)
        .set("apps.gone.environments.production", "hosts", "[\"gone.localhost\"]")
        .set("apps.gone.environments.production", "upstreams", &format!("[\"http://{dead}\"]"))
        .set("gateway.limits", "header_timeout", "\"500ms\"")
        // Even what a trusted proxy says is looked at.
        .set("gateway", "trusted_proxies", "[\"127.0.0.1\"]")
        .start();
    let every = |environment: &str| json!({ "app": "*", "environment": environment, "expires_in": "1h" });
    let minted = gateway.mint_with(every("production"));
    let token = minted.secret.as_str();
    let wrong_checksum = format!("{}{}", &token[..39], if token.ends_with('0') { '1' } else { '0' });
    let known: [&str; 2] = [token, &wrong_checksum];

    let mut answers = Vec::new();
    for value in known {
        answers.extend(present_in_every_way(&gateway, value));
    }
    // The mint and the refusals above came first: these are after the end of the token.
    gateway.revoke(&minted.id);
    answers.extend(present_in_every_way(&gateway, token));
    for answer in &answers {
        assert_free_of(&known, "an answer", format!("{answer:?}").as_bytes());
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    for status in [400, 401, 404, 405, 502] {
        assert!(answers.iter().any(|answer| answer.status == status), "{status} was never answered");
    }

    assert_free_of(&known, "what the app received", &app.bytes());
    assert!(!app.bytes().is_empty());
    assert_free_in_folder(&gateway, &known);
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    assert_free_in_folder(&gateway, &known);
    assert_free_of(&known, "standard error", gateway.stderr().as_bytes());
}

#[test]
fn a_management_key_is_found_nowhere_whatever_was_done_with_it() {
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    let body = json!({ "member": "ann", "scopes": ["read", "mint"] });
    let made = gateway.admin("POST /v1/keys", Some(body)).json();
    let (id, key) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let wrong = format!("{}{}", &key[..39], if key.ends_with('0') { '1' } else { '0' });
    let known: [&str; 2] = [key, &wrong];

    let mut answers = Vec::new();
    let mut ask = |known: &[&str]| {
        for value in known {
            let bearer = format!("Bearer {value}");
            let requests = [
                request("GET /v1/tokens", &[("Host", "localhost"), ("Authorization", &bearer)]),
                request("GET /v1/keys", &[("Host", "localhost"), ("Authorization", &bearer)]),
                request("GET /v1/whoami", &[("Host", "localhost"), ("Authorization", value)]),
                request("GET /v1/whoami", &[("Host", "evil.example"), ("Authorization", &bearer)]),
                request(
                    &format!("GET /v1/tokens/{value}"),
                    &[("Host", "localhost"), ("Authorization", &bearer)],
                ),
                request(&format!("GET /{value}"), &[("Host", "localhost")]),
                request(
                    &format!("GET /v1/tokens?{value}={value}"),
                    &[("Host", "localhost"), ("Authorization", &bearer)],
                ),
                request(
                    &format!("GET /v1/tokens?cursor={value}&limit={value}"),
                    &[("Host", "localhost"), ("Authorization", &bearer)],
                ),
            ];
            for request in requests {
                answers.push(ask_admin(&gateway, &request));
            }
            let order = json!({
                value.to_owned(): value, "app": value, "environment": value, "expires_in": value, "expires_at": value
            });
            for order in [order.to_string(), format!("{{\"label\": {value}}}"), (*value).to_owned()] {
                let length = order.len().to_string();
                let fields =
                    [("Host", "localhost"), ("Authorization", &*bearer), ("Content-Length", &length)];
                answers.push(ask_admin(
                    &gateway,
                    &[request("POST /v1/tokens", &fields), order.into_bytes()].concat(),
                ));
            }
            // It opens nothing at the gateway either, and does not pass through.
            answers.push(gateway.ask(with_token("GET /", HOST, value)));
            answers.push(gateway.ask(request("GET /", &[("Authorization", &bearer)])));
        }
    };
    ask(&known);
    let revoked = gateway.admin(&format!("DELETE /v1/keys/{id}"), None);
    assert_eq!(revoked.status, 200);
    ask(&known);
    for status in [200, 400, 401, 403, 404, 422] {
        assert!(answers.iter().any(|answer| answer.status == status), "{status} was never answered");
    }
    for answer in &answers {
        assert_free_of(&known, "an answer", format!("{answer:?}").as_bytes());
    }

    for arguments in [
        &["--key", key, "app", "list"][..],
        &["--admin", key, "--key", key, "app", "list"],
        &["token", "show", key],
        &["token", "revoke", key, "--yes"],
        &["key", "revoke", key, "--yes"],
        &["app", "show", key],
        &["token", "create", "--app", key, "--environment", key, "--expires", key],
        &["token", "create", key],
        &[key],
        &["--config", key, "check"],
    ] {
        let ran = finish(command(&gateway.path("")).args(arguments));
        assert_ne!(ran.code, 0, "{arguments:?}");
        assert_free_of(&known, "what the command line says", format!("{ran:?}").as_bytes());
    }

    assert!(app.bytes().is_empty());
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    assert_free_in_folder(&gateway, &known);
    assert_free_of(&known, "standard error", gateway.stderr().as_bytes());
}

/// Every way to present a value, and every place where it does not belong.
fn present_in_every_way(gateway: &Gateway, token: &str) -> Vec<Answer> {
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let bearer = format!("Bearer {token}");
    let query = format!("project-protection-bypass={token}");
    let referer = format!("http://{HOST}/before?a=b&{query}");
    let cookie = format!("a=b; portcullis={token}");
    let own = ("X-Portcullis-Token", token);
    let mut requests = vec![
        request("GET /", &[own]),
        request("GET /", &[("Authorization", &bearer)]),
        request(&format!("GET /?a=b&{query}"), &[]),
        request(&format!("GET /?%70roject-protection-bypass={encoded}"), &[]),
        request("GET /", &[own, ("Referer", &referer), ("Authorization", "Basic Zm9v")]),
        // Twice, or in two ways at once.
        request("GET /", &[own, own]),
        request("GET /", &[own, ("Authorization", &bearer)]),
        request(&format!("GET /?{query}&{query}"), &[own]),
        // Refused for another reason.
        request("GET /", &[("Host", "elsewhere.example"), own]),
        request("GET /", &[("Host", "shop.dev.localhost"), own]),
        request("TRACE /", &[own]),
        request("GET /.portcullis/absent", &[own]),
        request("GET /", &[own, ("Expect", "the-unexpected")]),
        // In places that are refused or logged.
        request(&format!("GET /{token}"), &[]),
        request(&format!("GET /{encoded}"), &[]),
        request("GET /", &[("Host", &format!("{token}.localhost"))]),
        request("GET /", &[own, ("X-Request-Id", token)]),
        request(&format!("{token} /"), &[]),
        request("GET /", &[("Cookie", &cookie)]),
        request(&format!("GET http://{token}@{HOST}/"), &[own]),
        request(&format!("GET {token}"), &[]),
        request("GET /", &[own, ("Content-Length", token)]),
        request("GET /", &[own, ("Transfer-Encoding", token)]),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{token} x\r\nX-Portcullis-Token: {token}\n\r\n")
            .into_bytes(),
        format!("GET /{token} HTTP/9.9\r\n\r\n").into_bytes(),
    ];
    for path in ["/garbled", "/silent"] {
        requests.push(request(&format!("GET {path}?{query}"), &[("Referer", &referer)]));
        requests.push(with_token(&format!("POST {path}"), HOST, token));
    }
    requests.push(with_token("GET /", "gone.localhost", token));
    requests.push(request(&format!("GET /?{query}"), &[("Host", "gone.localhost"), ("Referer", &referer)]));
    // Half a head, which the gateway answers when it has waited long enough.
    requests.push(format!("GET / HTTP/1.1\r\nX-Portcullis-Token: {token}\r\n").into_bytes());
    requests.iter().map(|request| gateway.ask(request)).collect()
}

fn ask_admin(gateway: &Gateway, request: &[u8]) -> Answer {
    let mut wire = connect(gateway.admin_address());
    wire.send(request);
    wire.answer()
}

/// The access log, the store with all that is beside it, the configuration.
#[track_caller]
fn assert_free_in_folder(gateway: &Gateway, known: &[&str]) {
    let files = contents(&gateway.path(""));
    for name in ["access.log", "portcullis.db", "proxy.toml"] {
        assert!(files.iter().any(|(path, _)| path == Path::new(&gateway.path(name))), "{name}");
    }
    for (path, bytes) in files {
        assert_free_of(known, &path.display().to_string(), &bytes);
    }
}

/// Neither the whole value is in `bytes` nor so much of it that the rest could be guessed.
#[track_caller]
fn assert_free_of(known: &[&str], place: &str, bytes: &[u8]) {
    let decoded: Vec<u8> = percent_encoding::percent_decode(bytes).collect();
    for value in known {
        // Past the prefix, which is public; the hint of four characters may be told.
        for part in [&value[4..24], &value[16..36]] {
            let found = |bytes: &[u8]| memchr::memmem::find(bytes, part.as_bytes()).is_some();
            assert!(!found(bytes) && !found(&decoded), "a credential is in {place}");
        }
    }
}
