//! Uses of tokens that are not written down yet, as whoever knows them tells.

use std::fmt;
use std::sync::OnceLock;

use super::{Store, Use};
use crate::model::TokenId;

type Teller = Box<dyn Fn(TokenId) -> Vec<Use<TokenId>> + Send + Sync>;

/// The way to ask for them.
#[derive(Default)]
pub(super) struct Unwritten(OnceLock<Teller>);

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwritten")
    }
}

impl Unwritten {
    /// The uses of a token since such were written down, the last one last.
    pub(super) fn of(&self, token: TokenId) -> Vec<Use<TokenId>> {
        self.0.get().map(|tell| tell(token)).unwrap_or_default()
    }
}

impl Store {
    /// Has what is said of a token in a notice be true to the last use. `tell` is called between writes and must not
    /// wait; the first one stays.
    pub fn uses_told_by(&self, tell: impl Fn(TokenId) -> Vec<Use<TokenId>> + Send + Sync + 'static) {
        let _ = self.0.unwritten.0.set(Box::new(tell));
    }
}
