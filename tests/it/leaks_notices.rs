//! Notices that are not delivered yet: held, sent again by hand, bounded, and seen to at a stop.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use portcullis::credential::{Kind, Plaintext};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::{App, Exchange};
use crate::support::caller::Caller;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
use crate::support::until;

fn with_hook(app: &App, hook: &Hook) -> Gateway {
    hook.notified(Setup::new(app)).start_beside("hook-secret", hook::SECRET)
}

fn notices(gateway: &Gateway) -> Vec<Value> {
    gateway.admin("GET /v1/notices", None).json()["items"].as_array().unwrap().clone()
}

fn store(gateway: &Gateway) -> Connection {
    let store = Connection::open(gateway.path("portcullis.db")).unwrap();
    store.busy_timeout(crate::support::PATIENCE).unwrap();
    store
}

/// Waits until so many were given up; their ids.
#[track_caller]
fn given_up(gateway: &Gateway, count: usize) -> Vec<String> {
    until("notices that were given up", || {
        let dead = notices(gateway).into_iter().filter(|notice| notice["status"] == "dead");
        let ids: Vec<_> = dead.map(|notice| notice["id"].as_str().unwrap().to_owned()).collect();
        (ids.len() == count).then_some(ids)
    })
}

#[test]
fn what_was_given_up_is_sent_again_by_hand() {
    let (app, hook) = (App::echo(), Hook::saying(&[410]));
    let gateway = with_hook(&app, &hook);
    let member = json!({ "name": "carl", "email": "carl@example.com" });
    assert_eq!(gateway.admin("POST /v1/members", Some(member)).status, 201);
    let carl = Caller::member(&gateway, "carl", &["read", "mint"], None);
    for _ in 0..3 {
        gateway.revoke(&carl.mint("production").id);
    }
    let ids = given_up(&gateway, 3);
    assert!(notices(&gateway).iter().all(|notice| notice["recipient"].is_null()));
    let retry = format!("POST /v1/notices/{}/retry", ids[0]);
    // Also in vain: the receiver does not want it.
    let answer = gateway.admin(&retry, None);
    assert_eq!(answer.status, 200, "{answer:?}");
    let item = &answer.json()["items"][0];
    assert_eq!((&item["status"], &item["attempts"]), (&json!("waiting"), &json!(0)));
    given_up(&gateway, 3);
    hook.say(&[200]);
    let before = hook.calls().len();
    assert_eq!(gateway.admin(&retry, None).status, 200);
    until("two that wait", || (notices(&gateway).len() == 2).then_some(()));
    assert_eq!(hook.calls().last().unwrap().id, ids[0], "under the same id");

    let unclear = gateway.cli(&["leak", "notices", "--retry"]);
    assert!(unclear.code == 2 && unclear.stderr.contains("--all"), "{unclear:?}");
    let one = gateway.cli(&["leak", "notices", "--retry", &ids[1]]);
    assert!(one.code == 0 && one.stdout.contains(&ids[1]), "{one:?}");
    let all = gateway.cli(&["leak", "notices", "--retry", "--all"]);
    assert!(all.code == 0 && all.stdout.contains(&ids[2]), "{all:?}");
    until("an empty outbox", || notices(&gateway).is_empty().then_some(()));
    assert_eq!(hook.calls().len(), before + 3);
    let none = gateway.cli(&["leak", "notices", "--retry", "--all"]);
    assert!(none.code == 0 && none.stderr.contains("no notice was given up"), "{none:?}");

    for gone in [&*ids[0], "evt_x", "x"] {
        assert_eq!(gateway.admin(&format!("POST /v1/notices/{gone}/retry"), None).status, 404);
    }
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    assert_eq!(ann.ask(&retry, None).status, 403);
    let entries = gateway.admin("GET /v1/audit?limit=500", None).json()["items"].clone();
    let retried = entries.as_array().unwrap().iter().filter(|entry| entry["action"] == "notice.retry");
    assert_eq!(retried.count(), 4);
}

#[test]
fn whatever_ends_with_a_member_is_told_at_once_and_once() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let ann = Caller::member(&gateway, "ann", &["read", "mint"], None);
    let mut minted: Vec<_> = (0..3).map(|_| json!(ann.mint("production").id)).collect();
    minted.reverse();
    assert_eq!(gateway.admin("DELETE /v1/members/ann", None).status, 200);
    let call = hook.wait_for(1).remove(0);
    let data = &call.body["data"];
    assert_eq!((&call.body["type"], &data["member"]), (&json!("member.removed"), &json!("ann")));
    assert_eq!((&data["tokens_ended"], &data["keys_ended"]), (&json!(3), &json!(1)));
    let named: Vec<_> = data["tokens"].as_array().unwrap().iter().map(|token| token["id"].clone()).collect();
    assert_eq!((named, &data["more_tokens"]), (minted, &json!(false)));
    until("an empty outbox", || notices(&gateway).is_empty().then_some(()));
    assert_eq!(hook.calls().len(), 1);
    // Nobody is told of a member who had nothing.
    assert_eq!(gateway.admin("POST /v1/members", Some(json!({ "name": "bob" }))).status, 201);
    assert_eq!(gateway.admin("DELETE /v1/members/bob", None).status, 200);
    assert!(notices(&gateway).is_empty());
}

#[test]
fn there_is_room_for_so_many_and_what_tells_of_a_leak_goes_last() {
    // Without a webhook they are held.
    let gateway = Gateway::before(&App::echo());
    let store = store(&gateway);
    store
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 30049)
             INSERT INTO outbox (id, channel, event, subject, recipient, data, created_at, due_at, dead_at)
             SELECT printf('evt_%026d', i), 'webhook',
                CASE WHEN i < 100 THEN 'token.leaked' WHEN i < 200 THEN 'token.expiring' ELSE 'token.revoked' END,
                'tok_x', '', '{}', unixepoch() * 1000, unixepoch() * 1000, iif(i > 30039, unixepoch() * 1000, NULL)
             FROM n",
        )
        .unwrap();
    let count = |which: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM outbox WHERE {which}");
        store.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    until("room", || (count("true") == 30_000).then_some(()));
    assert_eq!((count("dead_at IS NOT NULL"), count("event = 'token.expiring'")), (0, 60));
    assert_eq!(count("event = 'token.leaked'"), 100);
    // The oldest went.
    assert_eq!(count("event = 'token.expiring' AND id < printf('evt_%026d', 140)"), 0);
    until("a figure", || {
        let text = String::from_utf8(gateway.admin("GET /metrics", None).body).unwrap();
        text.contains("portcullis_notices_dropped_total 50").then_some(())
    });
}

#[test]
fn a_member_pushes_out_their_own_notices_before_those_of_others() {
    // Without a webhook they are held.
    let gateway = Gateway::before(&App::echo());
    for name in ["ann", "bob"] {
        assert_eq!(gateway.admin("POST /v1/members", Some(json!({ "name": name }))).status, 201);
    }
    let store = store(&gateway);
    store
        .execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 30049)
             INSERT INTO outbox (id, channel, event, subject, recipient, data, created_at, due_at, member)
             SELECT printf('evt_%026d', i), 'webhook', iif(i < 100, 'token.expiring', 'token.leaked'), 'tok_x', '',
                '{}', unixepoch() * 1000, unixepoch() * 1000,
                (SELECT id FROM members WHERE name = iif(i < 100, 'ann', 'bob'))
             FROM n",
        )
        .unwrap();
    let count = |event: &str| -> i64 {
        store.query_row("SELECT count(*) FROM outbox WHERE event = ?", [event], |row| row.get(0)).unwrap()
    };
    until("room", || (count("token.leaked") == 29_900).then_some(()));
    assert_eq!(count("token.expiring"), 100);
}

#[test]
fn reports_by_hand_leave_so_much_and_no_more() {
    let (app, hook) = (App::echo(), Hook::taking());
    let gateway = with_hook(&app, &hook);
    let (minted, other) = (gateway.mint("production"), gateway.mint("production"));
    let bob = Caller::member(&gateway, "bob", &["read", "mint"], None);
    let report = |batch: usize| {
        let places: Vec<_> = (0..100).map(|place| format!("batch {batch}, line {place}")).collect();
        let body = json!({ "tokens": [minted.secret], "source": "bob", "places": places });
        bob.get(200, "POST /v1/leaks", Some(body));
    };
    // At once, as scanners in several places do.
    thread::scope(|scope| {
        for batch in 0..4 {
            scope.spawn(move || report(batch));
        }
    });
    // What nobody holds leaves nothing.
    let unknown: Vec<_> = (0..500).map(|_| Plaintext::generate(Kind::Token).unwrap()).collect();
    let unknown: Vec<_> = unknown.iter().map(Plaintext::reveal).collect();
    bob.get(200, "POST /v1/leaks", Some(json!({ "tokens": unknown, "source": "bob" })));

    let items = |target: &str| gateway.admin(target, None).json()["items"].as_array().unwrap().clone();
    assert_eq!(items("GET /v1/leaks?limit=500").len(), 100);
    let log = items("GET /v1/audit?limit=500");
    assert_eq!(log.iter().filter(|entry| entry["action"] == "leak.report").count(), 100);
    // Calls come in order: nothing else was told before this.
    bob.get(200, "POST /v1/leaks", Some(json!({ "tokens": [other.secret], "source": "bob" })));
    let told = hook.calls_of("token.leaked", 2);
    let of = |call: usize| told[call].body["data"]["token"]["id"].clone();
    assert_eq!((of(0), of(1)), (json!(minted.id), json!(other.id)));
}

#[test]
fn what_nobody_can_read_takes_nothing_else_along() {
    // Without a webhook they are held.
    let gateway = Gateway::before(&App::echo());
    let store = store(&gateway);
    let (one, two) = (format!("evt_{:026}", 1), format!("evt_{:026}", 2));
    for (id, event) in [(&one, "token.leaked"), (&two, "token.future")] {
        store
            .execute(
                "INSERT INTO outbox (id, channel, event, subject, recipient, data, created_at, due_at)
                 VALUES (?, 'webhook', ?, 'tok_x', '', '{}', unixepoch() * 1000, unixepoch() * 1000)",
                (id, event),
            )
            .unwrap();
    }
    let listed = notices(&gateway);
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(one)));
    assert_eq!(gateway.admin("GET /v1/notices?limit=1", None).json()["items"][0]["id"], json!(one));
    let said = gateway.cli(&["leak", "notices"]);
    assert!(said.code == 0 && said.stdout.contains(&one), "{said:?}");
    assert_eq!(gateway.admin(&format!("POST /v1/notices/{two}/retry"), None).status, 404);
    until("a figure of each", || {
        let text = String::from_utf8(gateway.admin("GET /metrics", None).body).unwrap();
        let counted = |status: &str| {
            text.lines().any(|line| {
                line.starts_with("portcullis_notices_undelivered")
                    && line.contains(status)
                    && line.ends_with(" 1")
            })
        };
        (counted("held") && counted("dead")).then_some(())
    });
}

#[test]
fn a_receiver_that_hangs_holds_up_no_other_notice_and_gets_its_own_again() {
    let ids: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = ids.clone();
    let receiver = App::start(move |exchange: &mut Exchange<'_>| {
        exchange.body();
        let id = exchange.head.get("webhook-id").unwrap().to_owned();
        let count = {
            let mut seen = seen.lock().unwrap();
            seen.push(id);
            seen.len()
        };
        if count == 1 {
            exchange.wire.wait_for_end();
            exchange.close();
            return;
        }
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let app = App::echo();
    let url = format!("\"{}\"", receiver.url());
    let setup = Setup::new(&app).set("notify.webhook", "url", &url);
    let setup = setup.set("notify.webhook", "secret_file", "\"hook-secret\"");
    let mut gateway = setup.start_beside("hook-secret", hook::SECRET);
    let came =
        |count: usize| until("a call", || Some(ids.lock().unwrap().clone()).filter(|ids| ids.len() == count));
    gateway.revoke(&gateway.mint("production").id);
    came(1);
    gateway.revoke(&gateway.mint("production").id);
    came(2);
    until("what hangs alone", || (notices(&gateway).len() == 1).then_some(()));
    gateway.kill();
    gateway.restart();
    let ids = came(3);
    assert!(ids[2] == ids[0] && ids[1] != ids[0], "{ids:?}");
    until("an empty outbox", || notices(&gateway).is_empty().then_some(()));
}

#[test]
fn a_stop_lets_what_is_under_way_arrive() {
    let (seen, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (came, gate) = (seen.clone(), held.clone());
    let receiver = App::start(move |exchange: &mut Exchange<'_>| {
        exchange.body();
        came.fetch_add(1, Ordering::SeqCst);
        until("leave to answer", || (!gate.load(Ordering::SeqCst)).then_some(()));
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let app = App::echo();
    let setup = Setup::new(&app).set("notify.webhook", "url", &format!("\"{}\"", receiver.url())).set(
        "notify.webhook",
        "secret_file",
        "\"hook-secret\"",
    );
    let mut gateway = setup.start_beside("hook-secret", hook::SECRET);
    gateway.revoke(&gateway.mint("production").id);
    until("a call", || (seen.load(Ordering::SeqCst) == 1).then_some(()));
    gateway.signal(Signal::TERM);
    until("a stop", || TcpStream::connect(gateway.admin_address()).is_err().then_some(()));
    held.store(false, Ordering::SeqCst);
    assert!(gateway.exit().success());
    let left: i64 = store(&gateway).query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap();
    assert_eq!((left, seen.load(Ordering::SeqCst)), (0, 1), "it arrived, and that is written down");
}
