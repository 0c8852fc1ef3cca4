//! Text from elsewhere made fit for a terminal and for messages.

use std::borrow::Cow;

use crate::credential::{Kind, LENGTH};

/// `text` with everything escaped that could move the cursor, paint, break the line, or turn the reading direction.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let risky = turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            let escaped = risky.then(|| c.escape_default());
            let kept = (!risky).then_some(c);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}

/// `text` with every credential in it cut down to its prefix: people paste values where names belong, and messages
/// end up in logs.
pub(super) fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for prefix in Kind::ALL.map(Kind::prefix) {
        let mut from = 0;
        while let Some(found) = out.get(from..).and_then(|rest| rest.find(prefix)) {
            let start = from + found + prefix.len();
            let rest = out.get(start..).unwrap_or_default();
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            // A shortened or misspelt value is still most of a secret.
            if length >= LENGTH / 4 {
                out.to_mut().replace_range(start..start + length, "…");
            }
            from = start;
        }
    }
    out
}

/// Whether `text` looks like a credential rather than the name of one.
pub(super) fn is_credential(text: &str) -> bool {
    Kind::ALL.iter().any(|kind| text.starts_with(kind.prefix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}d\u{2028}é “”"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{2028}é “”");
    }

    #[test]
    fn credentials_are_cut_out_of_messages() {
        let token = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
        let key = "pcm_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
        assert_eq!(redacted(&format!("unknown '{token}' or '{key}'")), "unknown 'pct_…' or 'pcm_…'");
        assert_eq!(redacted("é pct_zQWBuTSOoRi pct_"), "é pct_… pct_");
        assert!(matches!(redacted("a key begins with pcm_"), Cow::Borrowed(_)));
    }
}
