//! Where a leaked credential was found, as it may be kept.

use super::fault::{decodings, holds_credential};
use crate::model::Text;

/// What stands behind the scheme of an address.
const MARK: &str = "://";

/// A place as it may be kept: shortened, on one line, and without any credential that its address holds.
pub(super) fn stored_place(place: &str) -> String {
    let plain: String = place.chars().filter(|c| !c.is_control()).take(1000).collect();
    // Queries and fragments are where credentials are, in one spelling or another. Folders are called `C#` too.
    let names_address = |text: &Vec<u8>| memchr::memmem::find(text, MARK.as_bytes()).is_some();
    let address = plain
        .find(MARK)
        .or_else(|| decodings(&plain).is_none_or(|decoded| decoded.iter().any(names_address)).then_some(0));
    let end = match address {
        Some(from) => plain[from..].find(['?', '#']).map(|end| from + end),
        // Of an address without its scheme.
        None => plain.find('?').filter(|end| plain[*end..].contains('=')),
    };
    let place = without_users(&plain[..end.unwrap_or(plain.len())]);
    let decoded = decodings(&place).unwrap_or_default();
    let names_user = |text: &Vec<u8>| {
        let text = String::from_utf8_lossy(text);
        without_users(&text) != text
    };
    let hides = decoded.is_empty() || decoded.iter().any(names_user);
    if hides || holds_credential(&place) || Text::<1000>::parse(&place).is_err() {
        return String::new();
    }
    place
}

/// Addresses without who signs in there, and by which password.
fn without_users(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find(MARK) {
        let (before, after) = rest.split_at(found + MARK.len());
        kept.push_str(before);
        let end = after.find(['/', '\\', ' ']).unwrap_or(after.len());
        rest = &after[after[..end].rfind('@').map_or(0, |at| at + 1)..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{Kind, Plaintext};

    #[test]
    fn places_are_kept_without_credentials() {
        let value = Plaintext::generate(Kind::Token).unwrap();
        let value = value.reveal();
        for (place, kept) in [
            ("https://github.com/a/b/blob/c/.env#L3".to_owned(), "https://github.com/a/b/blob/c/.env"),
            (format!("https://example.com/?t={value}"), "https://example.com/"),
            (format!("https://example.com/{value}"), ""),
            (format!("https://example.com/%70{}?password=x", &value[1..]), ""),
            ("a\nb".to_owned(), "ab"),
            ("https://ann:hunter2@example.com/a@b".to_owned(), "https://example.com/a@b"),
            ("https://a:b@c@d and ftp://e@f".to_owned(), "https://d and ftp://f"),
            ("https%3A//ann:hunter2@example.com/".to_owned(), ""),
            ("git@github.com:a/b".to_owned(), "git@github.com:a/b"),
            ("src/C#/a.cs:1:1".to_owned(), "src/C#/a.cs:1:1"),
            ("who knows? (nightly)".to_owned(), "who knows? (nightly)"),
            ("what? https://example.com/?a#b".to_owned(), "what? https://example.com/"),
            ("example.com/?password=x".to_owned(), "example.com/"),
            ("https%3A//example.com/#password=x".to_owned(), "https%3A//example.com/"),
            ("C#/a: https://example.com/#password=x".to_owned(), "C#/a: https://example.com/"),
            (format!("https://example.com/%{}41", "25".repeat(9)), ""),
            (String::new(), ""),
        ] {
            assert_eq!(stored_place(&place), kept, "{place}");
        }
    }
}
