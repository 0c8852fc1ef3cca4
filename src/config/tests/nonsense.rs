//! Whatever the file says, it is judged and nothing panics.

use proptest::prelude::*;

use super::example::whole_example;
use super::read;

proptest! {
    #[test]
    fn any_text_is_judged_without_panic(text: String, value: String) {
        let _ = read(&text, &[("PORTCULLIS_GATEWAY__LISTEN", &value), ("PORTCULLIS_TOKENS__MAX_LIFETIME", &value)]);
    }

    #[test]
    fn text_in_the_manner_of_toml_is_judged_without_panic(text in "([\\[\\]{}='\"#.,\n a-c0-9éx_:+-]|gateway|apps|hosts|tls|\\[\\[){0,60}") {
        let _ = read(&text, &[]);
    }

    #[test]
    fn a_mutated_configuration_is_judged_without_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[\\[\\]{}='\"#.,\n a0éx-]{0,4}"), 1..4),
    ) {
        let mut text: Vec<char> = whole_example().chars().collect();
        for (at, length, instead) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, instead.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = read(&text, &[]) {
            prop_assert!(!mistakes.is_empty());
        }
    }
}
