//! What goes into the store, and what is asked of it.

use jiff::Timestamp;

use crate::credential::Digest;
use crate::model::{
    AppName, EnvironmentName, KeyId, Label, MemberName, OnPublish, Scopes, Status, Text, TokenApp, TokenId,
};

/// Who does something, and when: the head of its audit entry.
#[derive(Clone, Debug)]
pub struct Act {
    pub at: Timestamp,
    pub actor: String,
    /// The management key that was used.
    pub key: Option<KeyId>,
}

/// A token to store.
#[derive(Debug)]
pub struct NewToken {
    pub digest: Digest,
    pub hint: String,
    pub label: Label,
    pub description: Text<1000>,
    pub app: TokenApp,
    pub environment: EnvironmentName,
    pub deployment: Option<String>,
    pub on_publish: OnPublish,
    /// `None`: the operator.
    pub created_by: Option<MemberName>,
    pub expires_at: Option<Timestamp>,
}

/// A management key to store.
#[derive(Debug)]
pub struct NewKey {
    pub digest: Digest,
    pub hint: String,
    pub label: Label,
    pub member: MemberName,
    pub scopes: Scopes,
    pub app: Option<AppName>,
    pub expires_at: Option<Timestamp>,
}

/// A thing as revoked, now or before.
#[derive(Debug)]
pub struct Revocation<T> {
    pub of: T,
    /// The revision at which it certainly holds.
    pub revision: u64,
    /// Whether this call did it.
    pub fresh: bool,
}

/// Which tokens to list. Every part that is there must match.
#[derive(Clone, Debug)]
pub struct TokenFilter {
    /// Only what this present member made.
    pub owner: Option<MemberName>,
    /// Only tokens of this one app: what a key bound to it may see.
    pub within: Option<AppName>,
    pub app: Option<String>,
    pub environment: Option<String>,
    pub status: Option<Status>,
    /// A member's name; [`OPERATOR`](Self::OPERATOR) for tokens of no member.
    pub member: Option<String>,
    /// Part of a label, description, hint or id, in any ASCII case.
    pub q: Option<String>,
    pub before: Option<TokenId>,
    pub now: Timestamp,
    pub limit: usize,
}

impl TokenFilter {
    /// What stands for the operator where a member's name would be.
    pub const OPERATOR: &str = "operator";
}

/// Which management keys to list. Every part that is there must match.
#[derive(Clone, Debug)]
pub struct KeyFilter {
    pub owner: Option<MemberName>,
    pub within: Option<AppName>,
    pub before: Option<KeyId>,
    pub limit: usize,
}
