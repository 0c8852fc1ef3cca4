//! Whoever calls the admin API: a member with a management key over TCP, or the operator over the socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::PATIENCE;
use super::gateway::{Gateway, Minted};
use super::wire::{Answer, Wire, connect, request};

pub(crate) struct Caller<'a> {
    gateway: &'a Gateway,
    /// `None`: the operator.
    bearer: Option<String>,
}

impl<'a> Caller<'a> {
    pub(crate) fn operator(gateway: &'a Gateway) -> Self {
        Self { gateway, bearer: None }
    }

    /// With a new management key of a member.
    #[track_caller]
    pub(crate) fn member(gateway: &'a Gateway, name: &str, scopes: &[&str], app: Option<&str>) -> Self {
        let body = json!({ "member": name, "scopes": scopes, "app": app });
        let answer = gateway.admin("POST /v1/keys", Some(body));
        assert_eq!(answer.status, 201, "{answer:?}");
        let secret = answer.json()["secret"].as_str().unwrap().to_owned();
        Self { gateway, bearer: Some(format!("Bearer {secret}")) }
    }

    /// The management key.
    pub(crate) fn key(&self) -> &str {
        self.bearer.as_deref().unwrap().strip_prefix("Bearer ").unwrap()
    }

    pub(crate) fn ask(&self, line: &str, body: Option<Value>) -> Answer {
        self.ask_with(line, &[], body)
    }

    /// With further header fields.
    pub(crate) fn ask_with(&self, line: &str, fields: &[(&str, &str)], body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let length = body.len().to_string();
        let mut all = vec![("Host", "localhost"), ("Content-Length", &*length)];
        all.extend(fields);
        all.extend(self.bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        let bytes = [request(line, &all), body.into_bytes()].concat();
        match self.bearer {
            Some(_) => exchange(connect(self.gateway.admin_address()), &bytes),
            None => {
                let stream = UnixStream::connect(self.gateway.path("portcullis.sock")).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(Wire::new(stream), &bytes)
            }
        }
    }

    /// Asks for what has to be answered with this status; the answer's JSON.
    #[track_caller]
    pub(crate) fn get(&self, status: u16, line: &str, body: Option<Value>) -> Value {
        let answer = self.ask(line, body);
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        answer.json()
    }

    /// Mints a token for an environment of `shop` that is good for an hour.
    #[track_caller]
    pub(crate) fn mint(&self, environment: &str) -> Minted {
        let body = json!({ "app": "shop", "environment": environment, "expires_in": "1h" });
        minted(&self.get(201, "POST /v1/tokens", Some(body)))
    }

    /// The ids that a list gives, in its order.
    #[track_caller]
    pub(crate) fn ids(&self, line: &str) -> Vec<String> {
        let items = self.get(200, line, None)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The token of an answer that minted one.
#[track_caller]
pub(crate) fn minted(answer: &Value) -> Minted {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Minted { id: text(&answer["token"]["id"]), secret: text(&answer["secret"]) }
}

fn exchange<S: Read + Write>(mut wire: Wire<S>, bytes: &[u8]) -> Answer {
    wire.send(bytes);
    wire.answer()
}
