//! What a configuration says, key by key as it was written, so that two of them can be told apart.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

/// Every key with its value. Not for formatting: values may hold what does not belong into a log.
#[derive(Clone, Default)]
pub(super) struct Written(BTreeMap<String, Value>);

impl Written {
    /// The keys of a text that was found valid.
    pub(super) fn of(text: &str) -> Self {
        let mut written = Self::default();
        written.add("", text.parse().unwrap_or_default());
        written
    }

    /// The keys that are not here as they were `before`.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let all = self.0.keys().chain(before.0.keys().filter(|key| !self.0.contains_key(*key)));
        let mut changed: Vec<_> = all.filter(|key| self.0.get(*key) != before.0.get(*key)).cloned().collect();
        changed.sort();
        changed
    }

    fn add(&mut self, path: &str, table: Table) {
        for (key, value) in table {
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            match value {
                Value::Table(table) => self.add(&path, table),
                value => drop(self.0.insert(path, value)),
            }
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_otherwise_has_changed() {
        let before = Written::of("a = 1\n[b]\nc = ['x']\nd = { e = 1 }\n[[f]]\ng = 1\n");
        let same = Written::of("# moved\n[[f]]\ng = 1\n[b.d]\ne = 1\n[b]\nc = [ 'x' ]\n");
        assert_eq!(same.changes(&before), ["a"]);
        let other = Written::of("a = 1\n[b]\nc = ['y']\nh = 2\n[[f]]\ng = 1\n[[f]]\ng = 2\n");
        assert_eq!(other.changes(&before), ["b.c", "b.d.e", "b.h", "f"]);
        assert!(!format!("{:?}", Written::of("a = 'hunter2'")).contains("hunter2"));
    }
}
