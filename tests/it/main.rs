//! Every test that looks at the program from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code, and a failed unwrap is a failed test"
)]

mod access;
mod admin;
mod allocation;
mod capabilities;
mod cli;
mod cli_apps;
mod cli_audit;
mod cli_backup;
mod cli_documents;
mod cli_members;
mod cli_tokens;
mod crash;
mod credentials;
mod demo;
mod denials;
mod deployments;
mod framing;
mod headers;
mod history;
mod idempotency;
mod lifecycle;
mod limits;
mod members;
mod openapi;
mod permissions;
mod public;
mod races;
mod recipes;
mod record;
mod refusals;
mod regression;
mod rotation;
mod scan_files;
mod scan_history;
mod scan_hooks;
mod scan_standing;
mod scopes;
mod secrecy;
mod smuggling;
mod store;
mod streaming;
mod support;
mod tidy;
mod websocket;
