//! What a browser holds to be known again: random, and here only its hash.

use std::fmt::Write;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of what a browser holds.
pub(super) type Hash = [u8; 32];

/// 256 random bits in hexadecimal.
pub(super) fn draw() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

pub(super) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}
