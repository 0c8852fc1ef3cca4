//! Publishing releases: which tokens end with it, where traffic goes from then on, and what is left of it.

use std::sync::mpsc::channel;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Minted, Setup};
use crate::support::{PATIENCE, until};

const PRODUCTION: &str = "shop.localhost";
const DEVELOPMENT: &str = "shop.dev.localhost";
const PATH: &str = "/v1/apps/shop/environments/production/deployments";

fn publish(gateway: &Gateway, id: &str) -> Value {
    let answer = Caller::operator(gateway).ask(&format!("POST {PATH}"), Some(json!({ "id": id })));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    answer.json()
}

fn pinned(gateway: &Gateway, on_publish: &str) -> Minted {
    gateway.mint_with(json!({
        "app": "shop", "environment": "production", "expires_in": "1h", "on_publish": on_publish,
    }))
}

#[track_caller]
fn code(gateway: &Gateway, token: &Minted) -> String {
    let answer = gateway.ask(with_token("GET /", PRODUCTION, &token.secret));
    if answer.status == 200 { "ok".to_owned() } else { answer.code() }
}

#[track_caller]
fn token(gateway: &Gateway, of: &Minted) -> Value {
    Caller::operator(gateway).get(200, &format!("GET /v1/tokens/{}", of.id), None)
}

#[test]
fn another_deployment_ends_what_says_stop_and_a_release_ends_nothing() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let (usual, kept, graced) =
        (gateway.mint("production"), pinned(&gateway, "keep"), pinned(&gateway, "grace:1h"));
    let development = gateway.mint("development");
    let every = gateway.mint_with(json!({ "app": "*", "environment": "production", "expires_in": "1h" }));
    let answer = operator.ask(&format!("POST {PATH}"), Some(json!({ "id": "initial" })));
    assert_eq!(
        (answer.status, &answer.json()["tokens_ended"]),
        (200, &json!(0)),
        "a release of what is there"
    );

    let first = operator.ask(&format!("POST {PATH}"), Some(json!({ "id": "blue" })));
    assert_eq!((first.status, &first.json()["tokens_ended"]), (201, &json!(1)));
    assert_eq!(first.json()["deployment"]["id"], "blue");
    assert_eq!(first.json()["deployment"]["current"], true);
    let again = operator.ask(&format!("POST {PATH}"), Some(json!({ "id": "blue" })));
    assert_eq!((again.status, &again.json()["tokens_ended"]), (200, &json!(0)));

    let refused = gateway.ask(with_token("GET /", PRODUCTION, &usual.secret));
    assert_eq!((refused.status, refused.code().as_str()), (401, "deployment_replaced"));
    assert!(refused.get("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    for token in [&kept, &graced, &every] {
        assert_eq!(code(&gateway, token), "ok");
    }
    assert_eq!(gateway.ask(with_token("GET /", DEVELOPMENT, &development.secret)).status, 200);

    let ended = token(&gateway, &usual);
    assert_eq!((&ended["status"], &ended["replaced_by"]), (&json!("replaced"), &json!("operator")));
    assert_eq!(ended["replaced_at"], first.json()["deployment"]["published_at"]);
    assert_eq!((&ended["deployment"], &ended["revoked_at"]), (&json!("initial"), &Value::Null));
    assert_eq!(operator.ids("GET /v1/tokens?status=replaced"), [usual.id.as_str()]);
    assert!(!operator.ids("GET /v1/tokens?status=active").contains(&usual.id));
    assert_eq!(token(&gateway, &graced)["status"], "active");
    let fresh = gateway.mint("production");
    assert_eq!(
        (token(&gateway, &fresh)["deployment"].clone(), code(&gateway, &fresh)),
        (json!("blue"), "ok".into())
    );
}

#[test]
fn a_rollback_revives_nothing() {
    let gateway = Gateway::before(&App::echo());
    publish(&gateway, "blue");
    let blue = gateway.mint("production");
    publish(&gateway, "green");
    let green = gateway.mint("production");
    assert_eq!(publish(&gateway, "blue")["tokens_ended"], 1);
    assert_eq!(
        (code(&gateway, &blue), code(&gateway, &green)),
        ("deployment_replaced".into(), "deployment_replaced".into())
    );
    assert_eq!(token(&gateway, &green)["status"], "replaced");
    let numbers: Vec<_> = Caller::operator(&gateway).get(200, &format!("GET {PATH}"), None)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["number"].as_u64().unwrap(), item["id"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [(3, "blue"), (2, "green"), (1, "blue"), (0, "initial")].map(|(n, id)| (n, id.to_owned()));
    assert_eq!(numbers, expected);
}

#[test]
fn grace_runs_out_in_the_middle_of_an_answer() {
    let (end, ends) = channel();
    let app = App::start(move |exchange| {
        if exchange.head.target() != "/stream" {
            return exchange.answer(b"hello");
        }
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ntick");
        exchange.wire.wait_for_end();
        exchange.close();
        let _ = end.send(Timestamp::now());
    });
    let gateway = Gateway::before(&app);
    let graced = pinned(&gateway, "grace:2s");
    let mut stream = gateway.connect();
    stream.send(with_token("GET /stream", PRODUCTION, &graced.secret));
    assert_eq!(stream.head().unwrap().unwrap().status(), 200);
    assert_eq!(stream.take(4).unwrap(), b"tick");
    let published = publish(&gateway, "blue")["deployment"]["published_at"].as_str().unwrap().to_owned();
    let until: Timestamp = published.parse::<Timestamp>().unwrap() + Duration::from_secs(2);
    assert_eq!(code(&gateway, &graced), "ok");
    let ended = ends.recv_timeout(PATIENCE).unwrap();
    assert!(ended >= until, "{ended} is before {until}");
    assert_eq!(code(&gateway, &graced), "deployment_replaced");
    assert_eq!(token(&gateway, &graced)["status"], "replaced");
}

#[test]
fn what_is_under_way_ends_with_its_deployment() {
    let app = App::start(|exchange| {
        if exchange.head.target() == "/stream" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ntick");
        }
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let (stopped, kept) = (gateway.mint("production"), pinned(&gateway, "keep"));
    let [mut waiting, mut running, mut other] =
        [("/wait", &stopped), ("/stream", &stopped), ("/stream", &kept)].map(|(path, token)| {
            let mut wire = gateway.connect();
            wire.send(with_token(&format!("GET {path}"), PRODUCTION, &token.secret));
            wire
        });
    app.wait_for(3);
    for wire in [&mut running, &mut other] {
        assert_eq!(wire.head().unwrap().unwrap().status(), 200);
    }
    assert_eq!(publish(&gateway, "blue")["tokens_ended"], 1);
    assert_eq!(waiting.answer().code(), "deployment_replaced");
    running.wait_for_end();
    assert_eq!(other.take(4).unwrap(), b"tick");
    gateway.revoke(&kept.id);
    other.wait_for_end();
}

#[test]
fn upstreams_of_a_release_take_over_at_once_and_over_restarts() {
    let answering = |text: &'static str| App::start(move |exchange| exchange.answer(text.as_bytes()));
    let (old, new, newer) = (answering("old"), answering("new"), answering("newer"));
    let mut gateway = Gateway::before(&old);
    let kept = pinned(&gateway, "keep");
    let serves =
        |gateway: &Gateway| gateway.ask(with_token("GET /", PRODUCTION, &kept.secret)).text().to_owned();
    let release = |gateway: &Gateway, body: Value| {
        let answer = Caller::operator(gateway).ask(&format!("POST {PATH}"), Some(body));
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer.json()["deployment"].clone()
    };
    let in_force = |gateway: &Gateway| {
        let app = Caller::operator(gateway).get(200, "GET /v1/apps/shop", None);
        let all = app["environments"].as_array().unwrap().clone();
        let environment = all.into_iter().find(|environment| environment["name"] == "production").unwrap();
        let upstreams = environment["upstreams"].as_array().unwrap();
        (
            upstreams.iter().map(|upstream| upstream["url"].clone()).collect::<Value>(),
            environment["upstreams_from"].clone(),
            environment["deployment"].clone(),
        )
    };
    assert_eq!(serves(&gateway), "old");
    assert_eq!(in_force(&gateway), (json!([old.url()]), json!("configuration"), json!("initial")));
    let blue = release(&gateway, json!({ "id": "blue", "upstreams": [new.url()] }));
    assert_eq!(blue["upstreams"], json!([new.url()]));
    for _ in 0..8 {
        assert_eq!(serves(&gateway), "new");
    }
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    gateway.restart();
    assert_eq!(serves(&gateway), "new");
    assert_eq!(in_force(&gateway), (json!([new.url()]), json!("deployment"), json!("blue")));
    release(&gateway, json!({ "id": "blue", "upstreams": [newer.url()] }));
    assert_eq!(serves(&gateway), "newer");
    release(&gateway, json!({ "id": "blue" }));
    assert_eq!(serves(&gateway), "old");
    assert_eq!(in_force(&gateway).1, "configuration");
}

#[test]
fn no_request_is_lost_while_upstreams_change() {
    let (one, two) = (App::echo(), App::echo());
    let gateway = Gateway::before(&one);
    let token = gateway.mint("production");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = gateway.connect();
                    let mut asked = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        wire.send(with_token("GET /", PRODUCTION, &token.secret));
                        assert_eq!(wire.answer().status, 200);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..20 {
            let url = if round % 2 == 0 { two.url() } else { one.url() };
            let body = json!({ "id": "initial", "upstreams": [url] });
            Caller::operator(&gateway).get(200, &format!("POST {PATH}"), Some(body));
        }
        until("both apps to be asked", || {
            (!one.requests().is_empty() && !two.requests().is_empty()).then_some(())
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asking.into_iter().all(|thread| thread.join().unwrap() > 0));
    });
}

#[test]
fn a_dry_run_tells_whom_it_would_cut_off_and_does_nothing() {
    let gateway = Gateway::before(&App::echo());
    let (stopped, kept) = (gateway.mint("production"), pinned(&gateway, "keep"));
    let revoked = gateway.mint("production");
    gateway.revoke(&revoked.id);
    let operator = Caller::operator(&gateway);
    let look = |caller: &Caller<'_>, id: &str| {
        let answer = caller.get(200, &format!("POST {PATH}?dry_run=true"), Some(json!({ "id": id })));
        let ids = |side: &str| {
            let side = answer[side].as_array().unwrap();
            side.iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let counts = (answer["would_end_count"].as_u64(), answer["would_keep_count"].as_u64());
        (ids("would_end"), ids("would_keep"), counts)
    };
    let expected = (vec![stopped.id.clone()], vec![kept.id], (Some(1), Some(1)));
    assert_eq!(look(&operator, "blue"), expected);
    assert_eq!(look(&operator, "initial").2, (Some(0), Some(2)));
    assert_eq!(code(&gateway, &stopped), "ok");
    assert_eq!(operator.get(200, &format!("GET {PATH}"), None)["items"].as_array().unwrap().len(), 1);
    // Who may only deploy learns how many it would be, but sees nobody else's tokens.
    let deployer = Caller::member(&gateway, "ci", &["deploy"], None);
    assert_eq!(look(&deployer, "blue"), (vec![], vec![], (Some(1), Some(1))));
    assert_eq!(publish(&gateway, "blue")["tokens_ended"], 1);
}

#[test]
fn a_grace_is_told_wherever_an_end_is() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let graced = pinned(&gateway, "grace:30m");
    let ends = |token: &Value| {
        let end = |name: &str| token[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        (end("ends_at"), end("expires_at"))
    };
    let (ends_at, expires_at) = ends(&token(&gateway, &graced));
    assert_eq!(ends_at, expires_at);
    let ahead = operator.get(200, &format!("POST {PATH}?dry_run=true"), Some(json!({ "id": "blue" })));
    let (ends_at, unchanged) = ends(&ahead["would_keep"][0]);
    assert!(ends_at < unchanged && unchanged == expires_at, "{ahead}");

    publish(&gateway, "blue");
    let (ends_at, unchanged) = ends(&token(&gateway, &graced));
    assert!(ends_at < unchanged && unchanged == expires_at);
    for line in [&["token", "show", &graced.id][..], &["token", "list"]] {
        let ran = gateway.cli(line);
        assert!(ran.stdout.contains("in 30 minutes"), "{ran:?}");
    }
    // A successor would end with it.
    let rotated = operator.ask(&format!("POST /v1/tokens/{}/rotate", graced.id), None);
    assert_eq!((rotated.status, rotated.code().as_str()), (409, "conflict"), "{rotated:?}");
    assert_eq!(code(&gateway, &graced), "ok");
}

#[test]
fn old_deployments_can_be_put_away() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let archive = |id: &str| operator.ask(&format!("DELETE {PATH}/{id}"), None);
    assert_eq!((archive("initial").status, archive("initial").code().as_str()), (409, "conflict"));
    publish(&gateway, "v1.0+a:b@c");
    let archived = archive("initial");
    assert_eq!(archived.status, 200, "{archived:?}");
    assert!(archived.json()["archived_at"].is_string());
    assert_eq!(archive("initial").json(), archived.json(), "again is harmless");
    assert_eq!((archive("v1.0+a:b@c").status, archive("nothing").status), (409, 404));
    let history = operator.get(200, &format!("GET {PATH}?limit=1"), None);
    assert_eq!(history["items"][0]["id"], "v1.0+a:b@c");
    let next = history["next_cursor"].as_str().unwrap();
    let rest = operator.get(200, &format!("GET {PATH}?limit=1&cursor={next}"), None);
    assert_eq!((&rest["items"][0]["id"], &rest["next_cursor"]), (&json!("initial"), &Value::Null));
}

#[test]
fn what_cannot_be_published_is_refused() {
    let gateway = Setup::new(&App::echo()).start();
    let operator = Caller::operator(&gateway);
    for body in [
        json!({}),
        json!({ "id": "" }),
        json!({ "id": "a b" }),
        json!({ "id": "a/b" }),
        json!({ "id": 5 }),
        json!({ "id": "a", "upstreams": [] }),
        json!({ "id": "a", "upstreams": ["ftp://a"] }),
        json!({ "id": "a", "upstreams": ["http://user@a"] }),
        json!({ "id": "a", "upstreams": "http://a" }),
        json!({ "id": "a", "surprise": 1 }),
        json!({ "id": gateway.mint("development").secret }),
        json!({ "id": "a", "upstreams": [format!("unix:{}", gateway.path("portcullis.sock").display())] }),
    ] {
        let answer = operator.ask(&format!("POST {PATH}"), Some(body.clone()));
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"), "{body}: {answer:?}");
    }
    for path in ["/v1/apps/nowhere/environments/production", "/v1/apps/shop/environments/nowhere"] {
        let answer = operator.ask(&format!("POST {path}/deployments"), Some(json!({ "id": "a" })));
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let answer = operator.ask(&format!("POST {PATH}?dry_run=1"), Some(json!({ "id": "a" })));
    assert_eq!(answer.status, 422);
    assert_eq!(operator.get(200, &format!("GET {PATH}"), None)["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_release_leads_nobody_to_the_admin_socket() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production");
    // Under another name, which nobody can tell when it is published.
    let link = gateway.path("app.sock");
    let body = json!({ "id": "initial", "upstreams": [format!("unix:{}", link.display())] });
    Caller::operator(&gateway).get(200, &format!("POST {PATH}"), Some(body));
    std::os::unix::fs::symlink(gateway.path("portcullis.sock"), link).unwrap();
    let answer = gateway.ask(with_token("GET /v1/whoami", PRODUCTION, &token.secret));
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{answer:?}");
}

#[test]
fn a_key_that_may_only_deploy_reaches_no_more_of_the_machine_than_the_file_does() {
    let socket = "unix:/run/app.sock";
    let setup = Setup::new(&App::echo());
    let gateway =
        setup.set("apps.shop.environments.development", "upstreams", &format!("[{socket:?}]")).start();
    let operator = Caller::operator(&gateway);
    let deployer = Caller::member(&gateway, "ci", &["deploy"], None);
    let bound = Caller::member(&gateway, "ann", &["admin"], Some("shop"));
    let admin = Caller::member(&gateway, "eve", &["admin"], None);
    let publish = |caller: &Caller<'_>, path: &str, url: &str| {
        let body = json!({ "id": "initial", "upstreams": [url] });
        let answer = caller.ask(&format!("POST {path}?dry_run=true"), Some(body));
        (answer.status, answer.status == 422 && answer.json()["errors"][0]["field"] == "upstreams")
    };
    for inner in [
        socket,
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]",
        "http://[fe80::1]:80",
        "http://[fd00:ec2::254]",
        "http://0.0.0.0:3000",
        "http://224.0.0.1",
    ] {
        for caller in [&deployer, &bound] {
            assert_eq!(publish(caller, PATH, inner), (422, true), "{inner}");
        }
        for caller in [&operator, &admin] {
            assert_eq!(publish(caller, PATH, inner), (200, false), "{inner}");
        }
    }
    for own in ["http://127.0.0.1:3000", "https://app.internal", "http://10.0.0.5:8080"] {
        assert_eq!(publish(&deployer, PATH, own), (200, false), "{own}");
    }
    // What the file names for the environment anyhow may be said again.
    let development = PATH.replace("production", "development");
    assert_eq!(publish(&deployer, &development, socket), (200, false));
}
