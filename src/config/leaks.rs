//! `[leaks]`: what happens to a leaked token. Reports are not taken in this version: only the defaults are accepted,
//! and the endpoint's being closed.

use super::section::Section;
use super::value::{Given, path};
use crate::model::Lifetime;

const GITHUB_KEYS: &str = "https://api.github.com/meta/public_keys/secret_scanning";

pub(super) fn read(section: &mut Section<'_>) {
    section.not_yet("github_keys", path, |keys| keys == GITHUB_KEYS || keys == "off");
    section.not_yet("action", revokes, |revokes| *revokes);
}

/// Whether the action is to revoke at once.
fn revokes(given: &Given<'_>) -> Result<bool, String> {
    const WHAT: &str = "\"revoke\", or as in \"grace:1h\"";
    match given.text(WHAT)? {
        "revoke" => Ok(true),
        action => match action.strip_prefix("grace:").map(Lifetime::parse) {
            Some(Ok(_)) => Ok(false),
            Some(Err(_)) | None => Err(format!("wants {WHAT}")),
        },
    }
}
