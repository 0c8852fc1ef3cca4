//! What is wrong with a configuration, gathered while it is read, and where in the text each finding is.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::SecretName;

/// Something wrong, or doubtful, in the configuration. Values that could not be read are never repeated in the
/// message: they may hold what does not belong into a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    origin: Origin,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    File { path: PathBuf, line: usize, column: usize },
    Variable(String),
}

impl Mistake {
    /// File, line and column, or the name of the variable.
    #[must_use]
    pub fn place(&self) -> String {
        self.origin.to_string()
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A place where a secret is mentioned. Whether there is one is for others to know.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) secret: SecretName,
    /// The path of the table.
    pub(super) table: String,
    origin: Origin,
    /// The path of the key.
    key: String,
}

impl Mention {
    /// A warning about it; `lack` ends its sentence.
    pub(super) fn doubt(&self, lack: &str) -> Mistake {
        let message = format!("`{}` needs $Secret{{{}}}, which {lack}", self.key, self.secret);
        Mistake { origin: self.origin.clone(), message }
    }
}

/// Tokens as the configuration names them. How many there are is for others to know.
#[derive(Clone, Debug)]
pub struct NamedTokens {
    pub name: String,
    origin: Origin,
}

impl NamedTokens {
    /// Something worth saying where they are named.
    #[must_use]
    pub fn remark(&self, message: String) -> Mistake {
        Mistake { origin: self.origin.clone(), message }
    }
}

/// What a reading came to.
pub(super) struct Findings {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Mistake>,
    pub(super) mentions: Vec<Mention>,
    pub(super) named: Vec<NamedTokens>,
}

/// Where a value was given. The order is that of the report: the file first, from its top.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A byte of the file.
    File(usize),
    /// An environment variable.
    Variable(String),
}

impl Place {
    fn located(self, path: &Path, lines: &Lines<'_>) -> Origin {
        match self {
            Self::File(offset) => {
                let (line, column) = lines.locate(offset);
                Origin::File { path: path.to_owned(), line, column }
            }
            Self::Variable(name) => Origin::Variable(name),
        }
    }
}

/// A value and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Lines and columns of a text, as editors count them.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The line, from 1, and the column in characters, from 1.
    pub(super) fn locate(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        (line, self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1)
    }

    fn line_is_header(&self, line: usize) -> bool {
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        self.text.get(start..).is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with('['))
    }
}

/// The findings of one reading.
#[derive(Default)]
pub(super) struct Report {
    syntax: Vec<Finding>,
    mistakes: Vec<Finding>,
    warnings: Vec<Finding>,
    keys: BTreeSet<String>,
    files: Vec<(String, PathBuf, Option<Place>)>,
    /// Table, key, secret.
    mentions: Vec<(Place, String, String, SecretName)>,
    named: Vec<(Place, String)>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: Place,
    message: String,
    /// About something that is not there: it may be hidden behind a syntax error.
    absence: bool,
}

impl Report {
    pub(super) fn syntax(&mut self, offset: usize, message: String) {
        self.syntax.push(Finding { place: Place::File(offset), message, absence: false });
    }

    pub(super) fn mistake(&mut self, place: &Place, message: String) {
        self.mistakes.push(Finding { place: place.clone(), message, absence: false });
    }

    pub(super) fn absence(&mut self, place: &Place, message: String) {
        self.mistakes.push(Finding { place: place.clone(), message, absence: true });
    }

    pub(super) fn warning(&mut self, place: &Place, message: String) {
        self.warnings.push(Finding { place: place.clone(), message, absence: false });
    }

    /// Notes that the key `key` of a table mentions a secret.
    pub(super) fn mention(&mut self, place: &Place, table: &str, key: String, secret: &SecretName) {
        self.mentions.push((place.clone(), table.to_owned(), key, secret.clone()));
    }

    /// Notes that tokens are named.
    pub(super) fn name_tokens(&mut self, place: &Place, name: &str) {
        self.named.push((place.clone(), name.to_owned()));
    }

    /// Notes that the reader knows this key: `gateway.limits.headers`, with `*` for a name of the user's.
    pub(super) fn know(&mut self, key: String) {
        self.keys.insert(key);
    }

    /// Notes that the key `name` names the file `path`; `place` is `None` where it does so by default. No two keys may
    /// share a file: a log would be written into the database, or a socket put in its place.
    pub(super) fn claim(&mut self, name: String, path: PathBuf, place: Option<Place>) {
        if let Some((other, _, elsewhere)) = self.files.iter().find(|(_, file, _)| *file == path) {
            let message = format!("`{name}` and `{other}` are the same file: each needs its own");
            let place = place.as_ref().or(elsewhere.as_ref()).cloned();
            self.mistake(&place.unwrap_or(Place::File(0)), message);
        }
        self.files.push((name, path, place));
    }

    /// How much is wrong so far.
    pub(super) const fn count(&self) -> usize {
        self.mistakes.len()
    }

    /// Every key that was asked for.
    pub(super) const fn keys(&self) -> &BTreeSet<String> {
        &self.keys
    }

    /// Everything, each kind in the order of the file.
    pub(super) fn finish(mut self, path: &Path, lines: &Lines<'_>) -> Findings {
        if !self.syntax.is_empty() {
            self.drop_consequences(lines);
        }
        self.mistakes.append(&mut self.syntax);
        let placed = |mut findings: Vec<Finding>| {
            findings.sort();
            findings.dedup_by(|a, b| a.place == b.place && a.message == b.message);
            findings.into_iter().map(|finding| finding.into_mistake(path, lines)).collect()
        };
        self.mentions.sort();
        self.named.sort();
        let named = |(place, name): (Place, String)| NamedTokens { name, origin: place.located(path, lines) };
        let mention = |(place, table, key, secret): (Place, String, String, SecretName)| Mention {
            secret,
            table,
            origin: place.located(path, lines),
            key,
        };
        Findings {
            mistakes: placed(self.mistakes),
            warnings: placed(self.warnings),
            mentions: self.mentions.into_iter().map(mention).collect(),
            named: self.named.into_iter().map(named).collect(),
        }
    }

    /// After a syntax error the parser guesses what was meant. What that guess alone would be blamed for is not
    /// reported: findings on the same line, about something absent, or below a header that could not be read.
    fn drop_consequences(&mut self, lines: &Lines<'_>) {
        // The first error of a line is what was done wrong; those behind it are mostly the parser finding its way back.
        self.syntax.sort_by(|a, b| a.place.cmp(&b.place));
        self.syntax.dedup_by_key(|error| error.line(lines));
        let broken: BTreeSet<usize> = self.syntax.iter().filter_map(|error| error.line(lines)).collect();
        // A list that does not end where it was meant to swallows what follows, line by line.
        let mut is_first = true;
        self.syntax.retain(|error| {
            std::mem::take(&mut is_first)
                || !error.message.starts_with("missing comma between array elements")
        });
        let headless = broken.iter().copied().find(|line| lines.line_is_header(*line)).unwrap_or(usize::MAX);
        self.mistakes.retain(|finding| {
            !finding.absence
                && finding.line(lines).is_none_or(|line| line < headless && !broken.contains(&line))
        });
    }
}

impl Finding {
    fn line(&self, lines: &Lines<'_>) -> Option<usize> {
        match self.place {
            Place::File(offset) => Some(lines.locate(offset).0),
            Place::Variable(_) => None,
        }
    }

    fn into_mistake(self, path: &Path, lines: &Lines<'_>) -> Mistake {
        Mistake { origin: self.place.located(path, lines), message: self.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "é = 1\n\nx = é\r\nlast";
        let lines = Lines::new(text);
        for (needle, place) in
            [("é =", (1, 1)), ("= 1", (1, 3)), ("x", (3, 1)), ("last", (4, 1)), ("st", (4, 3))]
        {
            assert_eq!(lines.locate(text.find(needle).unwrap()), place, "{needle:?}");
        }
        assert_eq!(lines.locate(1), (1, 1));
        assert_eq!(lines.locate(usize::MAX), (4, 5));
        assert_eq!(Lines::new("").locate(0), (1, 1));
    }
}
