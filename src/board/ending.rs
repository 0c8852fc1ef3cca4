//! Orders to judge requests in flight anew, and what came of them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::model::{NameRef, TokenId};

/// What changes may have ended, each with the last revision that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    pub tokens: HashMap<TokenId, u64>,
    /// By app and name.
    pub environments: HashMap<(NameRef, NameRef), u64>,
    /// Whatever it is.
    pub all: Option<u64>,
}

impl Affected {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.environments.is_empty() && self.all.is_none()
    }

    /// The revision that may have ended what this token does in this environment.
    #[must_use]
    pub fn revision(&self, token: TokenId, environment: (NameRef, NameRef)) -> Option<u64> {
        let of_token = self.tokens.get(&token);
        of_token.or_else(|| self.environments.get(&environment)).copied().or(self.all)
    }
}

/// An order to a worker.
#[derive(Debug)]
pub struct Ending {
    pub of: Arc<Affected>,
    /// Takes what was ended.
    pub done: oneshot::Sender<Vec<Stopped>>,
}

/// What one revision ended: requests whose answer had not begun, and answers under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    pub revision: u64,
    pub requests: u64,
    pub streams: u64,
}
