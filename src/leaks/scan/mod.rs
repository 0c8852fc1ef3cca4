//! Finds tokens and management keys in files, in folders, in a stream and in whole git histories. What is found is told
//! by its place, its kind and its hint; the value itself goes to the gateway that minted it, to be ended there, and nowhere else.

mod folder;
mod git;
mod history;
mod origin;
mod pattern;
mod tally;
mod window;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use git::Repository;
use pattern::Pattern;
use window::{Seen, Window};

pub use tally::{Leak, Origin, Place, Spot, Within};

use tally::Tally;

/// What to look through.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    pub paths: Vec<PathBuf>,
    /// The histories of the repositories that hold the paths, too.
    pub history: bool,
    /// What ignore files name, and long binaries, too.
    pub all: bool,
}

/// What was found, and how much was looked through.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of where each was found first.
    pub leaks: Vec<Leak>,
    /// How many more there were than are listed.
    pub unlisted: u64,
    pub files: u64,
    /// Versions of files, and messages, in histories.
    pub objects: u64,
    pub bytes: u64,
    /// Long binaries that were not looked through.
    pub passed_over: u64,
    /// What could not be looked through, of all that was come upon.
    pub warnings: Vec<String>,
    /// How many more warnings there were than are listed.
    pub unsaid: u64,
    /// What could not be looked through, of what was asked for.
    pub failures: Vec<String>,
}

/// Why nothing was looked through.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("{}: {cause}", path.display())]
    Path { path: PathBuf, cause: io::Error },
    #[error("{}: its history cannot be looked through: {message}", path.display())]
    Repository { path: PathBuf, message: String },
    #[error("`git`, which reads histories, cannot be run: {0}")]
    Git(io::Error),
    #[error("the prefixes cannot be searched for: {0}")]
    Pattern(#[from] aho_corasick::BuildError),
}

impl Scan {
    /// Looks through what is wanted, and through `input` first, if there is one.
    ///
    /// # Errors
    /// When a path leads nowhere or has no history; then nothing was looked through.
    pub fn run(&self, input: Option<impl Read>) -> Result<Report, ScanError> {
        let pattern = Pattern::new()?;
        for path in &self.paths {
            fs::metadata(path).map_err(|cause| ScanError::Path { path: path.clone(), cause })?;
        }
        let mut work = Work::new(&pattern, self.all);
        let (repositories, inside) = self.repositories()?;
        if let Some(input) = input {
            let mut window = Window::new(&pattern);
            if let Err(error) = work.look(&mut window, input, None, || Within::Input) {
                work.fail(format!("standard input: {error}"));
            }
        }
        let folders: Vec<_> = self.paths.iter().filter(|path| !inside.contains(*path)).cloned().collect();
        folder::look_through(&folders, &work);
        for repository in repositories {
            if let Err(error) = history::look_through(&repository, &work) {
                work.fail(format!("{}: {error}", repository.name.display()));
            }
            origin::fill_in(&repository, &mut work);
        }
        Ok(work.report())
    }

    /// The repositories that hold the paths, each once, and which of the paths are within what git itself keeps.
    fn repositories(&self) -> Result<(Vec<Repository>, BTreeSet<PathBuf>), ScanError> {
        let (mut found, mut inside) = (Vec::<Repository>::new(), BTreeSet::new());
        for path in self.paths.iter().filter(|_| self.history) {
            let repository = Repository::of(path)?;
            if repository.is_within_itself {
                inside.insert(path.clone());
            }
            if !found.iter().any(|known| known.folder == repository.folder) {
                found.push(repository);
            }
        }
        Ok((found, inside))
    }
}

/// What those who look through things share.
#[derive(Debug)]
struct Work<'p> {
    pattern: &'p Pattern,
    all: bool,
    tally: Mutex<Tally>,
    failures: Mutex<Vec<String>>,
    files: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    passed_over: AtomicU64,
}

impl<'p> Work<'p> {
    fn new(pattern: &'p Pattern, all: bool) -> Self {
        Self {
            pattern,
            all,
            tally: Mutex::default(),
            failures: Mutex::default(),
            files: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            passed_over: AtomicU64::new(0),
        }
    }

    /// Looks through one source, of which `within` tells what it is.
    fn look(
        &self,
        window: &mut Window<'_>,
        source: impl Read,
        length: Option<u64>,
        within: impl Fn() -> Within,
    ) -> io::Result<()> {
        let length = length.filter(|_| !self.all);
        let seen = window
            .look_through(source, length, |found, spot| self.tally().add(found, &within, Some(spot)))?;
        match seen {
            Seen::Whole(bytes) => self.bytes.fetch_add(bytes, Ordering::Relaxed),
            Seen::PassedOver => self.passed_over.fetch_add(1, Ordering::Relaxed),
        };
        Ok(())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, warning: String) {
        self.tally().warn(warning);
    }

    /// Notes that something that was asked for could not be looked through.
    fn fail(&self, failure: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    fn report(self) -> Report {
        let mut tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        Report {
            leaks: tally.leaks(),
            unlisted: tally.unlisted,
            files: self.files.into_inner(),
            objects: self.objects.into_inner(),
            bytes: self.bytes.into_inner(),
            passed_over: self.passed_over.into_inner(),
            warnings: tally.warnings,
            unsaid: tally.unsaid,
            failures: self.failures.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// How many look at once.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(8))
}
