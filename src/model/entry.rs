//! What the audit log holds.

use jiff::Timestamp;
use serde_json::Value;

/// An entry of the audit log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    /// An object.
    pub detail: Value,
}
