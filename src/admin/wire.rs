//! The admin API's JSON, the same types for the server that writes them and the command line that reads them.

mod deployment;
mod leak;
mod secret;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use deployment::{Deployment, Prospect, Publish, Published};
pub use leak::{Holding, Leak, LookUp, Notice, Reaction, ReportLeaks};
pub use secret::{EditSecret, Grant, LackingSecret, PutGrant, PutSecret, Rekeyed, Secret, SecretUse};

/// A token without its value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
    /// When it ends by itself, as far as is known: at `expires_at`, or sooner, with the grace that a publish left it.
    pub ends_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    /// The client's address, as the gateway judged it.
    pub last_used_from: Option<String>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    pub revoke_reason: Option<String>,
    /// When it ended with its deployment, and who published the next.
    pub replaced_at: Option<Timestamp>,
    pub replaced_by: Option<String>,
    pub predecessor: Option<String>,
    pub successor: Option<String>,
    /// Also the `ETag`: changes with each edit.
    pub revision: u64,
}

/// The body of `POST /v1/tokens`: exactly one of `expires_in` and `expires_at`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 120)]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    #[schema(min_length = 1)]
    pub app: String,
    #[schema(min_length = 1)]
    pub environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub scopes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub allowed_addresses: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_publish: Option<String>,
}

/// The body of `PATCH /v1/tokens/{id}`. What is absent stays; `null` takes away, or for `rate_limit` lifts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 120)]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub scopes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub allowed_addresses: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// Not later than it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// The body of `POST /v1/tokens/{id}/rotate`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// The one answer that holds a token's value; where an earlier answer to the same call did, all but `token` is null.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct MintedToken {
    pub token: Token,
    pub secret: Option<String>,
    pub authorization: Option<String>,
    /// Null where the query form is switched off.
    pub query_parameter: Option<String>,
}

/// The body of `POST /v1/shares`: what a token's has, for one app, and how the link is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintShare {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 120)]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub description: Option<String>,
    #[schema(min_length = 1)]
    pub app: String,
    #[schema(min_length = 1)]
    pub environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub scopes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub allowed_addresses: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_publish: Option<String>,
    /// How many browsers it may sign in; one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub uses: Option<u64>,
    /// Where it leads: a path of the app, `/` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Scheme, host and port by which browsers reach the app, where that cannot be told from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// The one answer that holds a link; where an earlier answer to the same call did, `url` and `path` are null.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct MintedShare {
    /// The token that the link stands for. Its value is shown to nobody; revoking it ends the link and its sessions.
    pub token: Token,
    pub uses: u32,
    pub url: Option<String>,
    /// The link without scheme, host and port.
    pub path: Option<String>,
}

/// The body of `POST /v1/tokens/{id}/revoke`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a revocation stopped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct EndedCounts {
    pub requests: u64,
    pub streams: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
    pub revoked_by: Option<String>,
    pub last_used_at: Option<Timestamp>,
    pub last_used_from: Option<String>,
}

/// The body of `POST /v1/keys`. Without `expires_in` the key never expires.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintKey {
    #[schema(min_length = 1)]
    pub member: String,
    #[schema(min_items = 1)]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// The one answer that holds a key's value.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct MintedKey {
    pub key: Key,
    pub secret: Option<String>,
}

/// The answer of `DELETE /v1/keys/{id}`: the key, revoked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevokedKey {
    pub key: Key,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct App {
    pub name: String,
    pub description: String,
    pub product: Option<String>,
    pub environments: Vec<Environment>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    pub name: String,
    pub hosts: Vec<String>,
    /// Those that requests go to.
    pub upstreams: Vec<Upstream>,
    /// Who says so: `configuration` or `deployment`.
    pub upstreams_from: String,
    pub deployment: String,
    pub on_publish: String,
    pub external_access: ExternalAccess,
}

/// Where requests go, and how that does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExternalAccess {
    /// As in `proxy.toml`: `on-first-token`, `on` or `off`.
    pub mode: String,
    pub open: bool,
}

/// The answer of `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Keys that the file sets otherwise than before, and certificates that were replaced.
    pub changed: Vec<String>,
    /// Keys that keep their old value until the gateway is restarted.
    pub restart_needed: Vec<String>,
    pub warnings: Vec<String>,
}

/// The body of `PUT …/external-access`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    pub enabled: bool,
}

/// The answer of `PUT …/external-access`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Switched {
    pub external_access: ExternalAccess,
    pub ended: EndedCounts,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Member {
    pub name: String,
    pub email: Option<String>,
    pub created_at: Timestamp,
    /// Also the `ETag`: changes with each edit.
    pub revision: u64,
}

/// The body of `POST /v1/members`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    #[schema(min_length = 1)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// The body of `PATCH /v1/members/{name}`. What is absent stays; `null` takes the address away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditMember {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Option<String>>,
}

/// The answer of `DELETE /v1/members/{name}`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct RemovedMember {
    pub tokens_ended: u64,
    pub keys_ended: u64,
}

/// A request that the gateway refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Denial {
    pub request_id: String,
    pub at: Timestamp,
    pub code: String,
    pub status: u16,
    pub app: Option<String>,
    pub environment: Option<String>,
    /// Null where possession of none was shown.
    pub token: Option<String>,
    pub method: String,
    /// Without its query.
    pub path: String,
    pub address: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    /// With `from`: `socket`, an address, or `portcullis`.
    pub detail: serde_json::Value,
}

/// The answer of `GET /v1/whoami`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// Null for the operator.
    pub member: Option<String>,
    pub scopes: Vec<String>,
    /// The one app that the key is bound to.
    pub app: Option<String>,
}

/// The answer of `POST /v1/dashboard-links`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct DashboardLink {
    /// Signs a browser in once, as whoever asked for it.
    pub url: String,
    pub expires_at: Timestamp,
}

/// The answer of `DELETE /v1/dashboard-sessions`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DashboardSessionsEnded {
    /// Sessions that were in use.
    pub ended: u64,
}

/// The answer of `/healthz` while all is well.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    pub status: String,
}

/// The answer of `/readyz` while all is well for all apps, or for all but some.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    pub status: String,
    /// Other apps have nothing to do with it.
    pub secrets_unavailable: Vec<LackingSecret>,
}

/// An error, as RFC 9457 shapes it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
    /// Of `limit_reached`: how many tokens there may be, and how many live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}
