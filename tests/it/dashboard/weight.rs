//! How much a page weighs with all that it loads, where everything on it is as long as it may be.

use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Setup;
use crate::support::visitor::Visitor;

/// Bytes of a page with its style, its script and its icon.
const MOST: usize = 100_000;
/// More than any page shows of a kind.
const MANY: usize = 60;

#[test]
fn a_thousand_places_are_still_a_light_choice() {
    let app = App::echo();
    let mut setup = Setup::new(&app);
    for number in 0..1000 {
        let section = format!("apps.storefront-{number}.environments.production");
        setup = setup.set(&section, "hosts", &format!("[\"storefront-{number}.example.com\"]")).set(
            &section,
            "upstreams",
            &format!("[\"{}\"]", app.url()),
        );
    }
    let gateway = setup.start();
    let page = Visitor::operator(&gateway).page("/tokens/new?place=storefront-7/production");
    assert!(page.contains("<option selected>storefront-7/production</option>"));
    assert!(page.len() < MOST - 40_000, "{}", page.len());
}

#[test]
fn no_page_is_heavier_than_it_may_be() {
    let app = App::echo();
    let wide = "<".repeat(120);
    let addresses: Vec<_> = (0..64).map(|port| format!("http://127.0.0.1:{}", 10_000 + port)).collect();
    let gateway = Setup::new(&app)
        .both("request_headers", "{ \"X-Key\" = \"$Secret{SECRET_0}$Secret{LACKING}\" }")
        .set("apps.other.environments.production", "hosts", "[\"other.localhost\"]")
        .set("apps.other.environments.production", "upstreams", &format!("{addresses:?}"))
        .start();
    let ask = |line: &str, body| {
        let answer = gateway.admin(line, Some(body));
        assert!(answer.status < 300, "{line}: {answer:?}");
        answer.json()
    };
    let names: Vec<_> = (0..50).map(|number| format!("{number:a>64}")).collect();
    let mut found = Vec::new();
    for number in 0..MANY {
        let name = format!("{number:n>64}");
        ask("POST /v1/members", json!({ "name": name, "email": format!("{name}@{}", "e".repeat(180)) }));
        let scopes = ["read", "mint", "deploy", "delete", "secrets", "admin"];
        ask("POST /v1/keys", json!({ "member": name, "scopes": scopes, "label": wide, "expires_in": "1h" }));
        let minted = ask(
            "POST /v1/tokens",
            json!({
                "label": wide, "description": "<".repeat(1000), "app": "shop", "environment": "production",
                "expires_in": "1h", "scopes": ["GET /a", format!("GET /{}", "a".repeat(100))],
            }),
        );
        let body = json!({
            "value": "x", "description": "<".repeat(1000), "apps": names, "products": names, "environments": names,
        });
        ask(&format!("PUT /v1/secrets/SECRET_{number}"), body);
        let id = format!("{number:d>128}");
        ask(
            "POST /v1/apps/other/environments/production/deployments",
            json!({ "id": id, "upstreams": addresses }),
        );
        found.push((minted["token"]["id"].as_str().unwrap().to_owned(), minted["secret"].clone()));
    }
    for _ in 0..25 {
        gateway.ask(with_token(
            &format!("GET /{}", "b".repeat(2000)),
            "shop.localhost",
            found[0].1.as_str().unwrap(),
        ));
    }
    let secrets: Vec<_> = found.iter().map(|(_, secret)| secret).collect();
    ask("POST /v1/leaks", json!({ "tokens": secrets, "source": wide, "url": "<".repeat(1000) }));
    for number in 0..8 {
        ask(
            "POST /v1/leaks",
            json!({ "tokens": [secrets[0]], "source": wide, "url": format!("{number}{}", "<".repeat(990)) }),
        );
    }
    let visitor = Visitor::operator(&gateway);
    let page = visitor.page("/tokens");
    let loaded = page.split('"').filter(|part| part.starts_with("/assets/"));
    let assets: usize = loaded.map(|asset| visitor.get(asset).body.len()).sum();
    let token = format!("/tokens/{}", found[0].0);
    for path in [
        "/tokens",
        "/tokens/new",
        &token,
        &format!("{token}/edit"),
        "/apps",
        "/apps/shop",
        "/apps/other",
        "/apps/other/environments/production/deployments",
        "/members",
        "/keys",
        "/secrets",
        "/secrets/new",
        "/secrets/SECRET_0",
        "/secrets/SECRET_0/edit",
        "/leaks",
        "/leaks/report",
        "/leaks/notices",
        "/audit",
    ] {
        let weight = visitor.page(path).len() + assets;
        assert!(weight < MOST, "{path} weighs {weight} bytes, {assets} of them beside the page");
    }
}
