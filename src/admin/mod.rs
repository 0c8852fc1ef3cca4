//! The side that mints, lists and revokes.

pub mod wire;
