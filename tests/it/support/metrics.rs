//! What `/metrics` says, read as strictly as Prometheus would.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::Answer;

/// One look at the metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) text: String,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads an answer in either format. Panics where a sample belongs to no family that was described just before, or
    /// is there twice.
    #[track_caller]
    pub(crate) fn read(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = answer.text().to_owned();
        let open = answer.get("content-type").unwrap().starts_with("application/openmetrics-text");
        let (mut samples, mut described) = (BTreeMap::new(), BTreeSet::new());
        let (mut family, mut kind) = ("", "");
        for line in text.lines() {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, help] => {
                    assert!(!help.is_empty() && described.insert(name), "{line}");
                    family = name;
                }
                ["#", "TYPE", name, of] => {
                    assert_eq!(name, family, "{line}");
                    kind = of;
                }
                ["#", "UNIT", name, unit] => {
                    assert!(open && name == family && name.ends_with(unit), "{line}")
                }
                ["#", "EOF"] => assert!(open),
                _ => {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    let bare = name.split('{').next().unwrap();
                    let suffix = bare.strip_prefix(family).unwrap_or_else(|| panic!("{line} in {family}"));
                    let suffixes: &[&str] = match (kind, open) {
                        ("counter", true) => &["_total"],
                        ("info", true) => &["_info"],
                        ("histogram", _) => &["_bucket", "_sum", "_count"],
                        _ => &[""],
                    };
                    assert!(suffixes.contains(&suffix), "{line} in {family} {kind}");
                    assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
                }
            }
        }
        assert_eq!(text.ends_with("# EOF\n"), open);
        Self { text, samples }
    }

    /// A sample by its name, `portcullis_` left out, and its labels; `None` where there is none.
    pub(crate) fn get(&self, sample: &str) -> Option<f64> {
        self.samples.get(&format!("portcullis_{sample}")).copied()
    }

    /// A sample that is there.
    #[track_caller]
    pub(crate) fn of(&self, sample: &str) -> f64 {
        self.get(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.text))
    }

    /// All samples of a name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let named = |sample: &String| sample.split('{').next() == Some(&format!("portcullis_{name}"));
        self.samples.iter().filter(|(sample, _)| named(sample)).map(|(_, value)| value).sum()
    }

    /// Names and labels of everything there is.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }
}
