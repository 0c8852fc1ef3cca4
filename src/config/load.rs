//! Reads `proxy.toml` as a whole: every mistake of the file in one run, or the configuration.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::report::{Findings, Lines, Mention, Mistake, NamedTokens, Place, Report};
use super::section::{PREFIX, Section, Source, instead, variable};
use super::written::Written;
use super::{App, Config, Environment, admin, apps, gateway, leaks, notify, secrets, store, tokens};
use crate::model::SecretName;

/// Far above any configuration, and far below what could hurt.
const LONGEST: u64 = 8 << 20;

/// A valid configuration, and what is doubtful about it.
#[derive(Clone)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Mistake>,
    /// Those that live on for a while when they leak.
    pub graced: Vec<NamedTokens>,
    mentions: Vec<Mention>,
    written: Written,
    path: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Loaded {
    /// Reads the file again, with the same variables, for a gateway that runs.
    ///
    /// # Errors
    /// As [`load_to_serve`].
    pub fn again(&self) -> Result<Self, LoadError> {
        load_to_serve(&self.path, self.variables.clone())
    }

    /// What to warn of where a secret is mentioned that `lack` has something to say of, as the end of a sentence; it is
    /// asked without a place for what the gateway needs for itself.
    #[must_use]
    pub fn lacking(
        &self,
        lack: impl Fn(&SecretName, Option<(&App, &Environment)>) -> Option<&'static str>,
    ) -> Vec<Mistake> {
        let place = |path: &str| {
            self.config.apps.iter().find_map(|app| {
                let of = |environment: &&Environment| {
                    path == format!("apps.{}.environments.{}", app.name, environment.name)
                };
                Some((app, app.environments.iter().find(of)?))
            })
        };
        let doubt = |mention: &Mention| Some(mention.doubt(lack(&mention.secret, place(&mention.table))?));
        self.mentions.iter().filter_map(doubt).collect()
    }

    /// The keys that the file sets otherwise than it did before.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<String> {
        self.written.changes(&before.written)
    }
}

/// Shows nothing of the variables, among which the command line's key may be.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, warnings, .. } = self;
        f.debug_struct("Loaded").field("config", config).field("warnings", warnings).finish_non_exhaustive()
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Never empty; in the order of the file, what the environment got wrong last.
    #[error("{}", one_per_line(.0))]
    Invalid(Vec<Mistake>),
}

/// Reads the configuration at `path`, with the `PORTCULLIS_SECTION__KEY` among `variables` in place of what it says.
/// The files that it names are left alone: who only wants to know where the socket is may not be allowed to read them.
///
/// # Errors
/// When the file cannot be read, or anything in it or in the variables is wrong.
pub fn load(path: &Path, variables: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, LoadError> {
    read_file(path, variables, false)
}

/// The same for whoever is going to serve with it: what the files hold that it names is judged too.
///
/// # Errors
/// When the file cannot be read, or anything in it, in the variables or in those files is wrong.
pub fn load_to_serve(
    path: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, LoadError> {
    read_file(path, variables, true)
}

/// Reads the configuration in `text`. Messages call it `path`; the paths in it are relative to `base`.
///
/// # Errors
/// When anything in it or in the variables is wrong.
pub fn parse(
    text: &str,
    path: &Path,
    base: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, LoadError> {
    judge(text, path, base, variables, false)
}

fn read_file(
    path: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
    files: bool,
) -> Result<Loaded, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        let wrong = format!("longer than {} MiB: is this the configuration?", LONGEST >> 20);
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, wrong)));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
            let mut report = Report::default();
            report.syntax(valid, "is not UTF-8: save the file in that encoding".to_owned());
            return Err(LoadError::Invalid(report.finish(path, &Lines::new(&before)).mistakes));
        }
    };
    judge(&text, path, path.parent().unwrap_or(Path::new("")), variables, files)
}

fn judge(
    text: &str,
    path: &Path,
    base: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
    files: bool,
) -> Result<Loaded, LoadError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let variables: BTreeMap<_, _> =
        variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    let source = Source { lines: Lines::new(text), base, variables: &variables, files };
    let (config, report) = read(text, &source);
    let Findings { mistakes, warnings, mentions, named } = report.finish(path, &source.lines);
    if !mistakes.is_empty() {
        return Err(LoadError::Invalid(mistakes));
    }
    let (written, path) = (Written::of(text), path.to_owned());
    Ok(Loaded { config, warnings, graced: named, mentions, written, path, variables })
}

fn read(text: &str, source: &Source<'_>) -> (Config, Report) {
    let mut report = Report::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        match (error.message(), text.get(span.clone())) {
            // Not a matter of syntax: nothing is lost but the second value. Which key it is, the parser leaves out.
            ("duplicate key", Some(key)) => {
                let wrong = format!("`{}` is given twice: keep one", key.escape_debug());
                report.mistake(&Place::File(span.start), wrong);
            }
            (message, _) => report.syntax(span.start, message.replace('\n', " ")),
        }
    }
    let config = Section::root(source, &mut report, table.get_ref(), |root| {
        let gateway = root.table("gateway", gateway::read);
        let admin = root.table("admin", |section| admin::read(section, &gateway));
        let store = root.table("store", store::read);
        let tokens = root.table("tokens", tokens::read);
        let secrets = root.table("secrets", secrets::read);
        let leaks = root.table("leaks", leaks::read);
        let notify = root.table("notify", notify::read);
        let apps = apps::read(root, &gateway, &admin);
        Config { gateway, admin, store, tokens, secrets, leaks, notify, apps }
    });
    unknown_variables(&mut report, source.variables);
    (config, report)
}

/// Variables that look like overrides of keys, but are none.
fn unknown_variables(report: &mut Report, variables: &BTreeMap<String, String>) {
    let known: Vec<String> = report.keys().iter().filter_map(|key| variable(key)).collect();
    for name in variables.keys() {
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        if !rest.contains("__") || known.contains(name) {
            continue;
        }
        let wrong = if rest.starts_with("APPS__") {
            "apps are set in the file only".to_owned()
        } else {
            format!("overrides no key: {}", instead(name, &known))
        };
        report.mistake(&Place::Variable(name.clone()), wrong);
    }
}

fn one_per_line(mistakes: &[Mistake]) -> String {
    let mut lines = String::new();
    for (number, mistake) in mistakes.iter().enumerate() {
        let newline = if number == 0 { "" } else { "\n" };
        // Writing into a string cannot fail.
        let _ = write!(lines, "{newline}{mistake}");
    }
    lines
}

/// Every key that reading `text` asks for.
#[cfg(test)]
pub(super) fn keys(text: &str) -> std::collections::BTreeSet<String> {
    let source =
        Source { lines: Lines::new(text), base: Path::new(""), variables: &BTreeMap::new(), files: false };
    read(text, &source).1.keys().clone()
}
