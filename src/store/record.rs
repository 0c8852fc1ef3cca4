//! What goes into the store, and what is asked of it.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use crate::credential::Digest;
use crate::model::{
    AppName, Deployment, DeploymentId, EnvironmentName, KeyId, Label, Lifetime, MemberName, Network,
    OnPublish, Rate, Rules, Scopes, Status, Text, TokenApp, TokenId, TokenScope, Upstream,
};

/// Who does something, and when: the head of its audit entry.
#[derive(Clone, Debug)]
pub struct Act {
    pub at: Timestamp,
    pub actor: String,
    /// The management key that was used; it must still be in force when the act comes into effect.
    pub key: Option<KeyId>,
    /// Where the call came from: `socket`, or an address.
    pub from: String,
    pub once: Option<Once>,
}

/// Makes a call that comes twice happen once.
#[derive(Clone, Debug)]
pub struct Once {
    /// The SHA-256 of the caller's name for it.
    pub key: [u8; 32],
    /// The SHA-256 of what was asked for.
    pub request: [u8; 32],
}

/// What an earlier call of the same name made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The id or name of what was made.
    pub subject: String,
    /// How many it had ended, where it ended something; of a revocation, the revision that tells.
    pub ended: u64,
    /// The revision at which it certainly holds.
    pub revision: u64,
}

/// A token to store. It belongs to the member whose key the act names.
#[derive(Debug)]
pub struct NewToken {
    pub digest: Digest,
    pub hint: String,
    pub label: Label,
    pub description: Text<1000>,
    pub app: TokenApp,
    pub environment: EnvironmentName,
    pub on_publish: OnPublish,
    pub rules: Rules,
    pub expires_at: Option<Timestamp>,
    pub lifetime: Option<Lifetime>,
}

/// How many live tokens there may be. 0: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub in_all: u32,
    pub per_member: u32,
}

/// A successor for a token.
#[derive(Debug)]
pub struct Rotation {
    pub of: TokenId,
    /// The revision of the token that the caller has seen.
    pub seen: u64,
    pub digest: Digest,
    pub hint: String,
    pub expires_at: Option<Timestamp>,
    pub lifetime: Option<Lifetime>,
    /// When the old value ends, if it does not end before.
    pub overlap_ends: Timestamp,
}

/// What is to change about a token. What is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct TokenEdit {
    pub label: Option<Label>,
    pub description: Option<Text<1000>>,
    pub scopes: Option<Vec<TokenScope>>,
    pub networks: Option<Vec<Network>>,
    pub rate: Option<Option<Rate>>,
    /// Not later than it is.
    pub expires_at: Option<Timestamp>,
    /// The revisions of which one must be the token's.
    pub expected: Option<Vec<u64>>,
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

/// A release to publish.
#[derive(Debug)]
pub struct NewDeployment {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub id: DeploymentId,
    /// `None`: those of `proxy.toml`.
    pub upstreams: Option<Vec<Upstream>>,
}

/// A release as published.
#[derive(Debug)]
pub struct Published {
    pub deployment: Deployment,
    /// Tokens that ended with it.
    pub ended: u64,
    /// Whether it replaced another; otherwise it is a new release under the id that was there.
    pub replaced: bool,
    pub revision: u64,
}

/// What is to change about a member. What is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct MemberEdit {
    pub name: Option<MemberName>,
    pub email: Option<Option<crate::model::Email>>,
    /// The revisions of which one must be the member's.
    pub expected: Option<Vec<u64>>,
}

/// What went with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    pub tokens: u64,
    pub keys: u64,
    pub revision: u64,
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

/// What the store knows of an environment. `app` may be `*`: what holds in every app.
#[derive(Clone, Debug)]
pub struct EnvironmentRow {
    pub app: TokenApp,
    pub name: EnvironmentName,
    /// Whether a token was ever minted for it.
    pub opened: bool,
    /// Where somebody used the switch.
    pub switched: Option<bool>,
    pub deployment: DeploymentId,
    /// When each deployment after the initial one was published, in Unix milliseconds: as many as its number says.
    pub published: Vec<i64>,
    /// Those of the current release, where it has its own.
    pub upstreams: Option<Vec<Upstream>>,
}

/// When and from where something was last used.
#[derive(Clone, Copy, Debug)]
pub struct Use<I> {
    pub of: I,
    /// Unix milliseconds.
    pub at: i64,
    pub from: IpAddr,
}

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: Value,
}

/// Which entries of the audit log to read, oldest first. Every part that is there must match.
#[derive(Clone, Debug)]
pub struct EntryFilter {
    /// Only what the member with this key did.
    pub own: Option<KeyId>,
    pub within: Option<AppName>,
    pub after: u64,
    pub limit: usize,
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
    /// Only what lives, was used, and ends by then.
    pub ending_by: Option<Timestamp>,
    pub before: Option<TokenId>,
    pub now: Timestamp,
    pub limit: usize,
}

impl TokenFilter {
    /// What stands for the operator where a member's name would be.
    pub const OPERATOR: &str = "operator";

    /// Everything there is.
    #[must_use]
    pub const fn every(now: Timestamp, limit: usize) -> Self {
        Self {
            owner: None,
            within: None,
            app: None,
            environment: None,
            status: None,
            member: None,
            q: None,
            ending_by: None,
            before: None,
            now,
            limit,
        }
    }
}

/// Which management keys to list. Every part that is there must match.
#[derive(Clone, Debug)]
pub struct KeyFilter {
    pub owner: Option<MemberName>,
    pub within: Option<AppName>,
    pub before: Option<KeyId>,
    pub limit: usize,
}
