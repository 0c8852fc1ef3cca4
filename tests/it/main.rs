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
mod credentials;
mod demo;
mod framing;
mod headers;
mod health;
mod lifecycle;
mod limits;
mod public;
mod record;
mod refusals;
mod regression;
mod secrecy;
mod secure;
mod smuggling;
mod stacks;
mod store;
mod streaming;
mod support;
mod tidy;
mod upstream;
mod websocket;
