//! What minting a token and minting a key have in common when something is wrong.

use std::io;

use super::failure::Failure;
use super::text;
use crate::credential::{Kind, Plaintext};

/// The value was minted and could not be handed over: it must not live on unseen.
pub(super) fn lost(kind: &str, id: &str, error: &io::Error) -> Failure {
    let id = text::plain(id);
    Failure::Failed(format!(
        "the {kind} {id} was minted, but its value could not be written ({error}): revoke it with \
         `portcullis {kind} revoke {id}` and mint another"
    ))
}

/// The answer to a mint holds no value.
pub(super) fn withheld(kind: &str, id: &str) -> Failure {
    let id = text::plain(id);
    Failure::Failed(format!(
        "the {kind} {id} was minted, but the answer holds no value: revoke it with \
         `portcullis {kind} revoke {id}` and mint another"
    ))
}

/// `text` stands where an id belongs.
pub(super) fn not_an_id(text: &str, kind: &str, prefix: &str) -> Failure {
    let found = if text::is_credential(text) {
        "this is a value, not an id".to_owned()
    } else {
        format!("`{}` is not the id of a {kind}", text::plain(text))
    };
    let whole = Plaintext::parse(Kind::Token, text.as_bytes()).filter(|_| kind == "token");
    let list = whole.map_or_else(|| "list".to_owned(), |value| format!("list --q {}", value.hint()));
    Failure::Usage(format!(
        "{found}: an id is `{prefix}` and 26 more characters, and `portcullis {kind} {list}` shows them"
    ))
}
