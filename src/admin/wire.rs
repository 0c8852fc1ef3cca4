//! The admin API's JSON, the same types for the server that writes them and the command line that reads them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A token without its value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    pub label: String,
    pub description: String,
    /// An app's name, or `*` for every app.
    pub app: String,
    pub environment: String,
    pub deployment: Option<String>,
    pub on_publish: String,
    pub scopes: Vec<String>,
    pub allowed_addresses: Vec<String>,
    pub rate_limit: Option<String>,
    pub hint: String,
    pub status: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    pub revoke_reason: Option<String>,
    pub successor: Option<String>,
}

/// The body of `POST /v1/tokens`: exactly one of `expires_in` and `expires_at`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub app: String,
    pub environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// The one answer that holds a token's value.
#[derive(Clone, Serialize, Deserialize)]
pub struct MintedToken {
    pub token: Token,
    pub secret: Option<String>,
    pub authorization: Option<String>,
    /// Null where the query form is switched off.
    pub query_parameter: Option<String>,
}

/// The body of `POST /v1/tokens/{id}/revoke`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a revocation stopped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EndedCounts {
    pub requests: u64,
    pub streams: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokedToken {
    pub token: Token,
    pub ended: EndedCounts,
}

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    pub id: String,
    pub member: String,
    pub scopes: Vec<String>,
    pub app: Option<String>,
    pub label: String,
    pub hint: String,
    /// `active`, `expired` or `revoked`.
    pub status: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// The body of `POST /v1/keys`. Without `expires_in` the key never expires.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintKey {
    pub member: String,
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// The one answer that holds a key's value.
#[derive(Clone, Serialize, Deserialize)]
pub struct MintedKey {
    pub key: Key,
    pub secret: Option<String>,
}

/// The answer of `DELETE /v1/keys/{id}`: the key, revoked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokedKey {
    pub key: Key,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    pub name: String,
    pub description: String,
    pub product: Option<String>,
    pub environments: Vec<Environment>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    pub name: String,
    pub hosts: Vec<String>,
    pub upstreams: Vec<Upstream>,
    pub deployment: String,
    pub on_publish: String,
    pub external_access: ExternalAccess,
}

/// Where requests go, and how that does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upstream {
    pub url: String,
    /// Whether requests go there as a matter of course: health checks succeed, and requests are answered.
    pub healthy: bool,
    /// Requests under way there.
    pub in_flight: u64,
    /// Requests that were sent again, there or elsewhere, because it failed them; since the gateway started.
    pub retries: u64,
}

/// Whether tokens are let in, and who decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExternalAccess {
    /// As in `proxy.toml`: `on-first-token`, `on` or `off`.
    pub mode: String,
    pub open: bool,
}

/// The answer of `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys that the file sets otherwise than before, and certificates that were replaced.
    pub changed: Vec<String>,
    /// Keys that keep their old value until the gateway is restarted.
    pub restart_needed: Vec<String>,
    pub warnings: Vec<String>,
}

/// The answer of `GET /v1/whoami`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whoami {
    /// Null for the operator.
    pub member: Option<String>,
    pub scopes: Vec<String>,
    /// The one app that the key is bound to.
    pub app: Option<String>,
}

/// The answer of `/healthz` and `/readyz` while all is well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    pub status: String,
}

/// An error, as RFC 9457 shapes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub code: String,
    pub detail: String,
    pub request_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}
