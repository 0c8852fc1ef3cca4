//! Uses of tokens and management keys that are not written down yet, as whoever knows them tells.

use std::fmt;
use std::sync::OnceLock;

use super::{Store, Use};
use crate::model::{KeyId, TokenId};

type Teller<I> = Box<dyn Fn(I) -> Vec<Use<I>> + Send + Sync>;

/// The ways to ask for them.
#[derive(Default)]
pub(super) struct Unwritten {
    tokens: OnceLock<Teller<TokenId>>,
    keys: OnceLock<Teller<KeyId>>,
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwritten")
    }
}

impl Unwritten {
    /// The uses of a token since such were written down, the last one last.
    pub(super) fn of_token(&self, token: TokenId) -> Vec<Use<TokenId>> {
        self.tokens.get().map(|tell| tell(token)).unwrap_or_default()
    }

    /// The same of a key.
    pub(super) fn of_key(&self, key: KeyId) -> Vec<Use<KeyId>> {
        self.keys.get().map(|tell| tell(key)).unwrap_or_default()
    }
}

impl Store {
    /// Has what is said of a token in a notice be true to the last use. `tell` is called between writes and must not
    /// wait; the first one stays.
    pub fn uses_told_by(&self, tell: impl Fn(TokenId) -> Vec<Use<TokenId>> + Send + Sync + 'static) {
        let _ = self.0.unwritten.tokens.set(Box::new(tell));
    }

    /// The same of management keys.
    pub fn key_uses_told_by(&self, tell: impl Fn(KeyId) -> Vec<Use<KeyId>> + Send + Sync + 'static) {
        let _ = self.0.unwritten.keys.set(Box::new(tell));
    }
}
