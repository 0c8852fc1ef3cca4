//! What goes into the store, and what is asked of it.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::credential::Digest;
use crate::model::{
    AppName, Deployment, DeploymentId, EnvironmentName, Grant, Key, KeyId, Label, Landing, Lifetime,
    MemberName, Network, OnPublish, Rate, Rules, Scopes, Sealed, Secret, SecretKind, SecretName, SecretScope,
    Status, Text, Token, TokenApp, TokenId, TokenScope, Upstream,
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
    /// Whether it is remembered for as long as a leak is, and not for a day.
    pub lasts: bool,
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
    pub at: Timestamp,
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
    /// The link that browsers sign in with it by, where nobody is to be shown its value.
    pub share: Option<NewShare>,
}

/// A link to store beside its token.
#[derive(Debug)]
pub struct NewShare {
    pub digest: Digest,
    /// Where it leads.
    pub landing: Landing,
    /// How often it may be used.
    pub uses: u32,
}

/// A link that signs in, and its token.
#[derive(Debug)]
pub struct Share {
    pub token: Digest,
    pub id: String,
    pub app: String,
    pub environment: String,
    pub landing: Landing,
    pub uses: u32,
    pub used: u32,
}

/// What a digest is of.
#[derive(Clone, Debug)]
pub enum Held {
    Token(Box<Token>),
    Key(Box<Key>),
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

/// A secret with its value, which nobody reads without the key.
#[derive(Clone, Debug)]
pub struct SealedSecret {
    pub secret: Secret,
    pub sealed: Sealed,
}

/// What is found in a store that nobody opens.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    pub secrets: Vec<SealedSecret>,
    /// How many tokens live of each name that was asked for; `None`: there is nothing to count in.
    pub living: Option<Vec<u64>>,
}

/// A value for a name, sealed for all that is here.
#[derive(Debug)]
pub struct NewSecret {
    pub name: SecretName,
    pub kind: SecretKind,
    pub description: Text<1000>,
    pub scope: SecretScope,
    pub grant: Option<Grant>,
    pub sealed: Sealed,
    pub expires_at: Option<Timestamp>,
    /// The revision that the caller has seen; `None`: nothing was there.
    pub seen: Option<u64>,
}

/// How a secret is to be, sealed anew for it.
#[derive(Debug)]
pub struct SecretEdit {
    pub description: Text<1000>,
    pub scope: SecretScope,
    pub sealed: Sealed,
    pub expires_at: Option<Timestamp>,
    /// The revision that the caller has seen.
    pub seen: u64,
}

/// Opens what is sealed and seals it under another key, or says why it cannot.
pub type Reseal = Box<dyn FnMut(&SealedSecret) -> Result<Sealed, String> + Send>;

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
#[derive(Clone, Debug)]
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

/// Which entries of the audit log to read. Every part that is there must match.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Only what the member with this key did.
    pub own: Option<KeyId>,
    pub within: Option<AppName>,
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub side: Side,
    pub limit: usize,
}

/// From where to read the audit log, and which way.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// What came after this entry, oldest first.
    After(u64),
    /// What came before this entry, newest first.
    Before(u64),
}

impl Default for Side {
    fn default() -> Self {
        Self::After(0)
    }
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
