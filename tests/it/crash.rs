//! The gateway killed in the middle of every kind of change: nothing acknowledged is lost, nothing half done is seen.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::{attempt, with_token};
use crate::support::gateway::Gateway;
use crate::support::until;
use crate::support::wire::{Answer, Wire, request};

/// What must hold in the database whenever the gateway was killed: each gives the number of rows that break it.
const RULES: [(&str, &str); 8] = [
    (
        "every token has its entry in the audit log",
        "SELECT count(*) FROM tokens WHERE id NOT IN (SELECT subject FROM audit WHERE action = 'token.mint'
         UNION ALL SELECT coalesce(detail ->> '$.successor', '') FROM audit WHERE action = 'token.rotate')",
    ),
    (
        "every entry of a mint has its token",
        "SELECT count(*) FROM audit a WHERE a.action = 'token.mint'
         AND NOT EXISTS (SELECT 1 FROM tokens t WHERE t.id = a.subject)",
    ),
    (
        "revocations and their entries agree",
        "SELECT count(*) FROM tokens WHERE (revoked_at IS NOT NULL)
         <> (id IN (SELECT subject FROM audit WHERE action = 'token.revoke'))",
    ),
    (
        "successors and predecessors know each other",
        "SELECT count(*) FROM tokens t WHERE t.successor IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM tokens s WHERE s.id = t.successor AND s.predecessor = t.id)
         OR t.predecessor IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM tokens p WHERE p.id = t.predecessor AND p.successor = t.id)",
    ),
    (
        "environments, deployments and their entries agree",
        "SELECT count(*) FROM environments e WHERE e.app <> '*' AND (e.seq
         <> (SELECT coalesce(max(d.seq), 0) FROM deployments d WHERE d.app = e.app AND d.environment = e.name)
         OR e.seq <> (SELECT count(*) FROM audit a WHERE a.action = 'deployment.publish'
         AND a.detail ->> '$.app' = e.app AND a.detail ->> '$.environment' = e.name))",
    ),
    (
        "removals and their entries agree",
        "SELECT count(*) FROM members WHERE (removed_at IS NOT NULL)
         <> (name IN (SELECT subject FROM audit WHERE action = 'member.remove'))",
    ),
    ("every key has a member", "SELECT count(*) FROM keys WHERE member NOT IN (SELECT id FROM members)"),
    ("the feed has no gap", "SELECT max(revision) - min(revision) + 1 - count(*) FROM feed"),
];

/// A credential of the killed gateway, and what may have become of it.
struct Kept {
    host: &'static str,
    secret: String,
    allowed: &'static [&'static str],
}

#[test]
fn a_kill_loses_nothing_and_leaves_nothing_half_done() {
    // `make soak` kills hundreds of times.
    let kills = std::env::var("KILLS").map_or(20, |kills| kills.parse().unwrap());
    let app = App::echo();
    let mut gateway = Gateway::before(&app);
    for round in 0..kills {
        let acknowledged = AtomicUsize::new(0);
        let enough = fastrand::usize(10..150);
        let (path, address) = (gateway.path("portcullis.sock"), gateway.admin_address());
        let (socket, acknowledged) = (&path, &acknowledged);
        let kept = thread::scope(|scope| {
            let busy = [
                scope.spawn(move || mint_and_revoke(socket, acknowledged)),
                scope.spawn(move || rotate(socket, acknowledged)),
                scope.spawn(move || publish(socket, acknowledged, round)),
                scope.spawn(move || remove(socket, address, acknowledged, round)),
            ];
            until("some acknowledgements", || (acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
            gateway.kill();
            busy.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        examine(&gateway.path("portcullis.db"), round);
        gateway.restart();
        let mut wire = gateway.connect();
        for Kept { host, secret, allowed } in &kept {
            wire.send(with_token("GET /", host, secret));
            let answer = wire.answer();
            let code = if answer.status == 200 { "ok".to_owned() } else { answer.code() };
            assert!(allowed.contains(&code.as_str()), "round {round}: {code}, not one of {allowed:?}");
        }
    }
}

fn examine(path: &Path, round: usize) {
    let database = Connection::open(path).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "round {round}");
    for (rule, sql) in RULES {
        let broken: Option<i64> = database.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(broken.unwrap_or(0), 0, "round {round}: {rule}");
    }
}

/// Counts an acknowledgement; `None` once nobody answers any more.
fn acked(answer: Option<Answer>, count: &AtomicUsize) -> Option<Value> {
    let answer = answer?;
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    count.fetch_add(1, Ordering::Relaxed);
    Some(answer.json())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn order(environment: &str) -> Value {
    json!({ "app": "shop", "environment": environment, "expires_in": "1h", "on_publish": "stop" })
}

const PRODUCTION: &str = "shop.localhost";
const DEVELOPMENT: &str = "shop.dev.localhost";

fn mint_and_revoke(socket: &Path, count: &AtomicUsize) -> Vec<Kept> {
    let mut kept = Vec::new();
    while let Some(minted) = acked(attempt(socket, "POST /v1/tokens", Some(&order("production"))), count) {
        let mut token = Kept { host: PRODUCTION, secret: text(&minted["secret"]), allowed: &["ok"] };
        if kept.len() % 2 == 0 {
            let path = format!("POST /v1/tokens/{}/revoke", text(&minted["token"]["id"]));
            let revoked = acked(attempt(socket, &path, None), count);
            token.allowed = if revoked.is_some() { &["token_revoked"] } else { &["ok", "token_revoked"] };
        }
        kept.push(token);
    }
    kept
}

fn rotate(socket: &Path, count: &AtomicUsize) -> Vec<Kept> {
    let mut kept = Vec::new();
    while let Some(minted) = acked(attempt(socket, "POST /v1/tokens", Some(&order("production"))), count) {
        let path = format!("POST /v1/tokens/{}/rotate", text(&minted["token"]["id"]));
        let rotated = acked(attempt(socket, &path, Some(&json!({ "overlap": "0s" }))), count);
        let allowed: &[&str] = if rotated.is_some() { &["token_expired"] } else { &["ok", "token_expired"] };
        kept.push(Kept { host: PRODUCTION, secret: text(&minted["secret"]), allowed });
        if let Some(rotated) = rotated {
            kept.push(Kept { host: PRODUCTION, secret: text(&rotated["secret"]), allowed: &["ok"] });
        }
    }
    kept
}

fn publish(socket: &Path, count: &AtomicUsize, round: usize) -> Vec<Kept> {
    let mut kept = Vec::new();
    while let Some(minted) = acked(attempt(socket, "POST /v1/tokens", Some(&order("development"))), count) {
        let body = json!({ "id": format!("r{round}.{}", kept.len()) });
        let path = "POST /v1/apps/shop/environments/development/deployments";
        let published = acked(attempt(socket, path, Some(&body)), count);
        let allowed: &[&str] = match published {
            Some(_) => &["deployment_replaced"],
            None => &["ok", "deployment_replaced"],
        };
        kept.push(Kept { host: DEVELOPMENT, secret: text(&minted["secret"]), allowed });
    }
    kept
}

fn remove(socket: &Path, address: SocketAddr, count: &AtomicUsize, round: usize) -> Vec<Kept> {
    let mut kept = Vec::new();
    for number in 0.. {
        let name = format!("m{round}.{number}");
        let body = json!({ "member": name, "scopes": ["mint"] });
        let Some(key) = acked(attempt(socket, "POST /v1/keys", Some(&body)), count) else { break };
        let Some(minted) = acked(mint_as(address, &text(&key["secret"])), count) else { break };
        let removed = acked(attempt(socket, &format!("DELETE /v1/members/{name}"), None), count);
        let allowed: &[&str] = if removed.is_some() { &["token_revoked"] } else { &["ok", "token_revoked"] };
        kept.push(Kept { host: PRODUCTION, secret: text(&minted["secret"]), allowed });
    }
    kept
}

/// A mint over TCP at a gateway that may die meanwhile.
fn mint_as(address: SocketAddr, key: &str) -> Option<Answer> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let body = order("production").to_string();
    let bearer = format!("Bearer {key}");
    let length = body.len().to_string();
    let fields = [("Host", "localhost"), ("Authorization", &*bearer), ("Content-Length", &*length)];
    let head = request("POST /v1/tokens", &fields);
    stream.write_all(&[head, body.into_bytes()].concat()).ok()?;
    let mut wire = Wire::new(stream);
    let head = wire.head().ok()??;
    let body = wire.body(&head).ok()?;
    Some(Answer { status: head.status(), head, body })
}
