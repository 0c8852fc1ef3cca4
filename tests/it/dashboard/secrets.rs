//! Upstream secrets on pages: set, seen without their value, edited, revoked and deleted.

use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::visitor::{Visitor, between};

const VALUE: &str = "canary-of-a-value";

/// A gateway whose production environment needs `SHOP_KEY`.
fn gateway(app: &App) -> Gateway {
    let headers = "{ \"X-Api-Key\" = \"$Secret{SHOP_KEY}\" }";
    Setup::new(app).set("apps.shop.environments.production", "request_headers", headers).start()
}

fn form<'a>(value: &'a str, expires: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![("key", "SHOP_KEY"), ("value", value), ("type", "api-key"), ("expires", expires)]
}

#[test]
fn a_secret_is_set_seen_edited_revoked_and_deleted_and_its_value_never_shown() {
    let app = App::echo();
    let gateway = gateway(&app);
    let token = gateway.mint("production").secret;
    let code = || gateway.ask(with_token("GET /", "shop.localhost", &token)).status;
    let sent = || app.requests().last().unwrap().head.get("x-api-key").map(str::to_owned);
    let visitor = Visitor::operator(&gateway);
    let list = visitor.page("/secrets");
    assert!(list.contains("Set the first secret"), "{list}");
    assert!(list.contains("<code>SHOP_KEY</code>, which is not in the store"), "{list}");
    assert_eq!(code(), 502);
    let page = visitor.page("/apps/shop");
    assert!(page.contains("<code>SHOP_KEY</code>, which is not in the store"), "{page}");
    assert!(visitor.page("/apps").contains("lacks a secret"));

    let mut order = form(VALUE, "30d");
    order.extend([
        ("description", "of <b>payments</b>"),
        ("apps", "shop\r\n"),
        ("environments", "production"),
    ]);
    let made = visitor.submit("/secrets", &order);
    assert_eq!((made.status, made.get("location")), (303, Some("/secrets/SHOP_KEY")), "{made:?}");
    assert_eq!((code(), sent().as_deref()), (200, Some(VALUE)));
    let list = visitor.page("/secrets");
    assert!(list.contains("SHOP_KEY is set.") && list.contains("in 30 days"), "{list}");
    assert!(list.contains("shop, production") && !list.contains("cannot have it"), "{list}");
    let again = visitor.submit("/secrets", &form("other", "never"));
    assert!(again.status == 422 && again.text().contains("key-fault"), "{again:?}");
    assert!(!again.text().contains("other\""), "what was typed does not come back");
    assert!(!visitor.page("/apps").contains("lacks a secret"));
    assert!(!visitor.page("/apps/shop").contains("lacking"));
    // Nor by whom may not see that there is one.
    let (blind, _) = Visitor::member(&gateway, "ann", &["secrets"], None);
    let again = blind.submit("/secrets", &form("other", "never"));
    assert!(again.status == 422 && again.text().contains("key-fault"), "{again:?}");
    assert_eq!((code(), sent().as_deref()), (200, Some(VALUE)));
    let page = visitor.page("/secrets/SHOP_KEY");
    for shown in
        ["of &#60;b&#62;payments&#60;/b&#62;", "api-key", "by <bdi>operator</bdi>", ">there<", "set a secret"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }

    // Without a value, what goes with one stays; with one, all of it changes.
    let revision = || {
        let form = visitor.page("/secrets/SHOP_KEY/edit");
        assert!(form.contains("type=\"password\"") && !form.contains(VALUE), "{form}");
        between(&form, "name=\"revision\" value=\"", "\"").to_owned()
    };
    let edit = |fields: &[(&str, &str)]| {
        let revision = revision();
        visitor.submit("/secrets/SHOP_KEY/edit", &[&[("revision", &*revision)], fields].concat())
    };
    let kept = edit(&[("type", "api-key"), ("expires", ""), ("environments", "development")]);
    assert_eq!(kept.status, 303, "{kept:?}");
    assert_eq!(code(), 502, "it is for the other environment now");
    let page = visitor.page("/secrets/SHOP_KEY");
    assert!(page.contains("it may not be used there") && page.contains("in 30 days"), "{page}");
    let bare = edit(&[("type", "credential"), ("expires", "")]);
    assert!(bare.status == 422 && bare.text().contains("value-fault"), "{bare:?}");
    let changed = edit(&[("type", "credential"), ("value", "canary-of-another"), ("expires", "never")]);
    assert_eq!(changed.status, 303, "{changed:?}");
    assert_eq!((code(), sent().as_deref()), (200, Some("canary-of-another")));
    let stale = visitor.submit("/secrets/SHOP_KEY/edit", &[("revision", "1"), ("type", "credential")]);
    assert_eq!(stale.status, 412);
    let shown = gateway.admin("GET /v1/secrets/SHOP_KEY", None).json();
    assert_eq!((&shown["expires_at"], &shown["environments"]), (&json!(null), &json!([])));

    assert_eq!(visitor.submit("/secrets/SHOP_KEY/revoke", &[]).status, 303);
    assert_eq!(code(), 502);
    let page = visitor.page("/secrets/SHOP_KEY");
    assert!(page.contains("SHOP_KEY is revoked.") && page.contains("it has been revoked"), "{page}");
    assert_eq!(visitor.submit("/secrets/SHOP_KEY/delete", &[]).status, 303);
    assert_eq!(visitor.get("/secrets/SHOP_KEY").status, 404);
    for path in ["/secrets", "/audit", "/secrets/new"] {
        assert!(!visitor.page(path).contains("canary"), "{path}");
    }
    assert!(!gateway.stderr().contains("canary"));
}

#[test]
fn what_is_wrong_is_said_and_a_grant_is_told_without_its_secret() {
    let gateway = gateway(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let mut wrong = vec![("key", "shop key"), ("value", VALUE), ("type", "api-key"), ("expires", "date")];
    wrong.extend([
        ("date", "2001-01-01"),
        ("apps", "No App"),
        ("token_url", "http://example.com/"),
        ("client_id", "é"),
    ]);
    let answer = visitor.submit("/secrets", &wrong);
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.text().contains("key-fault") && !answer.text().contains(VALUE), "{answer:?}");
    wrong[0].1 = "SHOP_KEY";
    let answer = visitor.submit("/secrets", &wrong);
    let page = answer.text();
    for shown in ["token-url-fault", "client-fault", "must end after now", "value=\"http://example.com/\""] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains(VALUE) && page.contains("type it again"), "{page}");

    let mut grant =
        vec![("key", "SHOP_KEY"), ("value", VALUE), ("type", "oauth-token"), ("expires", "never")];
    grant.extend([
        ("token_url", "http://127.0.0.1:1/token"),
        ("client_id", "shop"),
        ("grant_scopes", "a\r\nb"),
        ("auth", "post"),
    ]);
    assert_eq!(visitor.submit("/secrets", &grant).status, 303);
    let page = visitor.page("/secrets/SHOP_KEY");
    assert!(page.contains("http://127.0.0.1:1/token") && page.contains(">a b<"), "{page}");
    let form = visitor.page("/secrets/SHOP_KEY/edit");
    let revision = between(&form, "name=\"revision\" value=\"", "\"").to_owned();
    grant[1].1 = "";
    let edited =
        visitor.submit("/secrets/SHOP_KEY/edit", &[&[("revision", &*revision)], &grant[..]].concat());
    assert_eq!(edited.status, 303, "the grant came back as it went: {edited:?}");
    assert!(!page.contains(VALUE) && !form.contains(VALUE));
}

#[test]
fn who_may_not_write_secrets_is_offered_no_more_than_to_look() {
    let gateway = gateway(&App::echo());
    for (name, app) in [("SHOP_KEY", "shop"), ("OTHER_KEY", "other")] {
        let body = json!({ "value": VALUE, "apps": [app] });
        assert_eq!(gateway.admin(&format!("PUT /v1/secrets/{name}"), Some(body)).status, 201);
    }
    let (ann, _) = Visitor::member(&gateway, "ann", &["read"], Some("shop"));
    let list = ann.page("/secrets");
    assert!(
        list.contains("SHOP_KEY") && !list.contains("OTHER_KEY") && !list.contains("/secrets/new"),
        "{list}"
    );
    let page = ann.page("/secrets/SHOP_KEY");
    assert!(!page.contains("/revoke") && !page.contains("/edit"), "{page}");
    assert_eq!(ann.get("/secrets/OTHER_KEY").status, 404);
    assert_eq!(ann.get("/secrets/new").status, 403);
    for path in ["/secrets", "/secrets/SHOP_KEY/edit", "/secrets/SHOP_KEY/revoke", "/secrets/SHOP_KEY/delete"]
    {
        assert_eq!(ann.submit(path, &form("x", "never")).status, 403, "{path}");
    }
    let (bound, _) = Visitor::member(&gateway, "bob", &["read", "secrets"], Some("shop"));
    assert_eq!(
        bound.submit("/secrets", &[("key", "OTHER_KEY"), ("value", "x"), ("apps", "shop")]).status,
        403
    );
    assert_eq!(bound.submit("/secrets/OTHER_KEY/delete", &[]).status, 404);
    assert_eq!(bound.submit("/secrets/SHOP_KEY/revoke", &[]).status, 303);
}
