//! What the admin side tells `portcullis scan` of what it finds, and what it ends.

use std::fs;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Ran, Setup, command};
use crate::support::hook::{self, Hook};
use crate::support::leak::{assert_unsaid, digest, feed, token};
use crate::support::program::{finish, run_on_terminal};

/// Scans text as the operator.
fn scan(gateway: &Gateway, arguments: &[&str], text: &str) -> Ran {
    feed(command(&gateway.path("")).args(["scan", "-"]).args(arguments), text.as_bytes())
}

/// Scans text with a management key.
fn scan_with(gateway: &Gateway, key: &str, arguments: &[&str], text: &str) -> Ran {
    let url = format!("http://{}", gateway.admin_address());
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.args(["scan", "-", "--admin", &url]).args(arguments).env("PORTCULLIS_KEY", key);
    feed(&mut command, text.as_bytes())
}

/// The id and the value of a new management key.
#[track_caller]
fn key(gateway: &Gateway, member: &str, scopes: &str) -> (String, String) {
    let ran = gateway.cli(&["key", "create", "--member", member, "--scopes", scopes, "--json"]);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["key"]["id"]), text(&answer["secret"]))
}

#[test]
fn what_lives_is_told_with_its_owner_and_what_has_ended_is_no_alarm() {
    let gateway = Gateway::before(&App::echo());
    let full =
        json!({ "app": "shop", "environment": "production", "expires_in": "1h", "label": "CI \u{202e}x" });
    let live = gateway.mint_with(full);
    let revoked = gateway.mint("development");
    gateway.revoke(&revoked.id);
    let (id, management) = key(&gateway, "ann", "read,mint");
    let foreign = token();
    let text = [&*live.secret, &revoked.secret, &management, &foreign].join("\n");
    let ran = scan(&gateway, &[], &text);
    assert_eq!(ran.code, 1, "{ran:?}");
    let line = |number: usize, secret: &str, rest: &str| {
        let kind = if secret.starts_with("pct_") { "token" } else { "management key" };
        format!("(standard input):{number}:1: {kind} …{}, {rest}\n", &secret[36..])
    };
    let expected = [
        line(
            1,
            &live.secret,
            &format!("LIVE: {} “CI \\u{{202e}}x” of operator for shop, production", live.id),
        ),
        line(2, &revoked.secret, &format!("revoked: {} of operator for shop, development", revoked.id)),
        line(3, &management, &format!("LIVE: {id} of ann, which may read, mint")),
        line(4, &foreign, "unknown to this gateway"),
    ];
    assert_eq!(ran.stdout, expected.concat());
    assert!(ran.stderr.ends_with(": 4 found, 2 live\n"), "{ran:?}");
    let document: Value = serde_json::from_str(&scan(&gateway, &["--json"], &text).stdout).unwrap();
    let statuses: Vec<_> = document["items"].as_array().unwrap().iter().map(|item| &item["status"]).collect();
    assert_eq!(statuses, ["active", "revoked", "active", "unknown"]);
    assert_eq!(document["items"][0]["token"]["id"], *live.id);
    assert_eq!(document["items"][2]["key"]["member"], "ann");
    for arguments in [&["--sarif"][..], &["--json"], &[]] {
        assert_unsaid(&scan(&gateway, arguments, &text), &[&live.secret, &revoked.secret, &management]);
    }
    let log: Value = serde_json::from_str(&scan(&gateway, &["--sarif"], &text).stdout).unwrap();
    let levels: Vec<_> = (0..4).map(|place| &log["runs"][0]["results"][place]["level"]).collect();
    assert_eq!(levels, ["error", "note", "error", "note"]);

    let ended = scan(&gateway, &[], &format!("{} {foreign}", revoked.secret));
    assert!(ended.code == 0 && ended.stderr.ends_with(": 2 found, 0 live\n"), "{ended:?}");
}

#[test]
fn where_nobody_answers_all_that_is_found_may_live() {
    let mut gateway = Gateway::before(&App::echo());
    let minted = gateway.mint("production");
    gateway.revoke(&minted.id);
    gateway.kill();
    let ran = scan(&gateway, &[], &minted.secret);
    assert!(ran.code == 1 && ran.stdout.contains("may live: nobody was asked"), "{ran:?}");
    assert!(
        ran.stderr.contains("warning: not everything is known") && ran.stderr.contains("no gateway answers")
    );
    assert_eq!(scan(&gateway, &[], "nothing").code, 0, "then there is nothing to ask about");
    // What was named has to be there.
    for arguments in
        [&["--config", "nowhere.toml"][..], &["--admin", "nonsense"], &["--admin", "http://127.0.0.1:1"]]
    {
        let ran = scan(&gateway, arguments, "nothing");
        assert_eq!(ran.code, 2, "{ran:?}");
    }
}

#[test]
fn a_key_that_may_only_read_learns_what_lives_and_whose_only_of_its_own() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let (_, reader) = key(&gateway, "ann", "read");
    let (ann, bob) = (
        Caller::member(&gateway, "ann", &["mint"], None).mint("production"),
        Caller::member(&gateway, "bob", &["mint"], None).mint("production"),
    );
    let ran = scan_with(&gateway, &reader, &[], &format!("{}\n{}", ann.secret, bob.secret));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains(&format!("LIVE: {} of ann", ann.id)), "{ran:?}");
    assert!(ran.stdout.contains("LIVE: another member's") && !ran.stdout.contains(&bob.id), "{ran:?}");
    gateway.revoke(&bob.id);
    let ran = scan_with(&gateway, &reader, &[], &bob.secret);
    assert!(ran.code == 0 && ran.stdout.ends_with("revoked: another member's\n"), "{ran:?}");

    let wrong = scan_with(&gateway, &reader, &["--revoke", "--yes"], &ann.secret);
    assert!(wrong.code == 1 && wrong.stdout.contains("LIVE and not revoked (this needs"), "{wrong:?}");
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &ann.secret)).status, 200);

    let lookup = |caller: &Caller<'_>, digests: &Value| {
        caller.ask("POST /v1/lookup", Some(json!({ "digests": digests })))
    };
    let bound = Caller::member(&gateway, "ann", &["read"], Some("blog"));
    let answer = lookup(&bound, &json!([digest(&ann.secret)])).json();
    assert_eq!(
        (&answer["items"][0]["status"], &answer["items"][0]["token"]),
        (&json!("active"), &Value::Null)
    );
    for wrong in [json!(["x"]), json!(vec!["a".repeat(64); 501]), json!([ann.secret]), json!(1), Value::Null]
    {
        let answer = lookup(&bound, &wrong);
        assert_eq!(answer.status, 422, "{wrong}: {answer:?}");
        assert!(!format!("{answer:?}").contains(&ann.secret[4..]));
    }
    let many = lookup(&bound, &json!(vec![digest(&ann.secret); 500])).json();
    assert_eq!(many["items"].as_array().unwrap().len(), 500);
}

#[test]
fn what_lives_is_ended_where_that_is_wished_and_confirmed() {
    let gateway = Gateway::before(&App::echo());
    let (first, second) = (gateway.mint("production"), gateway.mint("production"));
    fs::write(gateway.path("leak.env"), format!("A={}\n", first.secret)).unwrap();
    let works = |secret: &str| gateway.ask(with_token("GET /", "shop.localhost", secret)).status == 200;
    let without = gateway.cli(&["scan", "leak.env", "--revoke"]);
    assert!(without.code == 2 && without.stderr.contains("--yes"), "{without:?}");
    let declined = run_on_terminal(&gateway.path(""), &["scan", "leak.env", "--revoke"], "n\n");
    assert!(declined.code == 1 && declined.stderr.contains("Revoke 1 that live?"), "{declined:?}");
    assert!(
        declined.stderr.contains(&first.id) && declined.stderr.contains("nothing was changed"),
        "{declined:?}"
    );
    assert!(declined.stdout.contains("LIVE: ") && works(&first.secret));
    let done = run_on_terminal(&gateway.path(""), &["scan", "leak.env", "--revoke"], "y\n");
    assert!(done.code == 1 && done.stdout.contains("was LIVE, is revoked now: "), "{done:?}");
    assert!(!works(&first.secret) && works(&second.secret));
    let token = gateway.admin(&format!("GET /v1/tokens/{}", first.id), None).json();
    assert_eq!(token["revoke_reason"], "reported as leaked by portcullis scan, in leak.env:1:3");
    let again = gateway.cli(&["scan", "leak.env", "--revoke", "--yes"]);
    assert!(again.code == 0 && again.stdout.contains(", revoked: "), "{again:?}");
}

#[test]
fn every_place_of_what_is_ended_is_told() {
    let gateway = Gateway::before(&App::echo());
    let minted = gateway.mint("production");
    fs::create_dir_all(gateway.path("scan/C#")).unwrap();
    for name in ["scan/C#/a.cs", "scan/b.env", "scan/c.env"] {
        fs::write(gateway.path(name), &minted.secret).unwrap();
    }
    let done = gateway.cli(&["scan", "scan", "--revoke", "--yes"]);
    assert_eq!(done.code, 1, "{done:?}");
    let leaks = gateway.admin("GET /v1/leaks", None).json()["items"].clone();
    let mut places: Vec<_> = leaks.as_array().unwrap().iter().map(|leak| leak["place"].clone()).collect();
    places.sort_by_key(ToString::to_string);
    assert_eq!(places, ["scan/C#/a.cs:1:1", "scan/b.env:1:1", "scan/c.env:1:1"]);
}

#[test]
fn what_is_ended_is_a_leak_also_where_it_is_anothers() {
    let (app, hook) = (App::echo(), Hook::taking());
    let named = "{ \"shop/development/job\" = \"1h\" }";
    let setup = hook.notified(Setup::new(&app)).set("leaks", "grace", named);
    let gateway = setup.start_beside("hook-secret", hook::SECRET);
    let (_, bob) = key(&gateway, "bob", "read,mint");
    let minted = Caller::member(&gateway, "ann", &["mint"], None).mint("production");
    let lasting = gateway.mint_with(
        json!({ "app": "shop", "environment": "development", "expires_in": "7d", "label": "job" }),
    );
    let ran = scan_with(&gateway, &bob, &["--revoke", "--yes"], &minted.secret);
    assert!(ran.code == 1 && ran.stdout.contains("was LIVE, is revoked now: another member's"), "{ran:?}");
    assert_unsaid(&ran, &[&minted.secret]);
    let leaks = gateway.admin("GET /v1/leaks", None).json()["items"].clone();
    assert_eq!((&leaks[0]["subject"], &leaks[0]["owner"]), (&json!(minted.id), &json!("ann")));
    assert_eq!(
        (&leaks[0]["source"], &leaks[0]["place"]),
        (&json!("portcullis scan"), &json!("(standard input):1:1"))
    );
    assert_eq!(hook.wait_for(1)[0].body["type"], "token.leaked");
    // What a report leaves a while is revoked all the same by those who may, and told by others.
    let ran = scan_with(&gateway, &bob, &["--revoke", "--yes"], &lasting.secret);
    assert!(ran.code == 1 && ran.stdout.contains("lives on until its grace ends"), "{ran:?}");
    let ran = scan(&gateway, &["--revoke", "--yes"], &lasting.secret);
    assert!(ran.stdout.contains("was LIVE, is revoked now"), "{ran:?}");
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &lasting.secret)).status, 401);
}

#[test]
fn a_key_ends_all_that_was_found_and_itself_last() {
    let gateway = Gateway::before(&App::echo());
    // One stays that may do everything.
    key(&gateway, "chief", "admin");
    let (_, own) = key(&gateway, "boss", "admin");
    let (id, other) = key(&gateway, "ann", "read");
    let minted = gateway.mint("production");
    let text = [&*own, &other, &minted.secret].join("\n");
    let ran = scan_with(&gateway, &own, &["--revoke", "--yes", "--json"], &text);
    assert!(ran.code == 1 && !ran.stderr.contains("last management key"), "{ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    for item in document["items"].as_array().unwrap() {
        assert_eq!((&item["status"], &item["revoked"]), (&json!("active"), &json!(true)), "{item}");
        let what = if item["kind"] == "key" { &item["key"] } else { &item["token"] };
        assert_eq!(what["status"], "revoked", "{item}");
    }
    assert!(ran.stdout.contains(&id));
    let refused = scan_with(&gateway, &own, &[], &minted.secret);
    assert!(
        refused.code == 1 && refused.stderr.contains("does not accept this management key"),
        "{refused:?}"
    );
    let ended = scan(&gateway, &[], &text);
    assert!(ended.code == 0 && ended.stderr.ends_with(": 3 found, 0 live\n"), "{ended:?}");
    assert_eq!(finish(command(&gateway.path("")).args(["token", "list"])).code, 0);
}

#[test]
fn the_last_key_that_may_do_everything_ends_too_and_how_to_make_another_is_told() {
    let gateway = Gateway::before(&App::echo());
    let (_, own) = key(&gateway, "boss", "admin");
    // One that is bound to an app is none.
    Caller::member(&gateway, "ann", &["admin"], Some("shop"));
    let ran = scan_with(&gateway, &own, &["--revoke", "--yes"], &own);
    assert!(ran.code == 1 && ran.stdout.contains("was LIVE, is revoked now: "), "{ran:?}");
    assert!(ran.stderr.contains("that was the last management key that might do everything"), "{ran:?}");
    assert!(ran.stderr.contains("portcullis key create --member NAME --scopes admin"), "{ran:?}");
    assert!(scan_with(&gateway, &own, &[], &own).stderr.contains("does not accept this management key"));
    let (_, another) = key(&gateway, "boss", "admin");
    let report = |secret: &str| {
        let asked = json!({ "tokens": [secret], "source": "hand" });
        gateway.admin("POST /v1/leaks", Some(asked)).json()["items"][0]["last_admin"].clone()
    };
    assert_eq!((report(&another), report(&another)), (json!(true), json!(false)));
    let (_, last) = key(&gateway, "boss", "admin");
    let told = gateway.cli_given(&["leak", "report", "--yes"], &last);
    assert!(told.code == 0 && told.stderr.contains("last management key"), "{told:?}");
}
