//! `portcullis member …`, `key …` and `whoami` against a running gateway.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, command};
use crate::support::program::{done, finish, json, run_on_terminal};

#[test]
fn members_come_with_a_key_and_go_with_all_that_they_made() {
    let gateway = Gateway::before(&App::echo());
    let key =
        done(&gateway, &["member", "add", "ann", "--email", "ann@example.com", "--with-key", "--quiet"]);
    let key = key.trim_end();
    assert!(key.starts_with("pcm_") && key.len() == 40, "{key}");
    let url = format!("http://{}", gateway.admin_address());
    let remote = |arguments: &[&str]| {
        let mut command = command(&gateway.path(""));
        finish(command.args(["--admin", &url]).args(arguments).env("PORTCULLIS_KEY", key))
    };
    let who: Value = serde_json::from_str(&remote(&["whoami", "--json"]).stdout).unwrap();
    assert_eq!(who, json!({ "member": "ann", "scopes": ["read", "mint"], "app": null }));
    assert!(remote(&["whoami"]).stdout.contains("read, mint"));
    assert!(done(&gateway, &["whoami"]).contains("the operator"));
    let create =
        ["token", "create", "--app", "shop", "--environment", "production", "--expires", "1h", "--quiet"];
    let token = remote(&create).stdout;
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", token.trim_end())).status, 200);

    let people = done(&gateway, &["member", "add", "bob", "--with-key"]);
    assert!(people.starts_with("Added bob.\nMinted key_") && people.contains("Bearer pcm_"), "{people}");
    assert_eq!(json(&gateway, &["member", "add", "ci@example.com"])["email"], Value::Null);
    let again = gateway.cli(&["member", "add", "bob"]);
    assert!(again.code == 1 && again.stderr.contains("there already"), "{again:?}");
    let wrong = gateway.cli(&["member", "add", "x", "--email", "nowhere"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("--email: "), "{wrong:?}");

    let wrong = gateway.cli(&["member", "add", "a b"]);
    assert!(wrong.code == 2 && wrong.stderr.starts_with("error: NAME: "), "{wrong:?}");

    let table = done(&gateway, &["member", "list"]);
    assert!(table.starts_with("NAME ") && table.contains("ann@example.com"), "{table}");
    assert_eq!(json(&gateway, &["member", "list", "--limit", "2"])["items"].as_array().unwrap().len(), 2);
    assert!(done(&gateway, &["member", "show", "ann"]).contains("ann@example.com"));
    let edit = ["member", "edit", "ci@example.com", "--name", "ci", "--email", "ci@example.com"];
    assert_eq!(json(&gateway, &edit)["email"], "ci@example.com");
    assert_eq!(json(&gateway, &["member", "edit", "ci", "--no-email"])["email"], Value::Null);
    let stale = gateway.cli(&["member", "edit", "ci", "--name", "cd", "--revision", "1"]);
    assert!(stale.code == 1 && stale.stderr.contains("changed since"), "{stale:?}");
    assert_eq!(gateway.cli(&["member", "edit", "ci"]).code, 2);

    let remove = ["member", "remove", "ann"];
    assert_eq!(gateway.cli(&remove).code, 2);
    let no = run_on_terminal(&gateway.path(""), &remove, "n\n");
    assert!(no.code == 1 && no.stderr.contains("every token and key that they made"), "{no:?}");
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", token.trim_end())).status, 200);
    let removed = done(&gateway, &[&remove[..], &["--yes"]].concat());
    assert_eq!(removed, "Removed ann.\nEnded: 1 tokens, 1 keys.\n");
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", token.trim_end())).code(), "token_revoked");
    assert_eq!(remote(&["whoami"]).code, 1);
    let gone = gateway.cli(&[&remove[..], &["--yes"]].concat());
    assert!(gone.code == 1 && gone.stderr.contains("no such member"), "{gone:?}");
    // No name at all is nobody's name.
    assert_eq!(gateway.cli(&["member", "remove", "", "--yes"]).code, 1);
    assert_eq!(json(&gateway, &["member", "list"])["items"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_are_bound_and_end() {
    let gateway = Gateway::before(&App::echo());
    let bound = ["--scopes", "read,deploy", "--app", "shop", "--label", "deploys", "--expires", "30d"];
    let key = json(&gateway, &[&["key", "create", "--member", "ci"], &bound[..]].concat());
    assert_eq!((&key["key"]["app"], &key["key"]["scopes"]), (&json!("shop"), &json!(["read", "deploy"])));
    let id = key["key"]["id"].as_str().unwrap();
    let table = done(&gateway, &["key", "list"]);
    assert!(
        table.contains("deploys") && table.contains("in 30 days") && table.contains("LAST USED"),
        "{table}"
    );
    let revoke = ["key", "revoke", id];
    assert_eq!(gateway.cli(&revoke).code, 2);
    assert_eq!(run_on_terminal(&gateway.path(""), &revoke, "n\n").code, 1);
    assert_eq!(json(&gateway, &["key", "list"])["items"][0]["status"], "active");
    assert!(done(&gateway, &[&revoke[..], &["--yes"]].concat()).starts_with(&format!("Revoked {id}")));
    assert_eq!(json(&gateway, &["key", "list"])["items"][0]["status"], "revoked");
    let wrong = gateway.cli(&["key", "create", "--member", "ci", "--scopes", "read", "--app", "absent"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("--app: "), "{wrong:?}");
}
