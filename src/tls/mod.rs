//! TLS: for whoever listens, certificates and their keys as files hold them, which of them a client is shown, and what
//! lets a client come back without a whole handshake; for whoever connects, whose word is taken on the other end.

mod authorities;
mod certificate;
mod choice;
mod resumption;
mod terminator;
mod watch;

pub use authorities::{client, read_authorities};
pub use certificate::{Certificate, Flaw, Pair, Part, is_readable_by_all};
pub use choice::Choice;
pub use resumption::Resumption;
pub use terminator::{HTTP1, HTTP2, OLD_HTTP, Terminator, Terminators};
pub use watch::Watch;
