//! Upstream secrets: the key that seals them, and the sealing.

mod key;

pub use key::{Key, KeyError, KeyFile, KeyId};
