//! `portcullis token …` against a running gateway: what each command asks for, does and prints.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Ran};
use crate::support::program::{done, json, run_on_terminal};

const HOST: &str = "shop.localhost";

#[track_caller]
fn refused(gateway: &Gateway, arguments: &[&str], code: i32, told: &str) -> Ran {
    let ran = gateway.cli(arguments);
    assert!(ran.code == code && ran.stdout.is_empty() && ran.stderr.contains(told), "{arguments:?}: {ran:?}");
    ran
}

fn create<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let line = ["token", "create", "--app", "shop", "--environment", "production", "--expires", "7d"];
    [&line[..], more].concat()
}

#[test]
fn a_token_is_minted_with_all_that_binds_it() {
    let gateway = Gateway::before(&App::echo());
    let bound = ["--scope", "GET,HEAD /healthz", "--scope", "POST /hooks/*", "--allow", "127.0.0.0/8"];
    let ruled =
        ["--allow", "10.0.0.7", "--rate", "100/1m", "--on-publish", "grace:24h", "--description", "d"];
    let minted = json(&gateway, &create(&[&bound[..], &ruled].concat()));
    let token = &minted["token"];
    assert_eq!(token["scopes"], json!(["GET,HEAD /healthz", "POST /hooks/*"]));
    assert_eq!(token["allowed_addresses"], json!(["127.0.0.0/8", "10.0.0.7"]));
    assert_eq!((&token["rate_limit"], &token["on_publish"]), (&json!("100/1m"), &json!("grace:24h")));
    let secret = minted["secret"].as_str().unwrap();
    assert_eq!(gateway.ask(with_token("GET /healthz", HOST, secret)).status, 200);
    assert_eq!(gateway.ask(with_token("GET /else", HOST, secret)).code(), "insufficient_scope");

    for (when, expected) in [
        ("2027-02-28", "2027-02-28T23:59:59"),
        ("2027-02-28T18:00:00Z", "2027-02-28T18:00:00Z"),
        ("2027-02-28T18:00:00+01:00", "2027-02-28T17:00:00Z"),
    ] {
        let line = ["token", "create", "--app", "*", "--environment", "production", "--expires", when];
        let ends = json(&gateway, &line)["token"]["expires_at"].as_str().unwrap().to_owned();
        assert!(ends.starts_with(expected) || ends == "2027-03-01T00:00:00Z", "{when}: {ends}");
    }
    for (wrong, told) in [
        (["--scope", "GET healthz"], "--scope: "),
        (["--allow", "10.0.0.0/33"], "--allow: "),
        (["--rate", "fast"], "--rate: "),
        (["--on-publish", "explode"], "--on-publish: "),
    ] {
        refused(&gateway, &create(&wrong), 2, told);
    }
}

#[test]
fn a_lost_answer_mints_no_second_token() {
    let gateway = Gateway::before(&App::echo());
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gate.local_addr().unwrap());
    let admin = gateway.admin_address();
    // Passes the first call on and hangs up in the place of its answer; the next is passed both ways.
    let line = thread::spawn(move || {
        for lost in [true, false] {
            let (mut client, _) = gate.accept().unwrap();
            let mut server = TcpStream::connect(admin).unwrap();
            let pass = |from: &mut TcpStream| {
                let (mut passed, mut buffer) = (Vec::new(), [0; 4096]);
                while !passed.ends_with(b"}") {
                    let read = from.read(&mut buffer).unwrap();
                    passed.extend_from_slice(&buffer[..read]);
                }
                passed
            };
            server.write_all(&pass(&mut client)).unwrap();
            let answer = pass(&mut server);
            if !lost {
                client.write_all(&answer).unwrap();
            }
        }
    });
    let key = done(&gateway, &["key", "create", "--member", "ann", "--scopes", "read,mint", "--quiet"]);
    let line_of = [&["--admin", &url, "--key", key.trim_end()], &create(&[])[..]].concat();
    let ran = gateway.cli(&line_of);
    line.join().unwrap();
    let listed = json(&gateway, &["token", "list"]);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{ran:?}");
    let id = items[0]["id"].as_str().unwrap();
    let told = ran.stderr.contains(&format!("portcullis token revoke {id}"));
    assert!(ran.code == 1 && ran.stdout.is_empty() && told, "{ran:?}");
}

#[test]
fn lists_are_filtered_searched_and_paged() {
    let gateway = Gateway::before(&App::echo());
    for label in ["alpha", "beta", "gamma"] {
        done(&gateway, &create(&["--label", label, "--description", "for the list"]));
    }
    let labels = |more: &[&str]| {
        let listed = json(&gateway, &[&["token", "list"], more].concat());
        let of = |token: &Value| token["label"].as_str().unwrap().to_owned();
        (
            listed["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>(),
            listed["next_cursor"].clone(),
        )
    };
    assert_eq!(labels(&[]).0, ["gamma", "beta", "alpha"]);
    assert_eq!(labels(&["--q", "eta"]).0, ["beta"]);
    assert_eq!(labels(&["--q", "the list", "--member", "nobody"]).0.len(), 0);
    assert_eq!(labels(&["--app", "shop", "--environment", "production", "--status", "active"]).0.len(), 3);
    let (first, cursor) = labels(&["--limit", "2"]);
    assert_eq!(first, ["gamma", "beta"]);
    assert_eq!(labels(&["--cursor", cursor.as_str().unwrap()]).0, ["alpha"]);
    assert_eq!(labels(&["--expiring", "7d"]).0.len(), 0, "none was used");
    refused(&gateway, &["token", "list", "--expiring", "soon"], 2, "--expiring: ");
    let none = |more: &[&str]| gateway.cli(&[&["token", "list"], more].concat()).stderr;
    assert_eq!(none(&["--q", "nothing"]), "no token is like this\n");
    let table = done(&gateway, &["token", "list"]);
    assert!(table.contains("in 7 days") && table.contains("never"), "{table}");
}

#[test]
fn what_a_token_may_do_is_edited_and_what_is_left_out_stays() {
    let gateway = Gateway::before(&App::echo());
    let bound =
        ["--label", "old", "--description", "d", "--scope", "GET /a", "--allow", "::1", "--rate", "1/1h"];
    let id = json(&gateway, &create(&bound))["token"]["id"].as_str().unwrap().to_owned();
    let edit = |more: &[&str]| json(&gateway, &[&["token", "edit", &id], more].concat());
    let edited = edit(&["--label", "new", "--no-scope", "--allow", "10.0.0.0/8", "--allow", "127.0.0.1"]);
    assert_eq!((&edited["label"], &edited["description"]), (&json!("new"), &json!("d")));
    assert_eq!((&edited["scopes"], &edited["rate_limit"]), (&json!([]), &json!("1/1h")));
    assert_eq!(edited["allowed_addresses"], json!(["10.0.0.0/8", "127.0.0.1"]));
    let edited =
        edit(&["--no-allow", "--no-rate", "--scope", "GET /b", "--description", "", "--expires", "1h"]);
    assert_eq!((&edited["allowed_addresses"], &edited["rate_limit"]), (&json!([]), &Value::Null));
    assert_eq!((&edited["scopes"], &edited["description"]), (&json!(["GET /b"]), &json!("")));
    let revision = edited["revision"].as_u64().unwrap().to_string();
    let edited = edit(&["--rate", "5/1s", "--revision", &revision]);
    assert_eq!(edited["rate_limit"], "5/1s");

    let line = ["token", "edit", &*id];
    refused(&gateway, &[&line[..], &["--label", "x", "--revision", &revision]].concat(), 1, "changed since");
    refused(
        &gateway,
        &[&line[..], &["--expires", "30d"]].concat(),
        2,
        "--expires: can only be brought forward",
    );
    refused(&gateway, &line, 2, "nothing is to be changed");
    refused(&gateway, &[&line[..], &["--rate", "1/1s", "--no-rate"]].concat(), 2, "cannot be used with");
    assert!(
        done(&gateway, &[&line[..], &["--label", "x"]].concat()).starts_with(&format!("Edited {id} “x”"))
    );
}

#[test]
fn a_rotation_hands_out_a_successor_and_asks_only_where_it_ends_something_at_once() {
    let gateway = Gateway::before(&App::echo());
    let old = gateway.mint("production");
    let status = |secret: &str| gateway.ask(with_token("GET /", HOST, secret)).status;
    let people = done(&gateway, &["token", "rotate", &old.id, "--overlap", "2h"]);
    assert!(people.contains(&format!("The value of {} works for 2h more", old.id)), "{people}");
    let value = people.lines().find(|line| line.trim().starts_with("pct_")).unwrap().trim();
    assert_eq!((status(&old.secret), status(value)), (200, 200));
    let successor = json(&gateway, &["token", "show", &old.id])["successor"].as_str().unwrap().to_owned();

    let at_once = ["token", "rotate", &*successor, "--overlap", "0s", "--expires", "30d", "--quiet"];
    refused(&gateway, &at_once, 2, "--yes");
    let no = run_on_terminal(&gateway.path(""), &at_once, "n\n");
    assert!(no.code == 1 && no.stderr.contains("nothing was changed"), "{no:?}");
    assert_eq!(status(value), 200);
    let last = done(&gateway, &[&at_once[..], &["--yes"]].concat());
    assert_eq!((status(value), status(last.trim_end())), (401, 200));

    refused(&gateway, &["token", "rotate", &old.id], 1, "rotated before");
    refused(&gateway, &["token", "rotate", &old.id, "--overlap", "soon"], 2, "--overlap: ");
    refused(&gateway, &["token", "rotate", &old.id, "--expires", "2027-01-01"], 2, "--expires: ");
}

#[test]
fn a_revocation_that_comes_again_says_since_when_it_is_so() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production");
    let revoke = |id: &str| gateway.cli(&["token", "revoke", id, "--yes"]);
    for _ in 0..2 {
        let told = revoke(&token.id).stdout;
        assert!(told.starts_with(&format!("Revoked {} for shop, production (", token.id)), "{told}");
        assert!(told.lines().next().unwrap().ends_with(" by operator)."), "{told}");
    }
    // Whoever has the value only is led to the id.
    let hint = &token.secret[36..];
    let by_value = revoke(&token.secret);
    assert!(
        by_value.code == 2 && by_value.stderr.contains(&format!("token list --q {hint}`")),
        "{by_value:?}"
    );
    assert_eq!(json(&gateway, &["token", "list", "--q", hint])["items"][0]["id"], token.id);
}

#[test]
fn a_deletion_asks_and_leaves_nothing() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production");
    let delete = ["token", "delete", &token.id];
    refused(&gateway, &delete, 2, "--yes");
    let no = run_on_terminal(&gateway.path(""), &delete, "\n");
    assert!(no.code == 1 && no.stderr.contains("cannot be undone"), "{no:?}");
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    let yes = run_on_terminal(&gateway.path(""), &delete, "yes\n");
    assert!(yes.code == 0 && yes.stdout.starts_with(&format!("Deleted {}", token.id)), "{yes:?}");
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).code(), "token_unknown");
    refused(&gateway, &["token", "show", &token.id], 1, "no such token");
}

#[test]
fn a_refusal_is_explained() {
    let gateway = Gateway::before(&App::echo());
    let minted = json(&gateway, &create(&["--scope", "GET /healthz"]));
    let (id, secret) = (minted["token"]["id"].as_str().unwrap(), minted["secret"].as_str().unwrap());
    let answer = gateway.ask(with_token("POST /orders?secret=1", HOST, secret));
    let request = answer.refused(403, "insufficient_scope")["request_id"].as_str().unwrap().to_owned();
    let told = done(&gateway, &["token", "explain", &request]);
    for part in ["403 insufficient_scope", "None of the token's scopes", id, "POST /orders", "127.0.0.1"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("secret=1"), "{told}");
    assert_eq!(json(&gateway, &["token", "explain", &request])["token"], id);
    gateway.ask(with_token("GET /", "shop.dev.localhost", secret));
    let listed = json(&gateway, &["token", "explain", "--token", id, "--app", "shop"]);
    let codes: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| &item["code"]).collect();
    assert_eq!(codes, ["wrong_environment", "insufficient_scope"]);
    let table = done(&gateway, &["token", "explain"]);
    assert!(table.starts_with("REQUEST ") && table.contains(&request), "{table}");
    refused(&gateway, &["token", "explain", "nothing"], 1, "no such recent refusal");
    refused(&gateway, &["token", "explain", "x", "--token", id], 2, "cannot be used with");
}
