//! Credentials where they do not belong: finding them, taking reports of them, and telling whom they belong to.

pub mod github;
mod keys;
pub mod notify;
pub mod scan;
pub mod warnings;
