//! Portcullis, an authenticating reverse proxy.

pub mod admin;
pub mod board;
pub mod cli;
pub mod config;
pub mod credential;
pub mod demo;
pub mod gateway;
pub mod index;
pub mod model;
pub mod serve;
pub mod telemetry;
