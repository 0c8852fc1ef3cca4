//! Upstream secrets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An upstream secret, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// As in `$Secret{NAME}`.
    pub name: String,
    /// `credential`, `api-key`, `bearer-token` or `oauth-token`.
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
    /// With `products`, what it may be used for; both empty: every app.
    pub apps: Vec<String>,
    pub products: Vec<String>,
    /// Empty: every environment.
    pub environments: Vec<String>,
    /// `active`, `expired` or `revoked`.
    pub status: String,
    /// Null where the value is used itself.
    pub grant: Option<Grant>,
    /// The environments whose requests need it.
    pub used_by: Vec<SecretUse>,
    pub created_at: Timestamp,
    pub created_by: String,
    /// When the value was set, and who set it.
    pub set_at: Timestamp,
    pub set_by: String,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    /// Also the `ETag`: changes with each value and each edit.
    pub revision: u64,
}

/// A client-credentials grant, and how it fares.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    pub token_url: String,
    pub client_id: String,
    pub scopes: Vec<String>,
    /// How the client shows who it is: `basic` or `post`.
    pub auth: String,
    /// Null where there is no access token.
    pub token_expires_at: Option<Timestamp>,
    /// Why the last attempt to get one failed; null where it did not.
    pub last_error: Option<String>,
}

/// An environment whose requests need a secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretUse {
    pub app: String,
    pub environment: String,
}

/// The body of `PUT /v1/secrets/{key}`. What is absent stays as it was, but for the expiry, which goes with the value:
/// without one it never expires.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// One line; with a `grant` the client's secret.
    #[schema(min_length = 1, max_length = 8192)]
    pub value: String,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub apps: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub products: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub environments: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<PutGrant>,
}

/// A client-credentials grant to get access tokens with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutGrant {
    /// `https://…`
    pub token_url: String,
    #[schema(min_length = 1)]
    pub client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// `basic`, which is the default, or `post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
}

/// The body of `PATCH /v1/secrets/{key}`. What is absent stays; `null` takes away: a place from the list, or the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditSecret {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub apps: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub products: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub environments: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<String>>,
}

/// The answer of `POST /v1/secrets/rekey`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rekeyed {
    /// How many were sealed anew.
    pub secrets: u64,
    /// Tells the key from others.
    pub key: String,
}

/// A secret that requests to an environment need and cannot have: they are refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LackingSecret {
    pub app: String,
    pub environment: String,
    pub secret: String,
    /// `missing`, `revoked`, `expired`, `out_of_scope`, `unreadable` or `no_token`.
    pub reason: String,
}
