//! The side that mints, publishes, lists and revokes: an HTTP API on a Unix socket, whose owner is the operator, and on a TCP
//! address, where a management key says who calls. Over TCP there are pages for people too, which do what the API does.

mod apps;
mod audit;
mod auth;
mod backup;
mod call;
mod condition;
mod dashboard;
mod denials;
mod deployments;
mod fields;
mod health;
mod host;
mod keys;
mod leaks;
mod listen;
mod lookup;
mod members;
mod metrics;
mod openapi;
mod problem;
mod pulse;
mod reload;
mod routes;
mod seats;
mod secrets;
mod serve;
mod shares;
mod tokens;
pub mod wire;

#[cfg(test)]
mod tests;

pub use listen::{BindError, OperatorSocket, adopt, bind};
pub use metrics::Sources;
pub use reload::{ReloadDoor, ReloadFault, ReloadRequest, Reloaded};
pub use serve::{Front, Site};
