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
mod answers;
mod browsers;
mod cap;
mod capabilities;
mod cli;
mod cli_apps;
mod cli_audit;
mod cli_backup;
mod cli_documents;
mod cli_members;
mod cli_secrets;
mod cli_tokens;
mod clients;
mod conformance;
mod crash;
mod credentials;
mod dashboard;
mod demo;
mod denials;
mod deployments;
mod downgrade;
mod echo;
mod everywhere;
mod framing;
mod fuzz;
mod grants;
mod grpc;
mod headers;
mod health;
mod history;
mod http2;
mod http2_limits;
mod http2_streams;
mod http2_websocket;
mod idempotency;
mod idle;
mod inherited;
mod leaks;
mod leaks_github;
mod leaks_mail;
mod leaks_notices;
mod leaks_warnings;
mod lifecycle;
mod limits;
mod links;
mod log;
mod members;
mod metrics;
mod naive;
mod openapi;
mod permissions;
mod public;
mod races;
mod readiness;
mod recipes;
mod record;
mod refusals;
mod regression;
mod releases;
mod reload;
mod rotation;
mod scan_files;
mod scan_history;
mod scan_hooks;
mod scan_standing;
mod schemathesis;
mod scopes;
mod sealing;
mod secrecy;
mod secrets;
mod secure;
mod sessions;
mod shared;
mod shares;
mod smuggling;
mod stacks;
mod store;
mod streaming;
mod support;
mod tidy;
mod tls;
mod trace;
mod upstream;
mod websocket;
mod websocket_peers;
mod withdrawal;
