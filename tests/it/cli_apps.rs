//! `portcullis app …` against a running gateway: publishing, its history, and the switch for every token.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::{done, json, run_on_terminal};

const HOST: &str = "shop.localhost";
const PLACE: [&str; 3] = ["shop", "--environment", "production"];

fn line<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["app", command], &PLACE[..], more].concat()
}

#[test]
fn a_publish_that_ends_tokens_asks_and_one_that_ends_none_does_not() {
    let (app, next) = (App::echo(), App::echo());
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let code = || {
        let answer = gateway.ask(with_token("GET /", HOST, &token.secret));
        if answer.status == 200 { "ok".to_owned() } else { answer.code() }
    };
    let blue = ["--deployment", "blue"];
    let ahead = done(&gateway, &line("publish", &[&blue[..], &["--dry-run"]].concat()));
    assert!(ahead.contains("1 of the environment's tokens would end.\nID "), "{ahead}");
    assert!(ahead.contains(&token.id) && ahead.contains("0 of the environment's tokens would live"));
    let prospect = json(&gateway, &line("publish", &[&blue[..], &["--dry-run"]].concat()));
    assert_eq!((&prospect["would_end"][0]["id"], &prospect["would_keep"]), (&json!(token.id), &json!([])));

    let unasked = gateway.cli(&line("publish", &blue));
    let told = unasked.stderr.contains("this would end 1 of the environment's tokens");
    assert!(unasked.code == 2 && unasked.stdout.is_empty() && told, "{unasked:?}");
    let no = run_on_terminal(&gateway.path(""), &line("publish", &blue), "n\n");
    assert!(no.code == 1 && no.stderr.contains("It ends 1 tokens"), "{no:?}");
    let current = &json(&gateway, &["app", "show", "shop"])["environments"][1]["deployment"];
    assert_eq!((code().as_str(), current), ("ok", &json!("initial")));

    let url = next.url();
    let to_next = [&blue[..], &["--upstream", &url, "--yes"]].concat();
    let published = done(&gateway, &line("publish", &to_next));
    assert_eq!(published, "Published blue for shop, production.\nTokens ended: 1.\n");
    assert_eq!(code(), "deployment_replaced");
    let fresh = gateway.mint("production");
    assert_eq!(gateway.ask(with_token("GET /", HOST, &fresh.secret)).status, 200);
    assert_eq!((app.requests().len(), next.requests().len()), (1, 1));

    // A release of the same deployment: nobody is asked, nothing ends.
    let again = json(&gateway, &line("publish", &blue));
    assert_eq!((&again["tokens_ended"], &again["deployment"]["upstreams"]), (&json!(0), &Value::Null));
    assert_eq!(gateway.ask(with_token("GET /", HOST, &fresh.secret)).status, 200);
    assert_eq!(app.requests().len(), 2, "it is served by the configuration's upstreams again");

    for (wrong, code, told) in [
        (vec!["--deployment", "a b"], 2, "--deployment: "),
        (vec!["--deployment", "x", "--upstream", "ftp://x"], 2, "--upstream: "),
        (vec![], 2, "--deployment"),
    ] {
        let ran = gateway.cli(&line("publish", &wrong));
        assert!(ran.code == code && ran.stderr.contains(told), "{ran:?}");
    }
    let absent = gateway.cli(&["app", "publish", "shop", "--environment", "absent", "--deployment", "x"]);
    assert!(absent.code == 1 && absent.stderr.contains("no such environment"), "{absent:?}");
}

#[test]
fn deployments_are_listed_and_put_away() {
    let gateway = Gateway::before(&App::echo());
    for id in ["blue", "green"] {
        done(&gateway, &line("publish", &["--deployment", id]));
    }
    let table = done(&gateway, &line("deployments", &[]));
    let stands: Vec<_> =
        table.lines().skip(1).map(|row| row.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(stands, [vec!["green", "current"], vec!["blue", "replaced"], vec!["initial", "replaced"]]);
    assert_eq!(json(&gateway, &line("deployments", &["--limit", "1"]))["items"][0]["id"], "green");

    let archive = line("archive", &["--deployment", "blue"]);
    assert_eq!(gateway.cli(&archive).code, 2);
    assert_eq!(run_on_terminal(&gateway.path(""), &archive, "no\n").code, 1);
    let away = json(&gateway, &[&archive[..], &["--yes"]].concat());
    assert!(away["archived_at"].is_string(), "{away}");
    assert!(done(&gateway, &line("deployments", &[])).contains("archived"));
    let current = gateway.cli(&line("archive", &["--deployment", "green", "--yes"]));
    assert!(current.code == 1 && current.stderr.contains("publish another first"), "{current:?}");
}

#[test]
fn external_access_is_switched() {
    let app = App::echo();
    let gateway =
        Setup::new(&app).set("apps.shop.environments.development", "external_access", "\"on\"").start();
    let token = gateway.mint("production");
    let off = done(&gateway, &line("external-access", &["off"]));
    assert!(off.starts_with("External access to shop, production is off"), "{off}");
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).code(), "external_access_off");
    assert!(done(&gateway, &["app", "show", "shop"]).contains("closed"));
    let on = json(&gateway, &line("external-access", &["on"]));
    assert_eq!(on["external_access"]["open"], true);
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token.secret)).status, 200);
    let fixed = gateway.cli(&["app", "external-access", "shop", "--environment", "development", "off"]);
    assert!(fixed.code == 1 && fixed.stderr.contains("decides it"), "{fixed:?}");
    assert_eq!(gateway.cli(&line("external-access", &["maybe"])).code, 2);
}
