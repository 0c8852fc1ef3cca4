//! Every test that looks at the program from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code, and a failed unwrap is a failed test"
)]

mod admin;
mod allocation;
mod answers;
mod cap;
mod cli;
mod clients;
mod conformance;
mod credentials;
mod demo;
mod downgrade;
mod everywhere;
mod framing;
mod fuzz;
mod grpc;
mod headers;
mod health;
mod http2;
mod http2_limits;
mod http2_streams;
mod http2_websocket;
mod inherited;
mod lifecycle;
mod limits;
mod log;
mod metrics;
mod naive;
mod public;
mod readiness;
mod record;
mod refusals;
mod regression;
mod reload;
mod secrecy;
mod secure;
mod shared;
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
