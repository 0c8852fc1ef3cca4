//! Upstream secrets: the key that seals them, the sealing, and the values in force.

mod endpoint;
pub mod keeper;
mod key;
mod keyring;
mod safe;
mod seal;
mod value;
mod vault;

pub use key::{Key, KeyError, KeyFile, KeyId};
pub use keyring::{Change, Keyring};
pub use safe::{Locked, Safe};
pub use seal::{OpenError, Owner, SealError};
pub use value::Value;
pub use vault::{ALWAYS, AccessToken, Client, Content, Filled, Granted, Held, Lack, Place, Vault};
