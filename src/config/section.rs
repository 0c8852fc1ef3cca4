//! One table of `proxy.toml` on its way into a struct: hands out typed values, from the environment where a variable
//! overrides the file, gathers mistakes, and reports the keys that nothing asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Lines, Place, Placed, Report};
use super::value::{Given, Raw};
use crate::model::SecretName;

/// What every variable that overrides a key begins with.
pub(super) const PREFIX: &str = "PORTCULLIS_";
/// Longest name of a user's that a message repeats.
const SHOWN: usize = 64;

/// What a configuration is read from.
pub(super) struct Source<'a> {
    pub(super) lines: Lines<'a>,
    /// What relative paths are relative to.
    pub(super) base: &'a Path,
    pub(super) variables: &'a BTreeMap<String, String>,
    /// Whether the files that it names are read and judged too.
    pub(super) files: bool,
}

/// One table, there or not.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    report: &'a mut Report,
    table: Option<&'a DeTable<'a>>,
    place: Place,
    /// As people write it: `apps.shop.environments.production`.
    path: String,
    /// With `*` for the names that are the user's: `apps.*.environments.*`.
    pattern: String,
    asked: Vec<&'static str>,
}

/// A list and its readable entries.
pub(super) struct List<T> {
    pub(super) items: Vec<Placed<T>>,
    pub(super) place: Place,
}

impl<'a> Section<'a> {
    /// Reads the whole file.
    pub(super) fn root<T>(
        source: &'a Source<'a>,
        report: &'a mut Report,
        table: &'a DeTable<'a>,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let place = Place::File(0);
        Section {
            source,
            report,
            table: Some(table),
            place,
            path: String::new(),
            pattern: String::new(),
            asked: Vec::new(),
        }
        .finish(read)
    }

    /// Reads the value of `key`; `None` if it is not given, or wrong, which is then reported.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        kind: impl FnOnce(&Given<'_>) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let given = self.given(key)?;
        let place = given.place.clone();
        match kind(&given) {
            Ok(value) => Some(Placed { value, place }),
            Err(wrong) => {
                self.mistake(&place, key, &wrong);
                None
            }
        }
    }

    /// Reads the value of `key`, `default` where it is not given.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        kind: impl FnOnce(&Given<'_>) -> Result<T, String>,
    ) -> T {
        self.read(key, kind).map_or(default, |read| read.value)
    }

    /// Notes that `key` names a file of its own, `place` being `None` where it does so by default, and gives its path
    /// in full.
    pub(super) fn claim(&mut self, key: &'static str, path: &str, place: Option<Place>) -> PathBuf {
        let path = self.resolve(path);
        let name = self.name(key);
        self.report.claim(name, path.clone(), place);
        path
    }

    /// A path in full: what is relative is so to the folder of `proxy.toml`.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.source.base.join(path)
    }

    /// Whether the files that are named are to be looked into.
    pub(super) const fn looks_into_files(&self) -> bool {
        self.source.files
    }

    /// Whether the table is in the file.
    pub(super) const fn is_given(&self) -> bool {
        self.table.is_some()
    }

    /// Reads a list; `None` if it is not given or none.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        kind: impl Fn(&Given<'_>) -> Result<T, String>,
    ) -> Option<List<T>> {
        let given = self.given(key)?;
        let place = given.place.clone();
        let values = match given.items(what) {
            Ok(values) => values,
            Err(wrong) => {
                self.mistake(&place, key, &wrong);
                return None;
            }
        };
        let mut items = Vec::with_capacity(values.len());
        for given in values {
            match kind(&given) {
                Ok(value) => items.push(Placed { value, place: given.place }),
                Err(wrong) => {
                    let name = self.name(key);
                    self.report.mistake(&given.place, format!("an entry of `{name}` {wrong}"));
                }
            }
        }
        Some(List { items, place })
    }

    /// Reads a list that must hold something.
    pub(super) fn full_list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        kind: impl Fn(&Given<'_>) -> Result<T, String>,
    ) -> Option<List<T>> {
        let before = self.report.count();
        let list = self.list(key, what, kind)?;
        // A list all of whose entries are wrong is not empty, and was reported.
        if list.items.is_empty() && self.report.count() == before {
            self.mistake(&list.place, key, &format!("is empty: it wants {what}"));
        }
        Some(list)
    }

    /// Reads the table `key`, which counts as empty where it is not given.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.asked.push(key);
        let found = self.find(key);
        let table = found.and_then(|(_, value)| value.get_ref().as_table());
        let place = found.map_or_else(|| self.place.clone(), |(key, _)| Place::File(key));
        if let (Some((_, value)), None) = (found, table) {
            let given = Given::toml(value.get_ref(), value.span().start);
            let wrong = given.unlike(&format!("a table, as in `[{}]`", self.name(key)));
            self.mistake(&given.place, key, &wrong);
        }
        self.enter(key, key, place, table).finish(read)
    }

    /// Reads the tables of the list `key`, in the order of the file; none where it is not given.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        self.asked.push(key);
        let what = format!("a list of tables, as in `[[{}]]`", self.name(key));
        let Some((_, value)) = self.find(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            let given = Given::toml(value.get_ref(), value.span().start);
            self.mistake(&given.place, key, &given.unlike(&what));
            return Vec::new();
        };
        let mut done = Vec::with_capacity(items.len());
        for item in items.iter() {
            let given = Given::toml(item.get_ref(), item.span().start);
            let Some(table) = item.get_ref().as_table() else {
                self.mistake(&given.place, key, &given.unlike(&what));
                continue;
            };
            let mut inner = self.enter(key, key, given.place, Some(table));
            inner.pattern.push_str(".*");
            done.push(inner.finish(&mut read));
        }
        done
    }

    /// Reads the table `key`; `None` if it is not given.
    pub(super) fn given_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let Some((_, value)) = self.find(key) else {
            self.asked.push(key);
            return None;
        };
        if value.get_ref().as_table().is_none() {
            self.table(key, |_| ());
            return None;
        }
        self.table(key, read)
    }

    /// Reads the tables under `key`, whose names are the user's, in the order of the file.
    pub(super) fn entries<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&Placed<String>, &mut Section<'_>) -> T,
    ) -> Vec<T> {
        self.table(key, |section| {
            let mut entries: Vec<_> = section.table.into_iter().flat_map(|table| table.iter()).collect();
            entries.sort_by_key(|(name, _)| name.span().start);
            let mut done = Vec::with_capacity(entries.len());
            for (name, value) in entries {
                let name =
                    Placed { value: name.get_ref().to_string(), place: Place::File(name.span().start) };
                let shown = shown(&name.value);
                let Some(table) = value.get_ref().as_table() else {
                    let given = Given::toml(value.get_ref(), value.span().start);
                    let wrong = given.unlike(&format!("a table, as in `[{}]`", section.name(&shown)));
                    section.mistake(&given.place, &shown, &wrong);
                    continue;
                };
                let entry = section.enter(&shown, "*", name.place.clone(), Some(table));
                done.push(entry.finish(|section| read(&name, section)));
            }
            // The names are the user's: none is unknown.
            section.table = None;
            done
        })
    }

    /// Reads the tables under `key`, of which there must be one.
    pub(super) fn full_entries<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnMut(&Placed<String>, &mut Section<'_>) -> T,
    ) -> Vec<T> {
        let before = self.report.count();
        let entries = self.entries(key, read);
        if entries.is_empty() && self.report.count() == before {
            self.lacks(key, wanted);
        }
        entries
    }

    /// How much is wrong so far, in the whole file.
    pub(super) const fn count(&self) -> usize {
        self.report.count()
    }

    /// Notes what is wrong with the value of `key`.
    pub(super) fn mistake(&mut self, place: &Place, key: &str, wrong: &str) {
        let name = self.name(key);
        self.report.mistake(place, format!("`{name}` {wrong}"));
    }

    /// Notes what is wrong with the table as a whole.
    pub(super) fn wrong(&mut self, place: &Place, wrong: &str) {
        self.report.mistake(place, format!("`{}` cannot be used: {wrong}", self.path));
    }

    /// Notes that `key` is missing, if it is.
    pub(super) fn missing(&mut self, key: &str, wanted: &str) {
        let overridden = variable(&join(&self.pattern, key))
            .is_some_and(|variable| self.source.variables.contains_key(&variable));
        if self.find(key).is_none() && !overridden {
            self.lacks(key, wanted);
        }
    }

    /// Notes something legal but doubtful about the value of `key`.
    pub(super) fn warning(&mut self, place: &Place, key: &str, doubt: &str) {
        let name = self.name(key);
        self.report.warning(place, format!("`{name}` {doubt}"));
    }

    /// Notes that the value of `key` mentions a secret.
    pub(super) fn mention(&mut self, place: &Place, key: &str, secret: &SecretName) {
        let name = self.name(key);
        self.report.mention(place, &self.path, name, secret);
    }

    /// Notes that tokens are named there.
    pub(super) fn name_tokens(&mut self, place: &Place, name: &str) {
        self.report.name_tokens(place, name);
    }

    /// Notes something legal but doubtful about the whole table.
    pub(super) fn doubt(&mut self, doubt: &str) {
        self.report.warning(&self.place, doubt.to_owned());
    }

    /// Where the table is in the file.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Which table it is, as people write it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A place as a message elsewhere refers to it.
    pub(super) fn locate(&self, place: &Place) -> String {
        match place {
            Place::File(offset) => {
                let (line, column) = self.source.lines.locate(*offset);
                format!("line {line}, column {column}")
            }
            Place::Variable(name) => name.clone(),
        }
    }

    fn lacks(&mut self, key: &str, wanted: &str) {
        let path = &self.path;
        let place = &self.place;
        self.report.absence(place, format!("`{path}` lacks `{key}`: it wants {wanted}"));
    }

    fn given(&mut self, key: &'static str) -> Option<Given<'a>> {
        self.asked.push(key);
        let pattern = join(&self.pattern, key);
        let variable = variable(&pattern);
        self.report.know(pattern);
        if let Some((name, text)) = variable.and_then(|name| self.source.variables.get_key_value(&name)) {
            return Some(Given { raw: Raw::Text(text), place: Place::Variable(name.clone()) });
        }
        let (_, value) = self.find(key)?;
        Some(Given::toml(value.get_ref(), value.span().start))
    }

    fn find(&self, key: &str) -> Option<(usize, &'a Spanned<DeValue<'a>>)> {
        let (name, value) = self.table?.get_key_value(key)?;
        // Where the value could not be read, the parser puts one that is nowhere.
        (value.span().end > 0).then(|| (name.span().start, value))
    }

    fn enter<'b>(
        &'b mut self,
        key: &str,
        pattern: &str,
        place: Place,
        table: Option<&'b DeTable<'b>>,
    ) -> Section<'b> {
        Section {
            source: self.source,
            path: join(&self.path, key),
            pattern: join(&self.pattern, pattern),
            report: &mut *self.report,
            table,
            place,
            asked: Vec::new(),
        }
    }

    fn name(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Reads, then reports the keys that were not asked for.
    fn finish<T>(mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let done = read(&mut self);
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            if self.asked.iter().all(|asked| *asked != key.get_ref().as_ref()) {
                let instead = instead(key.get_ref(), &self.asked);
                let name = self.name(&shown(key.get_ref()));
                let place = Place::File(key.span().start);
                self.report.mistake(&place, format!("`{name}` is not a key: {instead}"));
            }
        }
        done
    }
}

/// The variable that overrides a key; none does where a name in it is the user's.
pub(super) fn variable(pattern: &str) -> Option<String> {
    (pattern.contains('.') && !pattern.contains('*'))
        .then(|| format!("{PREFIX}{}", pattern.replace('.', "__").to_ascii_uppercase()))
}

/// Which of the known names was meant, or all of them.
pub(super) fn instead(name: &str, known: &[impl AsRef<str>]) -> String {
    let near = known
        .iter()
        .map(AsRef::as_ref)
        .filter(|_| name.len() <= SHOWN)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = known.iter().map(|known| format!("`{}`", known.as_ref())).collect();
            format!("known here are {}", known.join(", "))
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A name of the user's, fit for one line.
fn shown(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let mut short: String = name.chars().take(SHOWN).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    if bare { short } else { format!("{short:?}") }
}
