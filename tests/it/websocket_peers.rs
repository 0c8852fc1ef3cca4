//! WebSockets with a client and a server on a library of their own, which judge what reaches them.

use serde_json::json;

use crate::support::peer::{Ends, HOST};

/// What every conversation can do, as the client sees it and as the app does.
fn converse(ends: Ends) {
    let Ends { app, gateway, mut client, .. } = ends;
    let minted = gateway.mint("production");
    let (secret, bearer) = (&minted.secret, format!("Bearer {}", minted.secret));
    let query = format!("/b?x=y&project-protection-bypass={secret}");
    assert_eq!(client.ask(&json!(["open", "/", {}])), json!({ "status": 401 }));
    for (path, seen, fields) in [
        ("/a", "/a", json!({ "X-Portcullis-Token": secret })),
        ("/c", "/c", json!({ "Authorization": bearer })),
        (&query, "/b?x=y", json!({})),
    ] {
        let opened = client.ask(&json!(["open", path, fields]));
        // What both ends agree on is theirs, compression too.
        let agreed = json!({ "status": 101, "chosen": "chat.v1", "extensions": ["permessage-deflate"] });
        assert_eq!(opened, agreed);
        for text in ["hello", "", "grüß dich \u{1f44b}", &"long ".repeat(50_000)] {
            assert_eq!(client.ask(&json!(["echo", text])), text);
        }
        assert_eq!(client.ask(&json!(["bytes", 1_000_000])), true);
        assert_eq!(client.ask(&json!(["ping"])), "pinged");
        assert_eq!(client.ask(&json!(["close", 4002, "enough"])), json!([4002, "enough"]));
        let told = app.told();
        assert_eq!((&told["path"], &told["host"]), (&seen.into(), &HOST.into()), "{told}");
        assert_eq!(told["closed"], json!([4002, "enough"]));
    }
    let fields = json!({ "X-Portcullis-Token": secret });
    client.ask(&json!(["open", "/", fields]));
    assert_eq!(client.ask(&json!(["end", "go away"])), json!([4001, "as you say"]));
    assert_eq!(app.told()["closed"], json!([4001, "as you say"]));
    // A revoked token ends it without the word that would make it look like a regular end.
    client.ask(&json!(["open", "/", fields]));
    assert_eq!(client.ask(&json!(["echo", "still here"])), "still here");
    assert_eq!(gateway.revoke(&minted.id)["ended"], json!({ "requests": 0, "streams": 1 }));
    assert_eq!(client.ask(&json!(["end"])), json!([1006, ""]));
    assert_eq!(app.told()["closed"], json!([1006, ""]));
    assert_eq!(client.ask(&json!(["open", "/", fields])), json!({ "status": 401 }));
}

#[test]
fn without_tls() {
    converse(Ends::plain("websocket", "websockets", "http"));
}

#[test]
fn with_tls_on_both_sides() {
    converse(Ends::secure("websocket", "websockets"));
}
