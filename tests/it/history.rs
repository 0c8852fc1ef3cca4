//! What is kept: the audit log, notes of what is about to end, last uses, and a copy of it all.

use std::fs;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::until;
use crate::support::wire::{Wire, request};

const HOST: &str = "shop.localhost";

fn actions(page: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (text(&entry["actor"]), text(&entry["action"])))
        .collect()
}

#[test]
fn every_change_is_told_with_who_what_and_from_where() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let ann = Caller::member(&gateway, "ann", &["read", "mint", "deploy", "delete"], None);
    let token = ann.mint("production");
    let path = format!("/v1/tokens/{}", token.id);
    ann.get(200, &format!("PATCH {path}"), Some(json!({ "label": "new" })));
    ann.get(201, &format!("POST {path}/rotate"), None);
    ann.get(200, &format!("POST {path}/revoke"), Some(json!({ "reason": "lost" })));
    let environment = "/v1/apps/shop/environments/production";
    ann.get(201, &format!("POST {environment}/deployments"), Some(json!({ "id": "blue" })));
    ann.get(200, &format!("POST {environment}/deployments"), Some(json!({ "id": "blue" })));
    ann.get(200, &format!("DELETE {environment}/deployments/initial"), None);
    ann.get(200, &format!("PUT {environment}/external-access"), Some(json!({ "enabled": false })));
    ann.get(200, &format!("PUT {environment}/external-access"), Some(json!({ "enabled": false })));
    ann.get(200, &format!("DELETE {path}"), None);
    operator.get(200, "PATCH /v1/members/ann", Some(json!({ "email": "a@b" })));
    operator.get(200, "DELETE /v1/members/ann", None);

    let all = operator.get(200, "GET /v1/audit", None);
    let of = |actor: &str, names: &[&str]| {
        names.iter().map(|name| (actor.to_owned(), (*name).to_owned())).collect::<Vec<_>>()
    };
    let hers = [
        "environment.open",
        "token.mint",
        "token.edit",
        "token.rotate",
        "token.revoke",
        "deployment.publish",
        "deployment.release",
        "deployment.archive",
        "environment.switch",
        "token.delete",
    ];
    let expected = [
        of("operator", &["member.add", "key.mint"]),
        of("ann", &hers),
        of("operator", &["member.edit", "member.remove"]),
    ];
    assert_eq!(actions(&all), expected.concat());
    let items = all["items"].as_array().unwrap();
    assert!(items.iter().map(|entry| entry["seq"].as_u64().unwrap()).eq(1..=items.len() as u64));
    assert_eq!(
        (&items[0]["detail"]["from"], &items[3]["detail"]["from"]),
        (&json!("socket"), &json!("127.0.0.1"))
    );
    assert_eq!(items[4]["detail"]["changes"]["label"], json!({ "from": "", "to": "new" }));
    assert_eq!((&items[6]["subject"], &items[6]["detail"]["reason"]), (&json!(token.id), &json!("lost")));
    assert!(!all.to_string().contains(&token.secret));

    let page = operator.get(200, "GET /v1/audit?limit=3", None);
    assert_eq!(page["next_cursor"], "3");
    let rest = operator.get(200, "GET /v1/audit?after=3&limit=500", None);
    assert_eq!(
        (rest["items"].as_array().unwrap().len(), &rest["next_cursor"]),
        (items.len() - 3, &Value::Null)
    );
    for query in ["after=x", "after=1&cursor=1", "limit=0", "after=-1", "nonsense=1"] {
        assert_eq!(operator.ask(&format!("GET /v1/audit?{query}"), None).status, 422, "{query}");
    }
}

#[test]
fn members_read_their_own_acts_and_bound_keys_those_of_their_app() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let (ann, bob) = (
        Caller::member(&gateway, "ann", &["read", "mint"], None),
        Caller::member(&gateway, "bob", &["read", "mint"], None),
    );
    let boss = Caller::member(&gateway, "boss", &["admin"], Some("blog"));
    let bound = Caller::member(&gateway, "ann", &["read", "mint"], Some("blog"));
    ann.mint("production");
    bob.mint("production");
    bound.get(
        201,
        "POST /v1/tokens",
        Some(json!({ "app": "blog", "environment": "production", "expires_in": "1h" })),
    );
    let of = |caller: &Caller<'_>| {
        let page = caller.get(200, "GET /v1/audit", None);
        page["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "token.mint").count()
    };
    assert_eq!((of(&ann), of(&bob), of(&bound), of(&boss)), (2, 1, 1, 1));
    assert_eq!(of(&Caller::operator(&gateway)), 3);
}

#[test]
fn last_use_tells_time_and_address_and_what_ends_soon_is_noted_once() {
    let gateway = Gateway::before(&App::echo());
    let operator = Caller::operator(&gateway);
    let (used, unused) = (gateway.mint("production"), gateway.mint("production"));
    let order = json!({ "app": "shop", "environment": "production", "expires_in": "30d" });
    let later = gateway.mint_with(order);
    for token in [&used, &later] {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    }
    let shown = until("the last use to be written down", || {
        let token = operator.get(200, &format!("GET /v1/tokens/{}", used.id), None);
        token["last_used_at"].is_string().then_some(token)
    });
    assert_eq!(shown["last_used_from"], "127.0.0.1");
    assert_eq!(operator.ids("GET /v1/tokens?expiring=7d"), [used.id.as_str()]);
    assert_eq!(operator.ids("GET /v1/tokens?expiring=3mo"), [later.id.as_str(), used.id.as_str()]);
    assert_eq!(operator.ids("GET /v1/tokens?expiring=1m"), [""; 0]);
    assert_eq!(operator.ask("GET /v1/tokens?expiring=soon", None).status, 422);
    let noted = || {
        let page = operator.get(200, "GET /v1/audit?limit=500", None);
        let entries = page["items"].as_array().unwrap().clone();
        entries.into_iter().filter(|entry| entry["action"] == "token.expiring").collect::<Vec<_>>()
    };
    let note = until("the note of what ends soon", || noted().first().cloned());
    assert_eq!((&note["subject"], &note["actor"]), (&json!(used.id), &json!("portcullis")));
    assert_ne!(note["subject"], json!(unused.id));
    assert_eq!(noted().len(), 1);
    until("their number among the metrics", || {
        (gateway.metrics().get("tokens_expiring") == Some(1.0)).then_some(())
    });
}

#[test]
fn a_backup_is_a_whole_store_taken_while_it_is_used() {
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    let tokens: Vec<_> = (0..200).map(|_| gateway.mint("production")).collect();
    let copy = std::thread::scope(|scope| {
        let minting = scope.spawn(|| {
            for _ in 0..50 {
                gateway.mint("production");
            }
        });
        let answer = Caller::operator(&gateway).ask("GET /v1/backup", None);
        minting.join().unwrap();
        answer
    });
    assert_eq!((copy.status, copy.get("content-type")), (200, Some("application/vnd.sqlite3")));
    assert_eq!(copy.get("content-length").unwrap().parse::<usize>().unwrap(), copy.body.len());
    let left: Vec<_> = fs::read_dir(gateway.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("backup"))
        .collect();
    assert_eq!(left, [""; 0]);
    let file = gateway.path("copy.db");
    fs::write(&file, &copy.body).unwrap();
    let sound: String = rusqlite::Connection::open(&file)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");

    // In the place of what was lost.
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    for name in ["portcullis.db", "portcullis.db-wal", "portcullis.db-shm"] {
        let _ = fs::remove_file(gateway.path(name));
    }
    fs::rename(file, gateway.path("portcullis.db")).unwrap();
    gateway.restart();
    for token in tokens.iter().step_by(20) {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    }
}

#[test]
fn a_backup_that_nobody_takes_leaves_nothing_behind() {
    let gateway = Gateway::before(&App::echo());
    // More than the socket's buffers hold, so that the copy cannot have gone out whole.
    let long = "x".repeat(1000);
    for _ in 0..600 {
        let order = json!({
            "app": "shop", "environment": "production", "expires_in": "1h", "description": long,
        });
        gateway.mint_with(order);
    }
    let backups = || {
        let entries = fs::read_dir(gateway.path(".")).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("backup"))
            .count()
    };
    let slow = || {
        let stream = UnixStream::connect(gateway.path("portcullis.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Wire::new(stream);
        wire.send(request("GET /v1/backup", &[]));
        assert_eq!(wire.head().unwrap().unwrap().status(), 200);
        wire
    };
    let first = slow();
    let second = Caller::operator(&gateway).ask("GET /v1/backup", None);
    assert_eq!((second.status, backups()), (200, 1), "a slow reader is in nobody's way");
    let third = slow();
    let fourth = Caller::operator(&gateway).ask("GET /v1/backup", None);
    assert_eq!((fourth.status, fourth.code().as_str(), backups()), (409, "conflict", 2));
    drop((first, third));
    until("the copy to be gone", || (backups() == 0).then_some(()));
    until("the next backup", || {
        (Caller::operator(&gateway).ask("GET /v1/backup", None).status == 200).then_some(())
    });
}
