//! Somebody who uses the dashboard without a browser: what a browser would send, byte by byte.

use std::cell::RefCell;

use serde_json::json;

use super::gateway::Gateway;
use super::wire::{Answer, connect, request};

pub(crate) struct Visitor<'a> {
    gateway: &'a Gateway,
    cookie: RefCell<String>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn stranger(gateway: &'a Gateway) -> Self {
        Self { gateway, cookie: RefCell::default() }
    }

    /// With a cookie that somebody had.
    pub(crate) fn with_cookie(gateway: &'a Gateway, cookie: &str) -> Self {
        Self { gateway, cookie: RefCell::new(cookie.to_owned()) }
    }

    /// Signed in by a link.
    #[track_caller]
    pub(crate) fn operator(gateway: &'a Gateway) -> Self {
        let visitor = Self::stranger(gateway);
        let answer = visitor.post(&link(gateway), &[]);
        assert_eq!((answer.status, answer.get("location")), (303, Some("/")), "{answer:?}");
        visitor
    }

    /// Signed in with a new key; its id.
    #[track_caller]
    pub(crate) fn member(
        gateway: &'a Gateway,
        name: &str,
        scopes: &[&str],
        app: Option<&str>,
    ) -> (Self, String) {
        let body = json!({ "member": name, "scopes": scopes, "app": app });
        let minted = gateway.admin("POST /v1/keys", Some(body)).json();
        let visitor = Self::stranger(gateway);
        let answer = visitor.post("/sign-in", &[("key", minted["secret"].as_str().unwrap())]);
        assert_eq!(answer.status, 303, "{answer:?}");
        (visitor, minted["key"]["id"].as_str().unwrap().to_owned())
    }

    /// Where pages are.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.gateway.admin_address())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[], "")
    }

    /// The text of a page that has to be there.
    #[track_caller]
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.text().to_owned()
    }

    /// Sends a form as the page that holds it would.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, &[("Origin", &self.origin()), ("Sec-Fetch-Site", "same-origin")], fields)
    }

    /// The same with the session's proof, which every page holds.
    #[track_caller]
    pub(crate) fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let proof = self.proof();
        self.post(path, &[&[("proof", &*proof)], fields].concat())
    }

    /// The same with these header fields in the place of a browser's.
    #[track_caller]
    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.send(&format!("POST {path}"), &[headers, &kind].concat(), &body)
    }

    /// What each form of the session carries.
    #[track_caller]
    pub(crate) fn proof(&self) -> String {
        // Also where it is refused.
        between(self.get("/keys").text(), "name=\"proof\" value=\"", "\"").to_owned()
    }

    pub(crate) fn cookie(&self) -> String {
        self.cookie.borrow().clone()
    }

    #[track_caller]
    fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (host, cookie) = (self.gateway.admin_address().to_string(), self.cookie());
        let length = body.len().to_string();
        let mut all = vec![("Host", &*host), ("Accept", "text/html"), ("Content-Length", &*length)];
        if !cookie.is_empty() {
            all.push(("Cookie", &cookie));
        }
        all.extend(headers);
        let mut wire = connect(self.gateway.admin_address());
        wire.send([request(line, &all), body.as_bytes().to_vec()].concat());
        let answer = wire.answer();
        if let Some(set) = answer.get("set-cookie") {
            set.split(';').next().unwrap().clone_into(&mut self.cookie.borrow_mut());
        }
        answer
    }
}

/// A link that signs in, without its origin.
#[track_caller]
pub(crate) fn link(gateway: &Gateway) -> String {
    let answer = gateway.admin("POST /v1/dashboard-links", None);
    assert_eq!(answer.status, 201, "{answer:?}");
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    let origin = format!("http://{}", gateway.admin_address());
    url.strip_prefix(&origin).unwrap_or_else(|| panic!("{url} is not at {origin}")).to_owned()
}

/// What stands between two texts, the first time.
#[track_caller]
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is not there: {text}"));
    rest.split_once(after).unwrap().0
}
