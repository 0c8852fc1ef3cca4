//! gRPC, with a client and a server on its own library: every kind of call, and every way in which one ends.

use serde_json::{Value, json};

use crate::support::gateway::Setup;
use crate::support::peer::{Ends, HOST, Peer};

/// An app, a gateway before it, and a client of both.
struct Stage {
    ends: Ends,
    token: String,
    id: String,
}

impl Stage {
    fn new(ends: Ends) -> Self {
        let token = ends.gateway.mint("production");
        Self { ends, token: token.secret, id: token.id }
    }

    /// The metadata that opens the way.
    fn token(&self) -> Value {
        json!([["x-portcullis-token", self.token]])
    }

    /// The next call that reaches the app: its name and its metadata.
    #[track_caller]
    fn begun(&self, call: &str) -> Value {
        let told = self.ends.app.told();
        assert_eq!((&told["event"], &told["call"]), (&"begun".into(), &call.into()), "{told}");
        told
    }

    /// Waits until the app knows that a call is over: finished by itself, or cancelled.
    #[track_caller]
    fn over(&self, call: &str, finished: bool) {
        let over = json!({ "event": "over", "call": call, "finished": finished });
        assert_eq!(self.ends.app.told(), over);
    }

    fn calls_of_every_kind_pass(&mut self) {
        let token = self.token();
        let metadata = json!([["x-portcullis-token", self.token], ["x-own", "a"], ["x-own-bin-not", "b"]]);
        let answer = self.ends.client.ask(&json!(["unary", "Unary", "hello", metadata]));
        assert_eq!((&answer["code"], &answer["messages"]), (&"OK".into(), &json!(["hello"])), "{answer}");
        assert_eq!(answer["initial"]["x-initial"], "first");
        assert!(answer["initial"]["x-request-id"].is_string(), "{answer}");
        assert_eq!(answer["trailing"], json!({ "x-trailing": "last", "x-trailing-bin": "00ff" }));
        let seen = self.begun("Unary");
        let names: Vec<_> =
            seen["metadata"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap()).collect();
        assert!(names.contains(&"x-own") && names.contains(&"x-portcullis-token-id"), "{names:?}");
        assert!(!names.contains(&"x-portcullis-token") && !seen.to_string().contains(&self.token));
        assert_eq!(seen["limited"], true, "the deadline went on to the app");
        self.over("Unary", true);

        let bearer = json!([["authorization", format!("Bearer {}", self.token)]]);
        let large = "x".repeat(3_000_000);
        let answer = self.ends.client.ask(&json!(["unary", "Unary", large, bearer]));
        assert!(answer["code"] == "OK" && answer["messages"] == json!([large]));
        assert!(!self.begun("Unary").to_string().contains("authorization"));
        self.over("Unary", true);

        let answer = self.ends.client.ask(&json!(["down", "Down", "1000", token]));
        let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        assert!(answer["code"] == "OK" && answer["messages"] == json!(expected), "{answer}");
        assert_eq!(answer["trailing"], json!({ "x-trailing": "last" }));
        self.begun("Down");
        self.over("Down", true);

        let answer = self.ends.client.ask(&json!(["up", "four", 1000, token]));
        assert_eq!((&answer["code"], &answer["messages"]), (&"OK".into(), &json!(["1000 4000"])), "{answer}");
        self.begun("Up");
        self.over("Up", true);

        // Fewer: each passes by six threads of Python's, which takes long on a busy machine.
        let expected = &expected[..200];
        let answer = self.ends.client.ask(&json!(["both", expected, token]));
        let expected = [expected, &[".".to_owned()]].concat();
        assert_eq!((&answer["code"], &answer["details"]), (&"OK".into(), &"".into()));
        assert_eq!(answer["messages"], json!(expected));
        self.begun("Both");
        self.over("Both", true);

        // Neither side waits for the other to be done.
        self.ends.client.ask(&json!(["open", token]));
        for word in ["one", "two", "three"] {
            assert_eq!(self.ends.client.ask(&json!(["send", word])), word);
        }
        let answer = self.ends.client.ask(&json!(["finish"]));
        assert_eq!((&answer["code"], &answer["messages"]), (&"OK".into(), &json!(["."])), "{answer}");
        self.begun("Both");
        self.over("Both", true);
    }

    fn the_apps_own_failures_pass(&mut self) {
        let token = self.token();
        let answer = self.ends.client.ask(&json!(["unary", "Fail", "", token]));
        assert_eq!((&answer["code"], &answer["messages"]), (&"FAILED_PRECONDITION".into(), &json!([])));
        assert_eq!(answer["details"], "nö: 100% of it");
        assert_eq!(answer["trailing"]["x-why"], "so");
        let answer = self.ends.client.ask(&json!(["down", "FailLate", "", token]));
        assert_eq!((&answer["code"], &answer["messages"]), (&"RESOURCE_EXHAUSTED".into(), &json!(["one"])));
        assert_eq!(answer["details"], "after one");
        for call in ["Fail", "FailLate"] {
            self.begun(call);
            self.over(call, true);
        }
        let answer = self.ends.client.ask(&json!(["unary", "Absent", "", token]));
        assert_eq!(answer["code"], "UNIMPLEMENTED", "{answer}");
    }

    fn endings_pass_both_ways(&mut self) {
        let token = self.token();
        // A deadline.
        let answer = self.ends.client.ask(&json!(["unary", "Wait", "", token, 0.3]));
        assert_eq!(answer["code"], "DEADLINE_EXCEEDED", "{answer}");
        self.begun("Wait");
        self.over("Wait", false);
        // The client's change of mind, before an answer and in the middle of one.
        self.ends.client.ask(&json!(["begin", "Wait", token, null]));
        assert_eq!(self.begun("Wait")["limited"], false);
        assert_eq!(self.ends.client.ask(&json!(["cancel"])), "CANCELLED");
        self.over("Wait", false);
        self.ends.client.ask(&json!(["open", token]));
        assert_eq!(self.ends.client.ask(&json!(["send", "one"])), "one");
        assert_eq!(self.ends.client.ask(&json!(["cancel"])), "CANCELLED");
        self.begun("Both");
        self.over("Both", false);
        // The token's.
        let other = self.ends.gateway.mint("production");
        let others = json!([["x-portcullis-token", other.secret]]);
        self.ends.client.ask(&json!(["begin", "Wait", others]));
        self.begun("Wait");
        self.ends.gateway.revoke(&other.id);
        let answer = self.ends.client.ask(&json!(["result"]));
        assert_eq!(answer["code"], "UNAUTHENTICATED", "{answer}");
        self.over("Wait", false);
        self.ends.client.ask(&json!(["open", token]));
        assert_eq!(self.ends.client.ask(&json!(["send", "one"])), "one");
        self.begun("Both");
        // What the receipt counts is what was heard of within its time, which a busy machine may exceed.
        self.ends.gateway.revoke(&self.id);
        let answer = self.ends.client.ask(&json!(["end"]));
        assert_eq!((&answer["code"], &answer["messages"]), (&"CANCELLED".into(), &json!([])), "{answer}");
        self.over("Both", false);
        let answer = self.ends.client.ask(&json!(["unary", "Unary", "", token]));
        assert_eq!(answer["code"], "UNAUTHENTICATED", "{answer}");
    }
}

#[test]
fn without_tls() {
    let mut stage = Stage::new(Ends::plain("grpc", "grpc", "h2c"));
    stage.calls_of_every_kind_pass();
    stage.the_apps_own_failures_pass();
    stage.endings_pass_both_ways();
}

#[test]
fn with_tls_on_both_sides() {
    let mut stage = Stage::new(Ends::secure("grpc", "grpc"));
    stage.calls_of_every_kind_pass();
    stage.the_apps_own_failures_pass();
    stage.endings_pass_both_ways();
}

#[test]
fn refusals_become_codes_that_clients_know() {
    let app = Peer::start("grpc_app.py", "grpc", &[]);
    let url = format!("h2c://{}", app.address());
    let gateway = Setup::with_upstreams(&[&url])
        .and("[apps.blog.environments.production]\nhosts = [\"blog.localhost\"]\n")
        .and(&format!("upstreams = [\"{url}\"]\n"))
        .start();
    let mut client = Peer::start("grpc_client.py", "grpc", &[&gateway.address().to_string(), HOST]);
    let of = |token: &str| json!([["x-portcullis-token", token]]);
    let blog = json!({ "app": "blog", "environment": "production", "expires_in": "1h" });
    for (metadata, code) in [
        (json!([]), "UNAUTHENTICATED"),
        (of("nonsense"), "UNAUTHENTICATED"),
        (of(&gateway.mint_with(blog).secret), "PERMISSION_DENIED"),
        (of(&gateway.mint("development").secret), "PERMISSION_DENIED"),
    ] {
        for call in [
            json!(["unary", "Unary", "", metadata]),
            json!(["down", "Down", "1", metadata]),
            json!(["both", ["a", "b"], metadata]),
        ] {
            let answer = client.ask(&call);
            assert_eq!((&answer["code"], &answer["messages"]), (&code.into(), &json!([])), "{answer}");
        }
    }
    // The first call that the app hears of is the first that was let in.
    let answer = client.ask(&json!(["unary", "Unary", "let in", of(&gateway.mint("production").secret)]));
    assert_eq!(answer["messages"], json!(["let in"]));
    assert_eq!(app.told()["event"], "begun");
    assert_eq!(app.told()["event"], "over");
}

#[test]
fn a_thousand_calls_at_once() {
    let mut stage = Stage::new(Ends::plain("grpc", "grpc", "h2c"));
    let answer = stage.ends.client.ask(&json!(["many", 1000, stage.token()]));
    assert_eq!(answer, json!({ "quiet": 1000 }));
}
