//! `portcullis secret …`, as people and scripts use it.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};

const VALUE: &str = "hunter2-canary-value";

fn gateway() -> Gateway {
    let key = "apps.shop.environments.production";
    Setup::new(&App::echo()).set(key, "upstream_auth", "\"bearer $Secret{SHOP_KEY}\"").start()
}

#[track_caller]
fn done(gateway: &Gateway, arguments: &[&str], input: &str) -> String {
    let ran = gateway.cli_given(arguments, input);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{ran:?}");
    ran.stdout
}

#[test]
fn a_secret_is_set_shown_edited_and_ended() {
    let gateway = gateway();
    let secret = |rest: &[&str]| done(&gateway, &[&["secret"], rest].concat(), "");
    let set = [
        "secret",
        "set",
        "SHOP_KEY",
        "--type",
        "api-key",
        "--description",
        "for the shop",
        "--expires-at",
        "2099-01-31",
        "--app",
        "shop",
        "--product",
        "commerce",
        "--environment",
        "production",
    ];
    // One newline at its end belongs to the line, not to the value.
    let said = done(&gateway, &set, &format!("{VALUE}\n"));
    assert!(
        said.starts_with("Set SHOP_KEY (api-key, for shop, product commerce in production; ends 2099-02-01"),
        "{said}"
    );
    let shown: Value = serde_json::from_str(&secret(&["show", "SHOP_KEY", "--json"])).unwrap();
    for (field, value) in [
        ("name", json!("SHOP_KEY")),
        ("type", json!("api-key")),
        ("description", json!("for the shop")),
        ("apps", json!(["shop"])),
        ("products", json!(["commerce"])),
        ("environments", json!(["production"])),
        ("status", json!("active")),
        ("expires_at", json!("2099-02-01T00:00:00Z")),
        ("grant", Value::Null),
        ("used_by", json!([{ "app": "shop", "environment": "production" }])),
        ("set_by", json!("operator")),
        ("revision", json!(1)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let facts = secret(&["show", "SHOP_KEY"]);
    assert!(facts.contains("needed by") && facts.contains("shop in production"), "{facts}");
    let table = secret(&["list"]);
    assert!(table.starts_with("NAME") && table.contains("SHOP_KEY  api-key  active"), "{table}");

    let said = secret(&["edit", "SHOP_KEY", "--no-product", "--no-environment", "--expires", "never"]);
    assert!(said.starts_with("Edited SHOP_KEY (api-key, for shop; never ends)."), "{said}");
    let ran = gateway.cli(&["secret", "edit", "SHOP_KEY", "--description", "x", "--revision", "1"]);
    assert!(ran.code == 1 && ran.stderr.contains("changed since"), "{ran:?}");
    assert_eq!(gateway.cli(&["secret", "edit", "SHOP_KEY"]).code, 2);

    for order in ["revoke", "delete"] {
        let ran = gateway.cli(&["secret", order, "SHOP_KEY"]);
        assert!(ran.code == 2 && ran.stderr.contains("--yes"), "{ran:?}");
    }
    assert!(secret(&["revoke", "SHOP_KEY", "--yes"]).starts_with("Revoked SHOP_KEY"));
    assert!(secret(&["list"]).contains("revoked"));
    assert!(secret(&["delete", "SHOP_KEY", "--yes"]).starts_with("Deleted SHOP_KEY"));
    assert_eq!(gateway.cli(&["secret", "show", "SHOP_KEY"]).code, 1);
    assert!(gateway.cli(&["secret", "list"]).stderr.contains("no secrets"));
}

#[test]
fn a_grant_is_set_with_the_client_s_secret_as_the_value() {
    let gateway = gateway();
    let set = [
        "secret",
        "set",
        "SHOP_KEY",
        "--token-url",
        "http://127.0.0.1:1/token",
        "--client-id",
        "shop",
        "--scope",
        "read",
        "--client-auth",
        "post",
        "--json",
    ];
    let set: Value = serde_json::from_str(&done(&gateway, &set, VALUE)).unwrap();
    assert_eq!((&set["type"], &set["grant"]["scopes"]), (&json!("oauth-token"), &json!(["read"])));
    let facts = done(&gateway, &["secret", "show", "SHOP_KEY"], "");
    assert!(facts.contains("http://127.0.0.1:1/token") && facts.contains("access token until"), "{facts}");
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_set() {
    let gateway = gateway();
    for (arguments, input, code, words) in [
        (&["set", "shop_key"][..], VALUE, 2, "capital letters"),
        // A value where the name belongs is not repeated.
        (&["set", VALUE], "", 2, "capital letters"),
        (&["set", "SHOP_KEY"], "", 2, "no value on standard input"),
        (&["set", "SHOP_KEY"], "\n", 2, "no value on standard input"),
        (&["set", "SHOP_KEY"], "hunter2\n\n", 2, "one line"),
        (&["set", "SHOP_KEY", "--type", "password"], VALUE, 2, "possible values"),
        (&["set", "SHOP_KEY", "--expires", "soon"], VALUE, 2, "duration"),
        (&["set", "SHOP_KEY", "--expires-at", "2020-01-01"], VALUE, 2, "after now"),
        (&["set", "SHOP_KEY", "--token-url", "https://a.example/"], VALUE, 2, "--client-id"),
        (&["set", "SHOP_KEY", "--app", "a b"], VALUE, 2, "apps"),
    ] {
        let ran = gateway.cli_given(&[&["secret"], arguments].concat(), input);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(words) && !ran.stderr.contains("hunter2"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(gateway.admin("GET /v1/secrets", None).json()["items"], json!([]));
}
