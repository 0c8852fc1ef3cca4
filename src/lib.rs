pub mod admin;
pub mod board;
pub mod config;
pub mod credential;
pub mod index;
pub mod model;
pub mod store;
pub mod sync;
