//! The command line: what it prints where, and with which exit code it ends.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Ran, command};
use crate::support::program::{Program, run_on_terminal};

const CHOICES: &str = "1h, 24h, 7d, 30d, 3mo, 1y, 5y";
const NO_SUCH_TOKEN: &str = "tok_00000000000000000000000000";

#[test]
fn help_and_version_are_answers_and_their_absence_is_a_usage_error() {
    let program = Program::sound();
    for arguments in [&["--help"][..], &["help"], &["token", "--help"], &["token", "create", "-h"]] {
        let ran = program.run(arguments);
        assert!(
            ran.code == 0 && ran.stdout.contains("Usage: portcullis") && ran.stderr.is_empty(),
            "{ran:?}"
        );
    }
    assert_eq!(program.run(&["--version"]).stdout, concat!("portcullis ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [&[][..], &["token"], &["bogus"], &["token", "bogus"], &["serve", "--bogus"]] {
        let ran = program.run(arguments);
        assert!(
            ran.code == 2 && ran.stdout.is_empty() && ran.stderr.contains("Usage:"),
            "{arguments:?}: {ran:?}"
        );
    }
}

#[test]
fn check_accepts_a_sound_configuration_under_each_of_its_names() {
    let program = Program::sound();
    for arguments in [&["check"][..], &["validate"], &["-t"], &["check", "--config", "proxy.toml"]] {
        let ran = program.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        let told = "proxy.toml: ok\nmemory: if each of gateway.limits.connections = 10000 fills all its buffers, they \
                    hold 3.1 GiB over HTTP/1.1 (320 KiB each) or 308 GiB over HTTP/2 (31.5 MiB each); reports of leaks hold at most \
                    36 MiB more\n";
        assert_eq!(ran.stdout, told);
    }
    let elsewhere = program.path("proxy.toml");
    let variables = [("PORTCULLIS_CONFIG", elsewhere.to_str().unwrap()), ("PORTCULLIS_UNRELATED", "x")];
    assert_eq!(Program::new("").run_with(&["check"], &variables).code, 0);
    let left: Vec<_> = std::fs::read_dir(program.path("")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(left.len(), 1, "check starts nothing and leaves nothing: {left:?}");
}

#[test]
fn check_reports_every_mistake_with_its_place_in_one_run() {
    let program = Program::new(
        "[gateway]\n\
         listn = [\"127.0.0.1:1\"]\n\
         workers = \"four\"\n\
         \n\
         [admin]\n\
         listen = \"0.0.0.0:9180\"\n\
         [apps.shop.environments.production]\n\
         hosts = [\"a b\", \"é\", \"ok.localhost\"]\n\
         upstreams = [\"ftp://x\"]\n\
         timeouts = { connect = \"5 seconds\" }\n\
         [tokens]\n\
         max_lifetime = \"1 year\"\n",
    );
    let ran = program.run(&["check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    let (mut places, mut messages) = (Vec::new(), Vec::new());
    for line in ran.stderr.lines() {
        let (place, message) = line.split_once(": ").unwrap();
        places.push(place.to_owned());
        messages.push(message.to_owned());
    }
    let expected = ["2:1", "3:11", "6:10", "8:10", "8:17", "9:14", "10:24", "12:16"];
    assert_eq!(places, expected.map(|place| format!("proxy.toml:{place}")), "{}", ran.stderr);
    for (message, hint) in messages.iter().zip([
        "did you mean `listen`?",
        "a whole number",
        "[admin.tls]",
        "as in \"shop.example.com\"",
        "as in \"shop.example.com\"",
        "`http://127.0.0.1:3000`",
        "as in \"",
        "as in \"7d\"",
    ]) {
        assert!(message.contains(hint), "{message} should say {hint}");
    }
    // `serve` judges by the same rules, and starts nothing.
    let served = program.run(&["serve"]);
    assert_eq!((served.code, &served.stderr), (2, &ran.stderr));
    assert!(!program.path("portcullis.db").exists());
}

#[test]
fn check_says_what_is_broken_besides_single_values() {
    for (text, expected) in [
        ("[gateway\nlisten = []\n", "proxy.toml:1:"),
        ("gateway = 1", "proxy.toml:1:11: "),
        ("\u{feff}[gateway]\nworkers = 1\nworkers = 2\n", "proxy.toml:3:1: "),
    ] {
        let ran = Program::new(text).run(&["check"]);
        assert!(ran.code == 2 && ran.stderr.starts_with(expected), "{text:?}: {ran:?}");
    }
    let absent = Program::sound().run(&["check", "--config", "absent.toml"]);
    assert!(absent.code == 2 && absent.stderr.contains("absent.toml"), "{absent:?}");
    let folder = Program::sound().run(&["check", "--config", "."]);
    assert!(folder.code == 2 && !folder.stderr.is_empty(), "{folder:?}");
    let program = Program::sound();
    std::fs::write(program.path("latin.toml"), b"# caf\xe9\n").unwrap();
    let latin = program.run(&["check", "--config", "latin.toml"]);
    assert!(latin.code == 2 && latin.stderr.contains("latin.toml"), "{latin:?}");
}

#[test]
fn doubtful_settings_are_warned_of_and_pass() {
    let program = Program::sound();
    let ran = program.run_with(&["check"], &[("PORTCULLIS_GATEWAY__LISTEN", "0.0.0.0:8080")]);
    assert!(ran.code == 0 && ran.stdout.starts_with("proxy.toml: ok\n"), "{ran:?}");
    assert!(ran.stderr.starts_with("warning: ") && ran.stderr.contains("plain HTTP"), "{ran:?}");
}

#[test]
fn the_environment_overrides_the_file_and_unknown_names_are_errors() {
    let program = Program::sound();
    for (name, value, told) in [
        ("PORTCULLIS_ADMIN__LISTEN", "nonsense", "PORTCULLIS_ADMIN__LISTEN: "),
        ("PORTCULLIS_ADMIN__LISTN", "127.0.0.1:1", "did you mean `PORTCULLIS_ADMIN__LISTEN`?"),
        ("PORTCULLIS_STORE__PATH", "absent/portcullis.db", "absent"),
    ] {
        let ran = program.run_with(&["check"], &[(name, value)]);
        assert!(ran.code == 2 && ran.stderr.contains(told), "{ran:?}");
    }
}

#[test]
fn without_a_gateway_commands_say_what_to_do() {
    let program = Program::sound();
    for arguments in [
        &["token", "list"][..],
        &["token", "show", NO_SUCH_TOKEN],
        &["token", "revoke", NO_SUCH_TOKEN, "--yes"],
        &["token", "create", "--app", "shop", "--environment", "production", "--expires", "7d"],
        &["app", "list"],
        &["key", "list"],
        &["key", "create", "--member", "ann", "--scopes", "read"],
    ] {
        let ran = program.run(arguments);
        let told = "no gateway answers on portcullis.sock: is `portcullis serve` running?";
        assert!(ran.code == 1 && ran.stdout.is_empty() && ran.stderr.contains(told), "{ran:?}");
    }
}

#[test]
fn a_new_token_is_shown_once_with_both_forms() {
    let gateway = Gateway::before(&App::echo());
    let create = |more: &[&str]| {
        let line = ["token", "create", "--app", "shop", "--environment", "production", "--expires", "7d"];
        let ran = gateway.cli(&[&line[..], more].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.stdout
    };
    let people = create(&["--label", "CI für \u{202e}x"]);
    let value = people.lines().find(|line| line.trim().starts_with("pct_")).unwrap().trim();
    assert_eq!(value.len(), 40);
    assert!(people.contains(&format!("Authorization: Bearer {value}\n")), "{people}");
    assert!(people.contains(&format!("?project-protection-bypass={value}\n")), "{people}");
    assert!(people.contains("CI für") && !people.contains('\u{202e}'), "{people}");

    let quiet = create(&["--quiet"]);
    assert!(quiet.starts_with("pct_") && quiet.len() == 41 && quiet.ends_with('\n'), "{quiet}");

    let json: Value = serde_json::from_str(&create(&["--json", "--description", "d"])).unwrap();
    let secret = json["secret"].as_str().unwrap();
    assert_eq!(json["authorization"], format!("Bearer {secret}"));
    assert_eq!(json["query_parameter"], format!("?project-protection-bypass={secret}"));
    assert_eq!(json["token"]["description"], "d");

    for value in [value, quiet.trim_end(), secret] {
        assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", value)).status, 200);
        for arguments in [&["token", "list"][..], &["token", "list", "--json"]] {
            assert!(!gateway.cli(arguments).stdout.contains(value), "nobody sees a value again");
        }
    }
}

#[test]
fn what_is_wrong_with_a_mint_is_told_by_the_flag_and_with_the_choices() {
    let gateway = Gateway::before(&App::echo());
    let base = ["--app", "shop", "--environment", "production", "--expires", "7d"];
    let with = |flag: &str, value: Option<&str>| {
        let mut line = vec!["token", "create"];
        for pair in base.chunks(2) {
            match value {
                _ if pair[0] != flag => line.extend(pair),
                Some(value) => line.extend([flag, value]),
                None => {}
            }
        }
        if let (Some(value), false) = (value, base.contains(&flag)) {
            line.extend([flag, value]);
        }
        gateway.cli(&line)
    };
    for (flag, value, told) in [
        ("--expires", None, CHOICES),
        ("--expires", Some("junk"), CHOICES),
        ("--expires", Some("8d"), CHOICES),
        ("--expires", Some("never"), "`tokens.allow_never` is off"),
        ("--expires", Some("2020-01-01"), "--expires: must be in the future"),
        ("--expires", Some("2199-01-01"), "--expires: must be at most 5y from now"),
        ("--app", Some("absent"), "--app: there is no such app; there are: `shop`"),
        ("--environment", Some("absent"), "there are: `development`, `production`"),
        ("--label", Some("a\nb"), "--label: "),
        ("--description", Some(&*"x".repeat(1001)), "--description: "),
    ] {
        let ran = with(flag, value);
        assert!(
            ran.code == 2 && ran.stdout.is_empty() && ran.stderr.contains(told),
            "{flag} {value:?}: {ran:?}"
        );
    }
    let both = gateway.cli(&[&["token", "create"][..], &base, &["--quiet", "--json"]].concat());
    assert_eq!(both.code, 2);
    let listed: Value = serde_json::from_str(&gateway.cli(&["token", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 0, "none of these minted anything");
}

#[test]
fn lists_are_tables_for_people_and_the_api_s_answer_for_programs() {
    let gateway = Gateway::before(&App::echo());
    let empty = gateway.cli(&["token", "list"]);
    assert!(empty.code == 0 && empty.stdout.is_empty() && empty.stderr.contains("token create"), "{empty:?}");
    let (first, second) = (gateway.mint("production"), gateway.mint("development"));
    gateway.revoke(&first.id);

    let table = gateway.cli(&["token", "list"]).stdout;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[0].contains("EXPIRES") && lines.len() == 3, "{table}");
    assert!(lines[1].starts_with(&second.id) && lines[1].contains("active"), "newest first: {table}");
    assert!(lines[2].starts_with(&first.id) && lines[2].contains("revoked"), "{table}");
    assert!(lines[1].contains(&format!("…{}", &second.secret[36..])), "{table}");

    let api = gateway.admin("GET /v1/tokens", None);
    assert_eq!(gateway.cli(&["token", "list", "--json"]).stdout.trim_end(), api.text());
    let api = gateway.admin(&format!("GET /v1/tokens/{}", first.id), None);
    assert_eq!(gateway.cli(&["token", "show", &first.id, "--json"]).stdout.trim_end(), api.text());
    let shown = gateway.cli(&["token", "show", &first.id]).stdout;
    assert!(shown.contains(&first.id) && shown.contains("revoked"), "{shown}");

    for (filter, found) in [
        (["--status", "active"], &second),
        (["--status", "revoked"], &first),
        (["--environment", "production"], &first),
        (["--limit", "1"], &second),
    ] {
        let json = gateway.cli(&[&["token", "list", "--json"][..], &filter].concat()).stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        let items = json["items"].as_array().unwrap();
        assert!(items.len() == 1 && items[0]["id"] == *found.id, "{filter:?}: {json}");
    }
    for (arguments, code, told) in [
        (["token", "show", NO_SUCH_TOKEN], 1, "no such token"),
        (["token", "show", "nonsense"], 2, "token list"),
        (["token", "show", &*second.secret], 2, "this is a value, not an id"),
    ] {
        let ran = gateway.cli(&arguments);
        assert!(ran.code == code && ran.stderr.contains(told), "{ran:?}");
        assert!(!ran.stderr.contains(&second.secret), "{ran:?}");
    }
}

#[test]
fn apps_are_listed_and_shown() {
    let gateway = Gateway::before(&App::echo());
    let table = gateway.cli(&["app", "list"]).stdout;
    assert!(
        table.contains("shop.dev.localhost") && table.contains("closed until the first token"),
        "{table}"
    );
    gateway.mint("production");
    let shown = gateway.cli(&["app", "show", "shop"]).stdout;
    assert!(shown.contains("shop.localhost") && shown.contains("open"), "{shown}");
    let api = gateway.admin("GET /v1/apps/shop", None);
    assert_eq!(gateway.cli(&["app", "show", "shop", "--json"]).stdout.trim_end(), api.text());
    let api = gateway.admin("GET /v1/apps", None);
    assert_eq!(gateway.cli(&["app", "list", "--json"]).stdout.trim_end(), api.text());
    let absent = gateway.cli(&["app", "show", "absent"]);
    assert!(absent.code == 1 && absent.stderr.contains("no such app"), "{absent:?}");
}

#[test]
fn what_cannot_be_undone_asks_first() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production");
    let status = || gateway.admin(&format!("GET /v1/tokens/{}", token.id), None).json()["status"].clone();
    let revoke = ["token", "revoke", &token.id];

    let unasked = gateway.cli(&revoke);
    assert!(unasked.code == 2 && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(status(), "active");
    for typed in ["n\n", "\n", "nonsense\n", "\u{4}"] {
        let refused = run_on_terminal(&gateway.path(""), &revoke, typed);
        assert!(refused.code == 1 && refused.stderr.contains("nothing was changed"), "{refused:?}");
        assert_eq!(status(), "active");
    }
    let asked = run_on_terminal(&gateway.path(""), &revoke, "y\n");
    assert!(asked.code == 0 && asked.stderr.contains("cannot be undone"), "{asked:?}");
    assert!(asked.stdout.contains(&token.id), "{asked:?}");
    assert_eq!(status(), "revoked");

    let again = gateway.cli(&[&revoke[..], &["--yes"]].concat());
    assert_eq!(again.code, 0, "a second time is harmless: {again:?}");
    let absent = gateway.cli(&["token", "revoke", NO_SUCH_TOKEN, "--yes"]);
    assert!(absent.code == 1 && absent.stderr.contains("no such token"), "{absent:?}");
}

#[test]
fn a_management_key_opens_the_admin_address_until_it_is_revoked() {
    let gateway = Gateway::before(&App::echo());
    let url = format!("http://{}", gateway.admin_address());
    let made = gateway.cli(&["key", "create", "--member", "ann", "--scopes", "read,mint", "--quiet"]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{made:?}");
    let key = made.stdout.trim_end();
    assert!(key.starts_with("pcm_") && key.len() == 40, "{made:?}");
    // Somewhere without a configuration, as on another machine.
    let elsewhere = tempfile::tempdir().unwrap();
    let remote = |arguments: &[&str], key: &str| -> Ran {
        let mut command = command(elsewhere.path());
        command.args(["--admin", &url]).args(arguments).env("PORTCULLIS_KEY", key);
        crate::support::program::finish(&mut command)
    };
    let create = ["token", "create", "--app", "shop", "--environment", "production", "--expires", "1h"];
    let minted = remote(&[&create[..], &["--quiet"]].concat(), key);
    assert!(minted.code == 0 && minted.stdout.starts_with("pct_"), "{minted:?}");
    assert!(remote(&["token", "list"], key).stdout.contains("ann"));
    let forbidden = remote(&["key", "create", "--member", "bob", "--scopes", "read"], key);
    assert!(forbidden.code == 1 && forbidden.stderr.contains("scope `admin`"), "{forbidden:?}");

    let listed: Value = serde_json::from_str(&gateway.cli(&["key", "list", "--json"]).stdout).unwrap();
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert!(gateway.cli(&["key", "list"]).stdout.contains(id));
    assert_eq!(gateway.cli(&["key", "revoke", id]).code, 2);
    assert_eq!(remote(&["app", "list"], key).code, 0);
    assert_eq!(gateway.cli(&["key", "revoke", id, "--yes"]).code, 0);
    let ended = remote(&["app", "list"], key);
    assert!(ended.code == 1 && ended.stderr.contains("does not accept this management key"), "{ended:?}");

    for (key, told) in [("", "needs a management key"), ("nonsense", "not a management key")] {
        let ran = remote(&["app", "list"], key);
        assert!(ran.code == 2 && ran.stderr.contains(told), "{ran:?}");
    }
}

#[test]
fn a_reader_who_leaves_early_is_no_failure() {
    let gateway = Gateway::before(&App::echo());
    gateway.mint("production");
    let mut child = command(Path::new(&gateway.path("")))
        .args(["token", "list", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
