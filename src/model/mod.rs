//! The words of the domain. Fields are private: a value that exists is valid.

mod agent;
mod deployment;
mod entry;
mod hindsight;
mod host;
mod id;
mod key;
mod landing;
mod leak;
mod lifetime;
mod member;
mod moment;
mod name;
mod network;
mod notice;
mod path;
mod rate;
mod refusal;
mod rules;
mod scope;
mod secret;
mod template;
mod token;
mod upstream;

pub use agent::Agent;
pub use deployment::{Deployment, DeploymentId, INITIAL_DEPLOYMENT, InvalidDeployment, OnPublish};
pub use entry::Entry;
pub use hindsight::{Hindsight, Mortal, Sighting, Sightings};
pub use host::HostPattern;
pub use id::{Id, KeyId, LENGTH as ID_LENGTH, LeakId, NoticeId, TokenId};
pub use key::{Key, Scope, Scopes};
pub use landing::{Landing, RESERVED};
pub use leak::{Leak, LeakDone, LeakKind};
pub use lifetime::{Expiry, Lifetime, UnknownLifetime};
pub use member::{Email, InvalidEmail, Member};
pub use moment::distance;
pub use name::{AppName, EnvironmentName, InvalidName, MemberName, NameRef, TokenApp};
pub use network::{InvalidNetwork, Network, are_near, is_link_local};
pub use notice::{Channel, Event, Notice, NoticeStatus};
pub use path::{InvalidPattern, PathPattern, PlainPath};
pub use rate::{InvalidRate, Limiter, Rate};
pub use refusal::Refusal;
pub use rules::{NETWORKS, Rules, SCOPES};
pub use scope::{InvalidScope, TokenScope};
pub use secret::{
    ClientAuth, Grant, InvalidSecretName, InvalidTokenUrl, PLACES, SHORTEST_GUARDED, Sealed, Secret,
    SecretKind, SecretName, SecretScope, TokenUrl,
};
pub use template::{InvalidTemplate, Piece, Template};
pub use token::{Ended, InvalidText, Label, Replaced, Status, Text, Token};
pub use upstream::{InvalidUpstream, Scheme, Upstream};
