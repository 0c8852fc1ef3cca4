//! Credentials where they do not belong.

pub mod scan;
