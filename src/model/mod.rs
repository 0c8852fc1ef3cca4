//! The words of the domain. Fields are private: a value that exists is valid.

mod host;
mod id;
mod key;
mod lifetime;
mod name;
mod path;
mod refusal;
mod token;
mod upstream;

pub use host::HostPattern;
pub use id::{Id, KeyId, TokenId};
pub use key::{Key, Scope, Scopes};
pub use lifetime::{Expiry, Lifetime, UnknownLifetime};
pub use name::{AppName, EnvironmentName, InvalidName, MemberName, TokenApp};
pub use path::{InvalidPattern, PathPattern, PlainPath};
pub use refusal::Refusal;
pub use token::{Ended, InvalidText, Label, OnPublish, Status, Text, Token};
pub use upstream::{InvalidUpstream, Scheme, Upstream};

/// The deployment an environment serves before anything was published to it.
pub const INITIAL_DEPLOYMENT: &str = "initial";
