//! The values in force, as the gateway reads them. The follower puts in what the store holds, and the keeper of grants
//! the access tokens that it was given.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::value::Value;
use crate::model::{AppName, EnvironmentName, Grant, Piece, SecretName, SecretScope, Template};

/// `until` of what holds until something changes.
pub const ALWAYS: i64 = i64::MAX;

/// The values. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Vault(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: ArcSwap<HashMap<SecretName, Arc<Held>>>,
    /// Grows with each change, once that can be seen.
    generation: AtomicU64,
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

/// One secret as it is in force.
#[derive(Clone, Debug)]
pub struct Held {
    pub scope: SecretScope,
    /// Unix milliseconds; [`ALWAYS`] for none.
    pub expires: i64,
    pub revoked: bool,
    pub content: Content,
}

/// What a secret comes to.
#[derive(Clone, Debug)]
pub enum Content {
    Value(Value),
    Grant(Box<Granted>),
    /// It was not sealed for this secret, or with no key that we have.
    Unreadable,
}

/// A grant, and what it brought.
#[derive(Clone, Debug)]
pub struct Granted {
    pub client: Arc<Client>,
    pub token: Option<AccessToken>,
    /// Why the last attempt to get a token failed, where it did.
    pub trouble: Option<String>,
}

/// Who asks for access tokens, and where.
#[derive(Debug)]
pub struct Client {
    pub grant: Grant,
    pub secret: Value,
}

/// What a token endpoint gave.
#[derive(Clone, Debug)]
pub struct AccessToken {
    pub value: Value,
    /// Unix milliseconds.
    pub expires: i64,
}

/// Where a value is needed.
#[derive(Clone, Debug)]
pub struct Place {
    pub app: AppName,
    pub product: Option<String>,
    pub environment: EnvironmentName,
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    Missing,
    Revoked,
    Expired,
    OutOfScope,
    Unreadable,
    NoToken,
}

/// A text with the values in their places.
pub struct Filled {
    pub text: Zeroizing<Vec<u8>>,
    /// The values that are in it.
    pub values: Vec<Value>,
    /// Until when they may be used, if nothing changes; Unix milliseconds.
    pub until: i64,
}

impl Lack {
    /// In one word, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::OutOfScope => "out_of_scope",
            Self::Unreadable => "unreadable",
            Self::NoToken => "no_token",
        }
    }

    /// As the end of a sentence that the secret's name begins.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Missing => "is not in the store",
            Self::Revoked => "has been revoked",
            Self::Expired => "has expired",
            Self::OutOfScope => "may not be used there",
            Self::Unreadable => "cannot be opened",
            Self::NoToken => "has no access token from its token endpoint",
        }
    }
}

impl Held {
    /// The value, and until when it may be used.
    fn usable(&self, place: Option<&Place>, now: i64) -> Result<(&Value, i64), Lack> {
        let covered = match place {
            Some(place) => self.scope.covers(&place.app, place.product.as_deref(), &place.environment),
            None => self.scope.is_everywhere(),
        };
        if self.revoked {
            return Err(Lack::Revoked);
        }
        if self.expires <= now {
            return Err(Lack::Expired);
        }
        if !covered {
            return Err(Lack::OutOfScope);
        }
        match &self.content {
            Content::Value(value) => Ok((value, self.expires)),
            Content::Unreadable => Err(Lack::Unreadable),
            Content::Grant(granted) => match &granted.token {
                Some(token) if token.expires > now => Ok((&token.value, self.expires.min(token.expires))),
                _ => Err(Lack::NoToken),
            },
        }
    }
}

impl Vault {
    /// Changes with every change of what is held.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// The same, for whoever waits for changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Everything that is held.
    #[must_use]
    pub fn all(&self) -> Arc<HashMap<SecretName, Arc<Held>>> {
        self.0.held.load_full()
    }

    /// Why a secret cannot be used there; `None`: it can.
    #[must_use]
    pub fn lack(&self, name: &SecretName, place: Option<&Place>, now: i64) -> Option<Lack> {
        let all = self.0.held.load();
        all.get(name).map_or(Some(Lack::Missing), |held| held.usable(place, now).err())
    }

    /// Puts the values into their places; `place` is `None` for what the gateway itself needs.
    ///
    /// # Errors
    /// With the first secret that cannot be used, and why.
    pub fn fill(
        &self,
        template: &Template,
        place: Option<&Place>,
        now: i64,
    ) -> Result<Filled, (SecretName, Lack)> {
        let all = self.0.held.load();
        let mut until = ALWAYS;
        let mut values = Vec::new();
        for name in template.secrets() {
            let held = all.get(name).ok_or_else(|| (name.clone(), Lack::Missing))?;
            let (value, end) = held.usable(place, now).map_err(|lack| (name.clone(), lack))?;
            until = until.min(end);
            values.push(value.clone());
        }
        let mut next = values.iter();
        let parts: Vec<&[u8]> = template
            .pieces()
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.as_bytes()),
                Piece::Secret(_) => next.next().map(Value::reveal),
            })
            .collect();
        // Exactly as much as is needed: what grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| text.extend_from_slice(part));
        Ok(Filled { text, values, until })
    }

    /// Puts a secret in force. A grant that stays as it was keeps what it brought; one that asks for the same with other
    /// credentials has the token that lives until it brings its own. What was revoked leaves nothing.
    pub fn put(&self, name: SecretName, mut held: Held) {
        self.change(|all| {
            if let (Content::Grant(new), Some(before)) = (&mut held.content, all.get(&name))
                && let Content::Grant(old) = &before.content
                && (!before.revoked || held.revoked)
            {
                if new.client.is(&old.client) {
                    *new = old.clone();
                } else if new.client.asks_for_what(&old.client) {
                    new.token.clone_from(&old.token);
                }
            }
            all.insert(name, Arc::new(held));
        });
    }

    pub fn remove(&self, name: &SecretName) {
        self.change(|all| drop(all.remove(name)));
    }

    /// Forgets every secret that `keep` refuses: for reloading where the feed has a gap.
    pub fn retain(&self, mut keep: impl FnMut(&SecretName) -> bool) {
        self.change(|all| all.retain(|name, _| keep(name)));
    }

    /// Notes what an attempt to get a token for `client` came to, if it is still the one that asks.
    pub(super) fn granted(
        &self,
        name: &SecretName,
        client: &Arc<Client>,
        result: Result<AccessToken, String>,
    ) {
        self.change(|all| {
            let Some(held) = all.get_mut(name) else { return };
            let mut changed = (**held).clone();
            let Content::Grant(granted) = &mut changed.content else { return };
            if !Arc::ptr_eq(&granted.client, client) {
                return;
            }
            match result {
                Ok(token) => (granted.token, granted.trouble) = (Some(token), None),
                // The token that still lives is used on.
                Err(trouble) => granted.trouble = Some(trouble),
            }
            *held = Arc::new(changed);
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<SecretName, Arc<Held>>)) {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = (*self.0.held.load_full()).clone();
        change(&mut all);
        self.0.held.store(Arc::new(all));
        let generation = self.0.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.changed.send_replace(generation);
    }
}

impl Client {
    /// Whether asking as this one is asking as the other.
    fn is(&self, other: &Self) -> bool {
        self.grant == other.grant && self.secret.reveal() == other.secret.reveal()
    }

    /// Whether what it gets is good for the same as what the other gets.
    fn asks_for_what(&self, other: &Self) -> bool {
        let (new, old) = (&self.grant, &other.grant);
        new.token_url == old.token_url && new.client_id == old.client_id && new.scopes == old.scopes
    }
}

impl Held {
    /// When it ends, as it is kept.
    #[must_use]
    pub fn end(at: Option<Timestamp>) -> i64 {
        at.map_or(ALWAYS, Timestamp::as_millisecond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientAuth, TokenUrl};

    fn name(name: &str) -> SecretName {
        SecretName::parse(name).unwrap()
    }

    fn held(value: &str) -> Held {
        let content = Content::Value(Value::copied(value));
        Held { scope: SecretScope::default(), expires: ALWAYS, revoked: false, content }
    }

    fn place() -> Place {
        Place {
            app: AppName::parse("shop").unwrap(),
            product: None,
            environment: EnvironmentName::parse("production").unwrap(),
        }
    }

    #[test]
    fn a_token_outlives_the_client_secret_that_it_was_got_with_but_no_revocation() {
        let vault = Vault::default();
        let granted = |secret: &str, id: &str| {
            let grant = Grant {
                token_url: TokenUrl::parse("https://id.test/token").unwrap(),
                client_id: id.to_owned(),
                scopes: Vec::new(),
                auth: ClientAuth::Basic,
            };
            let client = Arc::new(Client { grant, secret: Value::copied(secret) });
            Content::Grant(Box::new(Granted { client, token: None, trouble: None }))
        };
        let put = |content: Content, revoked| {
            vault.put(name("A"), Held { content, revoked, ..held("") });
            vault.lack(&name("A"), Some(&place()), 0)
        };
        assert_eq!(put(granted("one", "ann"), false), Some(Lack::NoToken));
        let Content::Grant(first) = &vault.all()[&name("A")].content.clone() else { panic!() };
        let token = AccessToken { value: Value::copied("t"), expires: 9 };
        vault.granted(&name("A"), &first.client, Ok(token));
        assert_eq!(put(granted("two", "ann"), false), None);
        assert_eq!(vault.lack(&name("A"), Some(&place()), 9), Some(Lack::NoToken));
        assert_eq!(put(granted("two", "bob"), false), Some(Lack::NoToken));

        assert_eq!(put(granted("one", "ann"), false), Some(Lack::NoToken));
        let Content::Grant(first) = &vault.all()[&name("A")].content.clone() else { panic!() };
        let token = AccessToken { value: Value::copied("t"), expires: 9 };
        vault.granted(&name("A"), &first.client, Ok(token));
        assert_eq!(put(granted("one", "ann"), true), Some(Lack::Revoked));
        assert_eq!(put(granted("one", "ann"), false), Some(Lack::NoToken));
    }

    #[test]
    fn a_text_is_filled_or_says_what_it_lacks() {
        let vault = Vault::default();
        let template = Template::parse("a $Secret{A}:$Secret{B}!").unwrap();
        let fill = |now| vault.fill(&template, Some(&place()), now);
        vault.put(name("A"), held("hunter2"));
        assert_eq!(fill(0).err(), Some((name("B"), Lack::Missing)));
        vault.put(name("B"), Held { expires: 9, ..held("two") });
        let filled = fill(8).ok().unwrap();
        assert_eq!((&filled.text[..], filled.until, filled.values.len()), (&b"a hunter2:two!"[..], 9, 2));
        assert_eq!(fill(9).err(), Some((name("B"), Lack::Expired)));
        let scope = SecretScope { apps: vec![AppName::parse("blog").unwrap()], ..SecretScope::default() };
        vault.put(name("B"), Held { scope, ..held("two") });
        assert_eq!(fill(0).err(), Some((name("B"), Lack::OutOfScope)));
        vault.put(name("B"), Held { revoked: true, ..held("two") });
        assert_eq!(fill(0).err(), Some((name("B"), Lack::Revoked)));
        vault.put(name("B"), Held { content: Content::Unreadable, ..held("") });
        assert_eq!(fill(0).err(), Some((name("B"), Lack::Unreadable)));
        let before = vault.generation();
        vault.remove(&name("B"));
        assert!(vault.generation() > before);
        assert_eq!(vault.lack(&name("B"), None, 0), Some(Lack::Missing));
        assert!(!format!("{vault:?}").contains("hunter2"));
    }
}
