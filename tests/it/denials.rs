//! Why was I refused: recent refusals, told to those who may see the token.

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::{Answer, request};

const HOST: &str = "shop.localhost";

fn id(answer: &Answer) -> String {
    answer.get("x-request-id").unwrap().to_owned()
}

/// What is told of a refusal. It is noted before its client knows of it, so nobody has to wait.
fn explained(caller: &Caller<'_>, request_id: &str) -> Value {
    caller.get(200, &format!("GET /v1/denials/{request_id}"), None)
}

#[test]
fn a_refusal_is_explained_to_whoever_may_see_the_token() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("apps.blog.environments.production", "hosts", "[\"blog.localhost\"]")
        .set("apps.blog.environments.production", "upstreams", &format!("[\"{}\"]", app.url()))
        .start();
    let operator = Caller::operator(&gateway);
    let (ann, bob) = (
        Caller::member(&gateway, "ann", &["read", "mint"], None),
        Caller::member(&gateway, "bob", &["read", "mint"], None),
    );
    let (hers, his) = (ann.mint("production"), bob.mint("production"));
    let refused = gateway.ask(with_token("POST /a/b?c=d", "shop.dev.localhost", &hers.secret));
    let denial = explained(&operator, &id(&refused));
    assert_eq!(denial["at"].as_str().unwrap().len(), denial["at"].as_str().unwrap().trim().len());
    let expected = json!({
        "request_id": id(&refused), "at": denial["at"], "code": "wrong_environment", "status": 403, "app": "shop",
        "environment": "development", "token": hers.id, "method": "POST", "path": "/a/b", "address": "127.0.0.1",
    });
    assert_eq!(denial, expected);
    assert_eq!(explained(&ann, &id(&refused)), expected);
    assert_eq!(bob.ask(&format!("GET /v1/denials/{}", id(&refused)), None).code(), "not_found");

    let query = format!("/{}?project-protection-bypass={}", hers.secret, his.secret);
    let on_blog = gateway.ask(request(&format!("GET {query}"), &[("Host", "blog.localhost")]));
    assert_eq!(on_blog.code(), "wrong_app");
    let denial = explained(&bob, &id(&on_blog)).to_string();
    assert!(!denial.contains(&hers.secret) && !denial.contains(&his.secret), "{denial}");
    let stranger = gateway.ask(request("GET /", &[("Host", HOST)]));
    let unknown = gateway.ask(with_token("GET /", HOST, "pct_nonsense"));
    let nowhere = gateway.ask(request("GET /", &[("Host", "nowhere.localhost")]));
    for (answer, code) in
        [(&stranger, "token_missing"), (&unknown, "token_unknown"), (&nowhere, "unknown_host")]
    {
        assert_eq!(explained(&operator, &id(answer))["code"], code);
        assert_eq!(ann.ask(&format!("GET /v1/denials/{}", id(answer)), None).status, 404);
    }

    let codes = |caller: &Caller<'_>, query: &str| {
        let items = caller.get(200, &format!("GET /v1/denials{query}"), None)["items"].clone();
        items
            .as_array()
            .unwrap()
            .iter()
            .map(|denial| denial["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = ["unknown_host", "token_unknown", "token_missing", "wrong_app", "wrong_environment"];
    assert_eq!(codes(&operator, ""), all);
    assert_eq!(codes(&operator, "?app=shop"), [all[1], all[2], all[4]]);
    assert_eq!(codes(&operator, &format!("?token={}", his.id)), ["wrong_app"]);
    assert_eq!(codes(&ann, ""), ["wrong_environment"]);
    assert_eq!(codes(&ann, &format!("?token={}", his.id)), [""; 0]);
    let bound = Caller::member(&gateway, "boss", &["admin"], Some("shop"));
    assert_eq!(codes(&bound, ""), ["token_unknown", "token_missing", "wrong_app", "wrong_environment"]);
    let page = operator.get(200, "GET /v1/denials?limit=2", None);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = operator.get(200, &format!("GET /v1/denials?limit=500&cursor={next}"), None);
    assert_eq!((page["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 3));
    for query in ["token=x", "limit=0", "cursor=x", "nonsense=1"] {
        assert_eq!(operator.ask(&format!("GET /v1/denials?{query}"), None).status, 422, "{query}");
    }
    assert_eq!(operator.ask("GET /v1/denials/none", None).status, 404);
}

#[test]
fn what_was_refused_while_it_ran_is_explained_too() {
    let app = App::start(|exchange| {
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /slow", HOST, &token.secret));
    app.wait_for(1);
    gateway.revoke(&token.id);
    let denial = explained(&Caller::operator(&gateway), &id(&waiting.answer()));
    assert_eq!((&denial["code"], &denial["token"]), (&json!("token_revoked"), &json!(token.id)));
}
