//! The file behind it all: when it cannot be used at the start, and when it fails while traffic goes on.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::{attempt, with_token};
use crate::support::gateway::{Gateway, Setup, command};
use crate::support::program::{Program, finish};
use crate::support::until;

const HOST: &str = "shop.localhost";

#[test]
fn a_file_that_is_no_store_of_ours_refuses_the_start_and_is_left_alone() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 5] = [
        (|path| fs::write(path, vec![0x5a; 8192]).unwrap(), "damaged or not a database"),
        (
            |path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            },
            "damaged or not a database",
        ),
        (
            |path| Connection::open(path).unwrap().pragma_update(None, "user_version", 999).unwrap(),
            "was written by a newer portcullis (schema version 999; this one knows up to 9)",
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                Connection::open(path).unwrap().execute("CREATE TABLE elsewhere (x)", []).unwrap();
            },
            "is a database, but not a portcullis store",
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            "cannot be opened: it is not a file\n",
        ),
    ];
    let mut gateway = Gateway::before(&App::echo());
    gateway.mint("production");
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    let path = gateway.path("portcullis.db");
    let sound = fs::read(&path).unwrap();
    for (damage, told) in damages {
        damage(&path);
        let before = path.is_file().then(|| fs::read(&path).unwrap());
        let ran = finish(command(&gateway.path("")).arg("serve"));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(told) && ran.stderr.contains("portcullis.db`"), "{told}: {ran:?}");
        assert!(path.is_file().then(|| fs::read(&path).unwrap()) == before, "changed though {told}");
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        fs::write(&path, &sound).unwrap();
    }
    gateway.restart();
}

#[test]
fn damage_anywhere_in_the_file_refuses_the_start() {
    let mut gateway = Gateway::before(&App::echo());
    for _ in 0..20 {
        gateway.mint("production");
    }
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    let path = gateway.path("portcullis.db");
    let sound = fs::read(&path).unwrap();
    let pages: Vec<(String, u32)> = Connection::open(&path)
        .unwrap()
        .prepare("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 1")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    // Some that the gateway loads, and some that it reads much later or only ever writes.
    for damaged in ["tokens", "audit", "leaks", "feed", "tokens_by_member", "sqlite_autoindex_tokens_2"] {
        let page = pages.iter().find(|(name, _)| name == damaged).unwrap().1 as usize;
        let mut bytes = sound.clone();
        bytes[(page - 1) * 4096..page * 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        let ran = finish(command(&gateway.path("")).arg("serve"));
        assert_eq!(ran.code, 1, "{damaged}: {ran:?}");
        let told = "portcullis.db` is damaged or not a database";
        assert!(ran.stderr.contains(told) && ran.stderr.contains("restore it from a backup"), "{ran:?}");
        assert!(!ran.stderr.contains("listens on"), "{damaged}: {ran:?}");
        assert!(fs::read(&path).unwrap() == bytes, "{damaged}: the file was changed");
    }
    fs::write(&path, &sound).unwrap();
    gateway.restart();
}

#[test]
fn a_token_that_cannot_be_read_refuses_the_start_and_is_named() {
    let mut gateway = Gateway::before(&App::echo());
    gateway.mint("production");
    let token = gateway.mint("production");
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    let direct = |assignment: &str| {
        let store = Connection::open(gateway.path("portcullis.db")).unwrap();
        store.pragma_update(None, "ignore_check_constraints", true).unwrap();
        let changed =
            store.execute(&format!("UPDATE tokens SET {assignment} WHERE id = ?"), [&token.id]).unwrap();
        assert_eq!(changed, 1);
    };
    for (damage, mended) in [
        ("scopes = '[\"nonsense\"]'", "scopes = '[]'"),
        ("allowed_addresses = '['", "allowed_addresses = '[]'"),
        ("rate_limit = 'often'", "rate_limit = NULL"),
        ("app = 'a/b'", "app = 'shop'"),
        ("environment = ''", "environment = 'production'"),
        ("on_publish = 'perhaps'", "on_publish = 'keep'"),
        ("deployment_seq = -1", "deployment_seq = 0"),
    ] {
        direct(damage);
        let ran = finish(command(&gateway.path("")).arg("serve"));
        assert_eq!(ran.code, 1, "{damage}: {ran:?}");
        assert!(ran.stderr.contains("portcullis.db` cannot be loaded"), "{damage}: {ran:?}");
        assert!(ran.stderr.contains(&token.id), "{damage}: {ran:?}");
        direct(mended);
    }
    gateway.restart();
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
}

#[test]
fn one_store_one_socket_and_one_address_serve_one_gateway() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let serve = |folder: &Path, variables: &[(&str, &str)]| {
        let ran = finish(command(folder).arg("serve").envs(variables.iter().copied()));
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.stderr
    };
    let told = serve(&gateway.path(""), &[]);
    assert!(told.contains("portcullis.db` is in use by another portcullis"), "{told}");

    let other = Program::new(&Setup::new(&app).text());
    let text = |name: &str| gateway.path(name).to_str().unwrap().to_owned();
    let link = other.path("link.db");
    std::os::unix::fs::symlink(gateway.path("portcullis.db"), &link).unwrap();
    let folder = other.path("");
    for (name, value, expected) in [
        ("PORTCULLIS_STORE__PATH", text("portcullis.db"), "is in use by another portcullis"),
        ("PORTCULLIS_STORE__PATH", link.to_str().unwrap().to_owned(), "is in use by another portcullis"),
        ("PORTCULLIS_ADMIN__SOCKET", text("portcullis.sock"), "another portcullis answers on"),
        ("PORTCULLIS_ADMIN__SOCKET", text("proxy.toml"), "is no socket"),
        (
            "PORTCULLIS_GATEWAY__LISTEN",
            gateway.address().to_string(),
            "Address already in use (os error 98)\n",
        ),
        (
            "PORTCULLIS_ADMIN__LISTEN",
            gateway.admin_address().to_string(),
            "Address already in use (os error 98)\n",
        ),
    ] {
        let told = serve(&folder, &[(name, &value)]);
        assert!(told.contains(expected), "{name}: {told}");
        let causes: Vec<_> = told.trim_end().split(": ").collect();
        assert!(causes.windows(2).all(|pair| pair[0] != pair[1]), "a cause is told twice: {told}");
    }
    assert!(gateway.path("proxy.toml").is_file());
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    assert_eq!(gateway.admin("GET /v1/tokens", None).status, 200);
}

#[test]
fn a_socket_that_nobody_answers_on_is_replaced() {
    let mut gateway = Gateway::before(&App::echo());
    gateway.kill();
    assert!(gateway.path("portcullis.sock").exists(), "a killed gateway cleans nothing up");
    gateway.restart();
    assert_eq!(gateway.admin("GET /healthz", None).status, 200);
}

#[test]
fn while_the_store_is_locked_changes_wait_or_fail_and_traffic_goes_on() {
    let gateway = Gateway::before(&App::echo());
    let (kept, lost) = (gateway.mint("production"), gateway.mint("production"));
    let foreign = Connection::open(gateway.path("portcullis.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();

    let order = json!({ "app": "shop", "environment": "production", "expires_in": "1h" });
    for answer in [
        gateway.admin("POST /v1/tokens", Some(order)),
        gateway.admin(&format!("POST /v1/tokens/{}/revoke", lost.id), None),
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
        assert!(answer.get("retry-after").is_some());
    }
    let ready = gateway.admin("GET /readyz", None);
    assert_eq!((ready.status, ready.code().as_str()), (503, "store_unavailable"));
    assert_eq!(gateway.admin("GET /healthz", None).status, 200);
    for token in [&kept, &lost] {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    }
    let cli = gateway.cli(&["token", "revoke", &lost.id, "--yes"]);
    assert!(cli.code == 1 && cli.stderr.contains("nothing was changed"), "{cli:?}");

    foreign.execute_batch("ROLLBACK").unwrap();
    let socket = gateway.path("portcullis.sock");
    let revoke = format!("POST /v1/tokens/{}/revoke", lost.id);
    until("the store to be written again", || {
        attempt(&socket, &revoke, None).filter(|answer| answer.status == 200)
    });
    assert_eq!(gateway.ask(with_token("GET /", HOST, &lost.secret)).code(), "token_revoked");
    assert_eq!(gateway.admin("GET /readyz", None).status, 200);
    let listed = gateway.admin("GET /v1/tokens", None).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "what was refused did not happen");
}

#[test]
fn on_a_full_disk_changes_fail_and_traffic_goes_on() {
    let gateway = Setup::new(&App::echo()).set("gateway.access_log", "path", "\"off\"").start_on_small_disk();
    let socket = gateway.path("portcullis.sock");
    let order = json!({
        "app": "shop", "environment": "production", "expires_in": "1h", "description": "x".repeat(1000)
    });
    let mut minted = Vec::new();
    let refused = loop {
        assert!(minted.len() < 10_000, "the disk never got full");
        let answer = attempt(&socket, "POST /v1/tokens", Some(&order)).unwrap();
        if answer.status != 201 {
            break answer;
        }
        let answer = answer.json();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        minted.push((text(&answer["token"]["id"]), text(&answer["secret"])));
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"));
    let mut wire = gateway.connect();
    for (_, secret) in &minted {
        wire.send(with_token("GET /", HOST, secret));
        assert_eq!(wire.answer().status, 200);
    }
}
