//! What was found where it does not belong, leaks, and the notices that tell of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EndedCounts, Key, Token};

/// The body of `POST /v1/leaks`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportLeaks {
    /// Tokens, management keys and codes of links that sign in, each whole.
    #[schema(min_items = 1, max_items = 500)]
    pub tokens: Vec<String>,
    /// Who found them.
    #[schema(min_length = 1, max_length = 120)]
    pub source: String,
    /// Where they were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub url: Option<String>,
    /// Where they were found, each in all of these; instead of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub places: Option<Vec<String>>,
}

/// What a report did to one of its credentials.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    /// `token` or `key`; null where it is not known here.
    pub kind: Option<String>,
    /// `revoked`, `grace`, `already_ended` or `unknown`.
    pub done: String,
    /// How it stands now; null where it is not known here.
    pub status: Option<String>,
    /// Null where it is a key, or the caller may not see it.
    pub token: Option<Token>,
    /// Null where it is a token, or the caller may not see it.
    pub key: Option<Key>,
    pub ended: EndedCounts,
    /// Whether it ended the last management key that might do everything: the operator makes another.
    #[serde(default)]
    pub last_admin: bool,
}

/// A credential that was reported as leaked, or is used as if it had been.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Leak {
    pub id: String,
    /// `report`, or what raised a warning: `referer`, `crawler`, `revoked_in_use` or `new_network`.
    pub kind: String,
    /// The id of the token or management key.
    pub subject: String,
    /// Who found it.
    pub source: String,
    /// Where; empty where that is not known.
    pub place: String,
    /// Whose it is, or was.
    pub owner: String,
    pub app: Option<String>,
    pub environment: Option<String>,
    pub label: String,
    pub hint: String,
    /// `revoked`, `grace`, `already_ended`, or `warned`.
    pub done: String,
    /// When it ends, where it was left to live for a while.
    pub ends_at: Option<Timestamp>,
    /// From which address the last sign of it came; null for what was reported.
    pub client: Option<String>,
    /// What that called itself, in its `User-Agent`; anybody may say anything there.
    pub agent: Option<String>,
    /// How often it was told of, or seen.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// A notice that is not delivered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// The same however often it is sent: `webhook-id`, and in a mail's `Message-ID`.
    pub id: String,
    /// `email` or `webhook`.
    pub channel: String,
    /// `token.leaked`, `key.leaked`, `token.suspected`, `token.revoked`, `token.expiring` or `member.removed`.
    pub event: String,
    /// The id of the credential that it is about, or the name of a member.
    pub subject: String,
    /// Null for a webhook, and for a letter that there is no address for.
    pub recipient: Option<String>,
    /// `waiting`, `held` while its channel is not configured, or `dead` where it was given up.
    pub status: String,
    pub attempts: u32,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    /// When it is sent next; null where it was given up.
    pub due_at: Option<Timestamp>,
    pub dead_at: Option<Timestamp>,
}

/// The body of `POST /v1/lookup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookUp {
    /// SHA-256 of whole tokens and management keys, in lower-case hexadecimal.
    #[schema(max_items = 500)]
    pub digests: Vec<String>,
}

/// What a digest is of. One that is of nothing, or of what was deleted, has none.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Holding {
    pub digest: String,
    /// `token` or `key`.
    pub kind: String,
    /// `active`: it lives. Else `expired`, `revoked` or `replaced`.
    pub status: String,
    /// Null where it is none, or none that the caller may see.
    pub token: Option<Token>,
    /// Null where it is none, or none that the caller may see.
    pub key: Option<Key>,
}
