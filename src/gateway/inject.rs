//! The fields that the configuration sets on requests to an app, with the secrets in them. They are put together when
//! something changes, and handed to requests as they are.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::headers::is_folded;
use super::reject::Reject;
use super::spelling;
use crate::config::{App, EchoGuard, Environment, FieldForm, RequestHeader};
use crate::model::{Refusal, SHORTEST_GUARDED};
use crate::secrets::{ALWAYS, Filled, Lack, Place, Value, Vault};

/// What an environment's requests get.
#[derive(Debug)]
pub(super) struct Injections {
    headers: Vec<RequestHeader>,
    place: Place,
    guard: EchoGuard,
    current: ArcSwap<Current>,
}

/// What they get now.
#[derive(Debug)]
struct Current {
    /// As of what was [`Injected`], if anything was.
    generation: u64,
    until: i64,
    outcome: Result<Arc<Injected>, Lack>,
}

/// The fields, ready to be sent.
#[derive(Debug)]
pub(super) struct Injected {
    /// They stand in the place of the client's of that name.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// What must not come back; empty where nobody looks.
    pub secrets: Vec<Value>,
    /// The same as apps write it elsewhere: each begins like what it is of, and goes on with one of [`spelling::MARKS`].
    pub spelled: Vec<Value>,
    /// What all those of one value begin with.
    pub beginnings: Vec<Value>,
    /// Whether bodies are searched too.
    pub bodies: bool,
    /// Of the vault, when the values were taken from there.
    generation: u64,
    /// Unix milliseconds.
    until: i64,
}

impl Injections {
    /// `None` where requests get nothing.
    pub(super) fn new(app: &App, environment: &Environment) -> Option<Self> {
        if environment.request_headers.is_empty() {
            return None;
        }
        let (name, product) = (app.name.clone(), app.product.clone());
        Some(Self {
            headers: environment.request_headers.clone(),
            place: Place { app: name, product, environment: environment.name.clone() },
            guard: environment.echo_guard,
            // Over before it began.
            current: ArcSwap::from_pointee(Current {
                generation: 0,
                until: i64::MIN,
                outcome: Err(Lack::Missing),
            }),
        })
    }

    /// What a request gets at `now`, in Unix milliseconds.
    ///
    /// # Errors
    /// When a secret that is needed cannot be used: the request must not go without it.
    pub(super) fn get(&self, vault: &Vault, now: i64) -> Result<Arc<Injected>, Reject> {
        let current = self.current.load();
        // Asked for first: what is found afterwards is at least as new.
        let generation = vault.generation();
        if current.generation == generation && now < current.until {
            return current.outcome.clone().map_err(unavailable);
        }
        let current = self.put_together(vault, generation, now);
        let outcome = current.outcome.clone();
        self.current.store(Arc::new(current));
        outcome.map_err(unavailable)
    }

    fn put_together(&self, vault: &Vault, generation: u64, now: i64) -> Current {
        let mut until = ALWAYS;
        let mut injected = Injected {
            fields: Vec::new(),
            secrets: Vec::new(),
            spelled: Vec::new(),
            beginnings: Vec::new(),
            bodies: false,
            generation,
            until,
        };
        for header in &self.headers {
            let written = match vault.fill(&header.value, Some(&self.place), now) {
                Ok(filled) => {
                    until = until.min(filled.until);
                    // Only a value can be at fault: the text around it was judged when it was read.
                    write(header.form, filled, &mut injected.secrets).ok_or(Lack::Unreadable)
                }
                Err((secret, lack)) => {
                    let (Place { app, environment, .. }, told) = (&self.place, lack.told());
                    tracing::warn!(
                        "requests to {app} in {environment} are refused: $Secret{{{secret}}} {told}"
                    );
                    Err(lack)
                }
            };
            match written {
                Ok(value) => injected.fields.push((header.name.clone(), value)),
                Err(lack) => return Current { generation, until: ALWAYS, outcome: Err(lack) },
            }
        }
        injected
            .secrets
            .retain(|secret| secret.reveal().len() >= SHORTEST_GUARDED && self.guard != EchoGuard::Off);
        injected.spell();
        injected.bodies = self.guard == EchoGuard::Body && !injected.secrets.is_empty();
        if injected.bodies {
            injected.ask_for_all();
        }
        injected.until = until;
        Current { generation, until, outcome: Ok(Arc::new(injected)) }
    }
}

impl Injected {
    /// Whether they may still be sent: a request may have waited long.
    pub(super) fn holds(&self, vault: &Vault, now: i64) -> bool {
        self.generation == vault.generation() && now < self.until
    }

    /// Whether what a client says under this name stays behind, also in a spelling that a CGI-style app would take for
    /// it.
    pub(super) fn replaces(&self, name: &HeaderName) -> bool {
        self.fields.iter().any(|(field, _)| is_folded(name.as_str(), field.as_str()))
            || (self.bodies && asks_for_parts(name))
    }

    /// What must not come back where these were sent after `earlier` ones.
    pub(super) fn sent_after(&self, earlier: &Self) -> Self {
        Self {
            fields: Vec::new(),
            secrets: united(&self.secrets, &earlier.secrets),
            spelled: united(&self.spelled, &earlier.spelled),
            beginnings: united(&self.beginnings, &earlier.beginnings),
            bodies: self.bodies || earlier.bodies,
            ..*self
        }
    }

    fn spell(&mut self) {
        for secret in &self.secrets {
            let others = spelling::others(secret.reveal());
            self.beginnings.extend(spelling::beginning(secret.reveal(), &others));
            self.spelled.extend(others);
        }
    }

    /// What is compressed, or comes in parts, could not be searched.
    fn ask_for_all(&mut self) {
        self.fields.retain(|(name, _)| {
            !asks_for_parts(name) && !is_folded(name.as_str(), header::ACCEPT_ENCODING.as_str())
        });
        self.fields.push((header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
}

/// Those of both, each once.
fn united(some: &[Value], others: &[Value]) -> Vec<Value> {
    let is_new = |other: &&Value| !some.iter().any(|value| value.reveal() == other.reveal());
    some.iter().chain(others.iter().filter(is_new)).cloned().collect()
}

fn asks_for_parts(name: &HeaderName) -> bool {
    [header::RANGE, header::IF_RANGE].iter().any(|other| is_folded(name.as_str(), other.as_str()))
}

#[cfg(test)]
impl Injected {
    /// Nothing to set, and these to be found in answers.
    pub(super) fn guarding(secrets: Vec<Value>) -> Self {
        let (fields, spelled, beginnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut injected =
            Self { fields, secrets, spelled, beginnings, bodies: true, generation: 0, until: ALWAYS };
        injected.spell();
        injected
    }
}

/// The field's value; what of it must not come back is added to `secrets`.
fn write(form: FieldForm, filled: Filled, secrets: &mut Vec<Value>) -> Option<HeaderValue> {
    let Filled { text, values, .. } = filled;
    let sensitive = !values.is_empty();
    secrets.extend(values);
    let text = match form {
        FieldForm::Plain => text,
        FieldForm::Basic => {
            let pair = Zeroizing::new(BASE64_STANDARD.encode(&*text));
            if sensitive {
                secrets.push(Value::copied(&pair));
            }
            Zeroizing::new([b"Basic ", pair.as_bytes()].concat())
        }
    };
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(sensitive);
    Some(value)
}

const fn unavailable(lack: Lack) -> Reject {
    let detail = match lack {
        Lack::Missing => "a secret that requests to this app need has not been set",
        Lack::Revoked => "a secret that requests to this app need has been revoked",
        Lack::Expired => "a secret that requests to this app need has expired",
        Lack::OutOfScope => "a secret that requests to this app need may not be used for it",
        Lack::Unreadable => "a secret that requests to this app need cannot be opened",
        Lack::NoToken => "an access token that requests to this app need could not be got",
    };
    Reject::new(Refusal::SecretUnavailable, detail)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::HeaderMap;

    use super::super::crossing::Fields as _;
    use super::*;
    use crate::model::{SecretName, SecretScope};
    use crate::secrets::{Content, Held};

    fn injections(lines: &str) -> Injections {
        let text = format!(
            "[apps.a.environments.b]\nhosts = ['a.test']\nupstreams = ['http://127.0.0.1:1']\n{lines}\n"
        );
        let loaded = crate::config::parse(&text, Path::new("proxy.toml"), Path::new("."), []).unwrap();
        let app = &loaded.config.apps[0];
        Injections::new(app, &app.environments[0]).unwrap()
    }

    fn put(vault: &Vault, value: &str, expires: i64) {
        let content = Content::Value(Value::copied(value));
        let held = Held { scope: SecretScope::default(), expires, revoked: false, content };
        vault.put(SecretName::parse("A").unwrap(), held);
    }

    #[test]
    fn what_a_client_says_under_their_names_stays_behind_in_every_spelling() {
        let vault = Vault::default();
        put(&vault, "hunter2", ALWAYS);
        let lines =
            "request_headers = { X-A = '$Secret{A}', X_B = 'b', Range = 'a', Accept_Encoding = 'br' }";
        for (guard, names, kept) in [
            ("headers", &["x-a", "x_b", "range", "accept_encoding"][..], &["if-range"][..]),
            ("body", &["x-a", "x_b", "accept-encoding"], &[]),
        ] {
            let injected = injections(&format!("{lines}\necho_guard = '{guard}'")).get(&vault, 0).unwrap();
            let set: Vec<_> = injected.fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(set, names);
            let replaced = |name: &&str| injected.replaces(&HeaderName::from_bytes(name.as_bytes()).unwrap());
            let told = ["x-a", "x_a", "x-b", "range", "if-range", "accept-encoding", "x-ab"];
            let left: Vec<_> = told.into_iter().filter(|name| !replaced(name)).collect();
            assert_eq!(left, [kept, &["x-ab"]].concat(), "{guard}");
        }
    }

    #[test]
    fn fields_are_put_together_anew_when_something_changes_and_only_then() {
        let injections = injections("request_headers = { X-A = 'a $Secret{A}', X-B = 'b' }");
        let vault = Vault::default();
        let got = |now| injections.get(&vault, now).map_err(|reject| reject.refusal);
        assert_eq!(got(0).err(), Some(Refusal::SecretUnavailable));
        put(&vault, "hunter2", 9);
        let first = got(8).unwrap();
        assert!(Arc::ptr_eq(&first, &got(8).unwrap()));
        let [(a, secret), (b, plain)] = &first.fields[..] else { panic!("{first:?}") };
        assert!(a == "x-a" && secret == "a hunter2" && b == "x-b" && plain == "b");
        assert!(secret.is_sensitive() && !plain.is_sensitive());
        let mut fields = HeaderMap::with_capacity(16);
        let mut head = Vec::with_capacity(256);
        let mut send = || {
            fields.clear();
            head.clear();
            for (name, value) in &got(8).unwrap().fields {
                fields.copy(name, value);
                head.copy(name, value);
            }
        };
        send();
        let counted = allocation_counter::measure(send);
        assert_eq!(counted.count_total, 0, "a request pays for nothing but its own fields");
        assert_eq!(got(9).err(), Some(Refusal::SecretUnavailable));
        put(&vault, "hunter3", ALWAYS);
        assert!(!Arc::ptr_eq(&first, &got(9).unwrap()));
        assert!(!format!("{injections:?}").contains("hunter"));
    }
}
