//! Portcullis, an authenticating reverse proxy: lets in what cannot sign in, with tokens that can be taken back.
//!
//! # The map
//!
//! A **request** goes one way, through the files of [`gateway`] in this order:
//!
//! ```text
//! socket → TLS → guard → HTTP → request → route → credential → authenticate → authorize → forward → response → record
//! ```
//!
//! A **change** goes one way too, wherever it came from:
//!
//! ```text
//! command line / API client → admin → control → store → change feed → sync → index → gateway
//! ```
//!
//! The two meet in [`index`], which the follower writes and the gateway reads, and on the [`board`], where the
//! gateway posts what it learned and is asked to end what is in flight.
//!
//! # What always holds
//!
//! - The gateway never imports store, control, sync or admin.
//! - Only `sync` holds [`index::Writer`]; only `control` changes rows (last use apart).
//! - The stages that decide are pure: no `async`, no clock, no I/O; `now` is an argument.
//! - Only `authorize` makes a [`gateway::authorize::Permit`], and only a permit is forwarded.
//! - No credential reaches a formatter: [`credential::Plaintext`] and [`credential::Digest`] show nothing of themselves.
//!
//! `tests/it/tidy.rs` keeps the walls between the modules; `ARCHITECTURE.md` says why they stand where they do.

pub mod admin;
pub mod board;
pub mod cli;
pub mod config;
pub mod control;
pub mod credential;
pub mod demo;
pub mod gateway;
pub mod index;
pub mod leaks;
pub mod model;
pub mod outgoing;
pub mod secrets;
pub mod serve;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tls;
