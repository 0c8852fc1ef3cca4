//! Sealed values and the key file: what was altered opens nowhere, a wrong key refuses the start, and changing the key
//! loses nothing, whenever it is broken off.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::{attempt, with_token};
use crate::support::gateway::{Gateway, Setup, command};
use crate::support::program::finish;
use crate::support::stage::Stage;
use crate::support::until;

const PRODUCTION: &str = "apps.shop.environments.production";
const HOST: &str = "shop.localhost";
const KEY: &str = "portcullis.key";
const NEXT: &str = "portcullis.key.next";

fn stage() -> Stage {
    let headers = "{ \"X-A\" = \"$Secret{A}\", \"X-B\" = \"$Secret{B}\" }";
    let stage = Stage::with(|setup| setup.set(PRODUCTION, "request_headers", headers));
    for (name, value) in [("A", "value of a"), ("B", "value of b")] {
        set(&stage.gateway, name, value);
    }
    stage
}

#[track_caller]
fn set(gateway: &Gateway, name: &str, value: &str) {
    let answer = gateway.admin(&format!("PUT /v1/secrets/{name}"), Some(json!({ "value": value })));
    assert!(answer.status < 300, "{answer:?}");
}

impl Stage {
    #[track_caller]
    fn both_are_sent(&self) {
        assert_eq!(self.gateway.ask(with_token("GET /", HOST, &self.token)).status, 200);
        let head = self.app.requests().last().unwrap().head.clone();
        assert_eq!((head.get("x-a"), head.get("x-b")), (Some("value of a"), Some("value of b")));
    }

    /// Ends the gateway in order.
    fn end(&mut self) {
        self.gateway.signal(Signal::TERM);
        assert!(self.gateway.exit().success());
    }

    fn key(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.gateway.path(name)).ok()
    }

    /// What the program says as it refuses to start.
    #[track_caller]
    fn refusal(&self) -> String {
        let ran = finish(command(self.gateway.path("").as_path()).arg("serve"));
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.stderr
    }
}

#[test]
fn the_key_is_made_at_first_use_for_its_owner_alone() {
    let mut stage = Stage::with(|setup| setup.set(PRODUCTION, "upstream_auth", "\"bearer $Secret{A}\""));
    set(&stage.gateway, "A", "a");
    let key = stage.key(KEY).unwrap();
    assert_eq!(key.len(), 32);
    let mode = fs::metadata(stage.gateway.path(KEY)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let database = fs::read(stage.gateway.path("portcullis.db")).unwrap();
    let log = fs::read(stage.gateway.path("portcullis.db-wal")).unwrap_or_default();
    assert!(![database, log].concat().windows(32).any(|part| part == key), "never in the database");
    set(&stage.gateway, "B", "b");
    stage.end();
    stage.gateway.restart();
    assert_eq!(stage.key(KEY).unwrap(), key, "never written over");
    assert_eq!(stage.gateway.ask(with_token("GET /", HOST, &stage.token)).status, 200);
}

#[test]
fn a_wrong_or_missing_key_refuses_the_start_while_anything_is_stored() {
    let mut stage = stage();
    stage.end();
    let key = stage.key(KEY).unwrap();
    let path = stage.gateway.path(KEY);
    fs::remove_file(&path).unwrap();
    let said = stage.refusal();
    assert!(said.contains("2 secrets are stored") && said.contains(KEY), "{said}");
    assert!(stage.key(KEY).is_none(), "no other is made in its place");
    for (wrong, words) in [(vec![7; 32], "another key"), (vec![7; 31], "32 bytes"), (Vec::new(), "32 bytes")]
    {
        fs::write(&path, wrong).unwrap();
        let said = stage.refusal();
        assert!(said.contains("secrets.key_file") && said.contains(words), "{said}");
    }
    fs::write(&path, &key).unwrap();
    stage.gateway.restart();
    stage.both_are_sent();
    for name in ["A", "B"] {
        stage.gateway.admin(&format!("DELETE /v1/secrets/{name}"), None);
    }
    stage.end();
    // Nothing is stored: nothing can be lost.
    fs::remove_file(&path).unwrap();
    stage.gateway.restart();
    set(&stage.gateway, "A", "value of a");
    set(&stage.gateway, "B", "value of b");
    assert_ne!(stage.key(KEY).unwrap(), key);
    stage.both_are_sent();
}

#[test]
fn what_was_altered_in_the_database_opens_nowhere() {
    let mut stage = stage();
    stage.end();
    let path = stage.gateway.path("portcullis.db");
    let whole = fs::read(&path).unwrap();
    for alteration in [
        // Swapped between two names.
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets o WHERE o.name <> secrets.name)",
        "UPDATE secrets SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE name = 'A'",
        "UPDATE secrets SET sealed = x'' WHERE name = 'A'",
        // For other places than it was set for.
        "UPDATE secrets SET apps = '[\"shop\"]' WHERE name = 'A'",
        "UPDATE secrets SET environments = '[\"production\"]' WHERE name = 'B'",
        "UPDATE secrets SET kind = 'api-key' WHERE name = 'B'",
        "UPDATE secrets SET name = 'C' WHERE name = 'B'",
        // Sent to whoever asks.
        "UPDATE secrets SET grant_terms = json_object('token_url', 'http://127.0.0.1:1/', 'client_id', 'x',
         'scopes', json_array(), 'auth', 'post') WHERE name = 'A'",
    ] {
        fs::write(&path, &whole).unwrap();
        Connection::open(&path).unwrap().execute_batch(alteration).unwrap();
        let said = stage.refusal();
        assert!(said.contains("does not open"), "{alteration}: {said}");
    }
    fs::write(&path, &whole).unwrap();
    stage.gateway.restart();
    stage.both_are_sent();
    // While it runs: the one that was altered is refused, and told.
    let database = Connection::open(&path).unwrap();
    database
        .execute_batch(
            "BEGIN; UPDATE secrets SET sealed = x'00' WHERE name = 'A';
             INSERT INTO feed (revision, kind, subject) SELECT max(revision) + 1, 'secret', 'A' FROM feed; COMMIT;",
        )
        .unwrap();
    until("the altered value to be refused", || {
        let answer = stage.gateway.ask(with_token("GET /", HOST, &stage.token));
        (answer.status == 502).then(|| answer.refused(502, "secret_unavailable"))
    });
    stage.gateway.wait_for_words("does not open");
}

#[test]
fn a_new_key_opens_everything_and_the_old_one_nothing() {
    let mut stage = stage();
    let before = stage.key(KEY).unwrap();
    let operator = Caller::operator(&stage.gateway);
    let turn = || operator.ask_with("POST /v1/secrets/rekey", &[("Idempotency-Key", "x")], None);
    let turned = turn();
    assert_eq!((turned.status, &turned.json()["secrets"]), (200, &json!(2)), "{turned:?}");
    let after = stage.key(KEY).unwrap();
    assert_ne!(before, after);
    assert_eq!((turn().json(), stage.key(KEY).unwrap()), (turned.json(), after.clone()), "it happens once");
    assert!(stage.key(NEXT).is_none());
    stage.both_are_sent();
    set(&stage.gateway, "A", "value of a");
    let ran = stage.gateway.cli(&["secret", "rekey"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("Sealed 2 secrets"), "{ran:?}");
    let last = stage.key(KEY).unwrap();
    stage.end();
    for old in [before, after] {
        fs::write(stage.gateway.path(KEY), old).unwrap();
        assert!(stage.refusal().contains("another key"));
    }
    fs::write(stage.gateway.path(KEY), last).unwrap();
    stage.gateway.restart();
    stage.both_are_sent();
}

#[test]
fn a_change_of_the_key_that_was_broken_off_is_brought_to_its_end() {
    let mut stage = stage();
    let before = stage.key(KEY).unwrap();
    stage.gateway.admin("POST /v1/secrets/rekey", None);
    let after = stage.key(KEY).unwrap();
    stage.end();
    let (key, next) = (stage.gateway.path(KEY), stage.gateway.path(NEXT));
    // Everything was sealed, and the new key not yet in place.
    fs::write(&key, &before).unwrap();
    fs::write(&next, &after).unwrap();
    assert_eq!(stage.gateway.cli(&["check"]).code, 0);
    stage.gateway.restart();
    stage.both_are_sent();
    assert_eq!((stage.key(KEY), stage.key(NEXT)), (Some(after.clone()), None));
    stage.end();
    // The new key was written, and nothing sealed with it.
    fs::write(&next, [7; 32]).unwrap();
    stage.gateway.restart();
    stage.both_are_sent();
    assert_eq!((stage.key(KEY), stage.key(NEXT)), (Some(after), None));
    set(&stage.gateway, "A", "value of a");
    stage.both_are_sent();
}

#[test]
fn a_gateway_killed_while_it_changes_the_key_loses_nothing() {
    let mut stage = stage();
    for round in 0..8_u64 {
        let socket = stage.gateway.path("portcullis.sock");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        attempt(&socket, "POST /v1/secrets/rekey", None);
                        // Between two keys, a value is sealed with one of them or not at all.
                        attempt(&socket, "PUT /v1/secrets/A", Some(&json!({ "value": "value of a" })));
                    }
                });
            }
            thread::sleep(Duration::from_millis(20 + round * 17));
            stage.gateway.kill();
            over.store(true, Ordering::Relaxed);
        });
        stage.gateway.restart();
        stage.both_are_sent();
    }
}

#[test]
fn the_key_may_come_from_elsewhere() {
    let app = App::echo();
    let folder = tempfile::tempdir().unwrap();
    let handed = folder.path().join(KEY);
    fs::write(&handed, [7; 32]).unwrap();
    let setup = Setup::new(&app).set(PRODUCTION, "upstream_auth", "\"bearer $Secret{A}\"");
    let sealed_elsewhere = |gateway: &Gateway| {
        set(gateway, "A", "a");
        assert!(!gateway.path(KEY).exists());
    };
    let other = folder.path().join("other.key");
    let named = setup.start_among(&[("PORTCULLIS_SECRETS__KEY_FILE", other.to_str().unwrap())]);
    sealed_elsewhere(&named);
    assert_eq!(fs::read(&other).unwrap().len(), 32);
    // What systemd hands over is used where nobody names a file.
    let credentials = folder.path().to_str().unwrap();
    let credited = setup.start_among(&[("CREDENTIALS_DIRECTORY", credentials)]);
    sealed_elsewhere(&credited);
    assert_eq!(fs::read(&handed).unwrap(), [7; 32]);
    let own = setup.set("secrets", "key_file", "\"own.key\"");
    let own = own.start_among(&[("CREDENTIALS_DIRECTORY", credentials)]);
    set(&own, "A", "a");
    assert!(own.path("own.key").exists() && Path::new(&handed).exists());
}
