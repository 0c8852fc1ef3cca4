//! A receiver of webhooks that judges their signatures, and answers as a test says.

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::app::{App, Exchange};
use super::gateway::Setup;
use super::until;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";

pub(crate) struct Hook {
    app: App,
    calls: Arc<Mutex<Vec<Call>>>,
    script: Arc<Mutex<Vec<u16>>>,
}

/// One call, whose signature was right.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) body: Value,
}

impl Hook {
    pub(crate) fn taking() -> Self {
        Self::saying(&[200])
    }

    /// Answers with these statuses in turn, the last of them for ever; 0 hangs up without an answer.
    pub(crate) fn saying(statuses: &[u16]) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let script = Arc::new(Mutex::new(statuses.to_vec()));
        let (seen, said) = (calls.clone(), script.clone());
        let app = App::start(move |exchange: &mut Exchange<'_>| {
            let body = exchange.body();
            seen.lock().unwrap().push(judge(exchange, &body));
            let status = {
                let mut said = said.lock().unwrap();
                if said.len() > 1 { said.remove(0) } else { said[0] }
            };
            if status == 0 {
                exchange.close();
                return;
            }
            let location = if status == 302 { "Location: /elsewhere\r\n" } else { "" };
            exchange.send(format!("HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\n\r\n"));
        });
        Self { app, calls, script }
    }

    /// Answers otherwise from now on.
    pub(crate) fn say(&self, statuses: &[u16]) {
        *self.script.lock().unwrap() = statuses.to_vec();
    }

    /// Has a gateway tell it of what happens; its secret lies beside the configuration as `hook-secret`.
    pub(crate) fn notified(&self, setup: Setup) -> Setup {
        let url = format!("\"{}/hook?a=b\"", self.app.url());
        setup.set("notify.webhook", "url", &url).set("notify.webhook", "secret_file", "\"hook-secret\"")
    }

    /// Has a gateway tell it to nobody.
    pub(crate) fn lost(setup: Setup) -> Setup {
        let setup = setup.set("notify.webhook", "url", "\"http://127.0.0.1:1/\"");
        setup.set("notify.webhook", "secret_file", "\"hook-secret\"")
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn wait_for(&self, count: usize) -> Vec<Call> {
        until(&format!("{count} webhooks"), || Some(self.calls()).filter(|calls| calls.len() >= count))
    }

    /// The calls that tell of such an event, once there are so many.
    pub(crate) fn calls_of(&self, event: &str, count: usize) -> Vec<Call> {
        until(&format!("{count} webhooks of {event}"), || {
            let of = self.calls().into_iter().filter(|call| call.body["type"] == event);
            Some(of.collect()).filter(|calls: &Vec<Call>| calls.len() >= count)
        })
    }

    /// Every byte that came.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.app.bytes()).into_owned()
    }
}

fn judge(exchange: &Exchange<'_>, body: &[u8]) -> Call {
    let field = |name: &str| exchange.head.get(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    let (id, at) = (field("webhook-id"), field("webhook-timestamp"));
    assert!((jiff::Timestamp::now().as_second() - at.parse::<i64>().unwrap()).abs() < 300);
    let signed = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
    let key = BASE64_STANDARD.decode(SECRET.trim().strip_prefix("whsec_").unwrap()).unwrap();
    let signature = field("webhook-signature");
    let tag = BASE64_STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed, &tag).expect("the right signature");
    assert_eq!(exchange.head.line, "POST /hook?a=b HTTP/1.1");
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["id"], Value::from(id.as_str()));
    Call { id, body }
}
