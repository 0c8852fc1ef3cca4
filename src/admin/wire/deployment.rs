//! Published releases.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Token;

/// The body of `POST …/deployments`. Without `upstreams` the configuration's serve.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    #[schema(min_length = 1)]
    pub id: String,
    /// As in `proxy.toml`, but neither the gateway itself nor its admin side. Sockets and link-local addresses, which reach what
    /// is on the gateway's machine alone, only where the file has them too, or from a key with the scope `admin` that is bound
    /// to no app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub upstreams: Option<Vec<String>>,
}

/// A published release.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    pub id: String,
    /// 0 for the one that nobody published; an id that is published again has another.
    pub number: u32,
    pub current: bool,
    /// Null for the one that nobody published.
    pub published_at: Option<Timestamp>,
    pub published_by: Option<String>,
    /// When it was last published under its id.
    pub released_at: Option<Timestamp>,
    /// Null where the configuration's serve.
    pub upstreams: Option<Vec<String>>,
    pub archived_at: Option<Timestamp>,
}

/// The answer of `POST …/deployments`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Published {
    pub deployment: Deployment,
    pub tokens_ended: u64,
}

/// The answer of `POST …/deployments?dry_run=true`: of the live tokens that are pinned to the environment's deployments
/// those that the caller may see, and how many there are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Prospect {
    pub would_end: Vec<Token>,
    pub would_keep: Vec<Token>,
    pub would_end_count: u64,
    pub would_keep_count: u64,
}
