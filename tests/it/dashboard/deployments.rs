//! Deployments on pages: published, asked about where that ends tokens, and archived.

use serde_json::json;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::visitor::{Visitor, between};

const PATH: &str = "/apps/shop/environments/production/deployments";

#[test]
fn a_publish_asks_before_it_ends_tokens_and_an_old_deployment_is_archived() {
    let (app, next) = (App::echo(), App::echo());
    let gateway = Gateway::before(&app);
    let token = gateway.mint_with(json!({
        "label": "of <before>", "app": "shop", "environment": "production", "expires_in": "1h",
    }));
    let status = || gateway.ask(with_token("GET /", "shop.localhost", &token.secret)).status;
    let visitor = Visitor::operator(&gateway);
    assert!(visitor.page("/apps/shop").contains(PATH));
    let again = visitor.submit(PATH, &[("id", "initial"), ("upstreams", &next.url()), ("once", "a")]);
    assert_eq!((again.status, again.get("location")), (303, Some(PATH)), "no token ends: {again:?}");
    assert!(visitor.page(PATH).contains("released anew"));
    assert_eq!((status(), next.requests().len()), (200, 1));

    let (eve, _) = Visitor::member(&gateway, "eve", &["read", "deploy"], None);
    let asked = eve.submit(PATH, &[("id", "green")]);
    assert!(asked.status == 200 && asked.text().contains("It is another member's"), "{asked:?}");
    let asked = visitor.submit(PATH, &[("id", "blue"), ("upstreams", &app.url()), ("once", "b")]);
    let page = asked.text();
    assert!(
        asked.status == 200 && page.contains("1 token ends") && page.contains("of &#60;before&#62;"),
        "{page}"
    );
    assert_eq!(status(), 200, "nothing was done yet");
    let once = between(page, "name=\"once\" value=\"", "\"");
    let upstreams = between(page, "name=\"upstreams\" value=\"", "\"");
    let sent = [("id", "blue"), ("upstreams", upstreams), ("once", once), ("intent", "end")];
    assert_eq!(visitor.submit(PATH, &sent).status, 303);
    assert_eq!(status(), 401);
    let page = visitor.page(PATH);
    assert!(page.contains("blue is published; 1 token ended."), "{page}");
    assert!(page.contains(&app.url()), "{page}");
    assert_eq!(visitor.submit(PATH, &sent).status, 303);
    assert!(visitor.page(PATH).contains("blue is published; 1 token ended."), "sent twice it counts once");

    let wrong = visitor.submit(PATH, &[("id", "-"), ("upstreams", "nowhere")]);
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("id-fault") && wrong.text().contains("upstreams-fault"), "{wrong:?}");
    let archive = |id: &str| visitor.submit(&format!("{PATH}/{id}/archive"), &[]);
    assert_eq!(archive("blue").status, 409, "it is the current one");
    assert_eq!(archive("initial").status, 303);
    let page = visitor.page(PATH);
    assert!(page.contains("initial is archived.") && page.contains(">archived<"), "{page}");
    assert!(!page.contains("/archive\""), "nothing is left to archive");
}

#[test]
fn who_may_not_publish_or_archive_is_not_offered_to() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.other.environments.production", "hosts", "[\"other.localhost\"]")
        .set("apps.other.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let (ann, _) = Visitor::member(&gateway, "ann", &["read"], None);
    let page = ann.page(PATH);
    assert!(page.contains("initial") && !page.contains("name=\"id\""), "{page}");
    assert_eq!(ann.submit(PATH, &[("id", "blue"), ("intent", "end")]).status, 403);
    assert_eq!(ann.submit(&format!("{PATH}/initial/archive"), &[]).status, 403);
    let (bound, _) = Visitor::member(&gateway, "bob", &["read", "deploy"], Some("other"));
    assert_eq!(bound.get(PATH).status, 404);
    assert_eq!(bound.submit(PATH, &[("id", "blue")]).status, 404);
    let (deployer, _) = Visitor::member(&gateway, "ci", &["read", "deploy"], Some("shop"));
    assert!(!deployer.page(PATH).contains("/archive\""));
    assert_eq!(deployer.submit(PATH, &[("id", "blue"), ("once", "a")]).status, 303);
}
