//! Every test that looks at the program from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code, and a failed unwrap is a failed test"
)]

mod admin;
mod allocation;
mod cli;
mod conformance;
mod credentials;
mod demo;
mod downgrade;
mod framing;
mod headers;
mod http2;
mod http2_limits;
mod http2_streams;
mod http2_websocket;
mod lifecycle;
mod limits;
mod public;
mod record;
mod refusals;
mod regression;
mod secrecy;
mod smuggling;
mod store;
mod streaming;
mod support;
mod tidy;
mod websocket;
