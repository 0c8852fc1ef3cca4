pub mod admin;
pub mod board;
pub mod config;
pub mod credential;
pub mod gateway;
pub mod index;
pub mod model;
pub mod telemetry;
