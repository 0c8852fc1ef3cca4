//! Whole histories: every version of every file that a repository holds, once, whether or not a branch still leads to it,
//! and what was written about commits and tags.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::git::{Repository, Running};
use super::window::Window;
use super::{Within, Work, threads};

/// Objects that are asked for together: those beside each other are made from each other.
const TOGETHER: usize = 512;
/// No line that git gives here is nearly as long.
const LONGEST_LINE: u64 = 256;

/// Why a history was not looked through, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HistoryError {
    #[error("its history cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("{count} {} of its history cannot be read", if *.count == 1 { "object" } else { "objects" })]
    Damaged { count: u64 },
}

pub(super) fn look_through(repository: &Repository, work: &Work<'_>) -> Result<(), HistoryError> {
    if repository.is_cut {
        work.warn(format!(
            "{}: a part of the history was never fetched here, and is not looked through",
            repository.name.display()
        ));
    }
    let mut list = repository.command(&["cat-file", "--batch-all-objects", "--unordered"]);
    let (list, names) = Running::start(list.arg("--batch-check=%(objectname) %(objecttype)"))?;
    let names = Mutex::new(BufReader::new(names));
    let history = History { repository, names, work, damaged: AtomicU64::new(0) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(|| history.read())).collect();
        workers.into_iter().try_for_each(|worker| joined(worker.join()))
    })?;
    list.finish()?;
    match history.damaged.into_inner() {
        0 => Ok(()),
        count => Err(HistoryError::Damaged { count }),
    }
}

/// What those who read one history share.
struct History<'a> {
    repository: &'a Repository,
    /// The objects that nobody has asked for yet.
    names: Mutex<BufReader<ChildStdout>>,
    work: &'a Work<'a>,
    damaged: AtomicU64,
}

impl History<'_> {
    /// Reads objects of the list until none is left.
    fn read(&self) -> io::Result<()> {
        let mut command = self.repository.command(&["cat-file", "--batch", "--buffer"]);
        let (mut git, objects) = Running::start(command.stdin(Stdio::piped()))?;
        let input = git.input()?;
        thread::scope(|scope| {
            // Git reads names and writes objects as it likes: whoever did both in turn could wait for ever.
            let asking = scope.spawn(|| self.ask(input));
            let looked = self.look(objects);
            if looked.is_err() {
                drop(git);
                return looked;
            }
            joined(asking.join())?;
            git.finish()
        })
    }

    fn ask(&self, mut input: ChildStdin) -> io::Result<()> {
        while let Some(batch) = self.batch()? {
            input.write_all(batch.as_bytes())?;
        }
        Ok(())
    }

    /// The names of the next objects, a line each; `None` at the end.
    fn batch(&self) -> io::Result<Option<String>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = String::new();
        for taken in 0..TOGETHER {
            let Some(line) = line(&mut *names)? else {
                return Ok(Some(batch).filter(|_| taken > 0));
            };
            match line.split_once(' ') {
                // The names in a tree are those of files and folders.
                Some((_, "tree")) => {}
                Some((name, "blob" | "commit" | "tag")) => {
                    batch.push_str(name);
                    batch.push('\n');
                }
                Some((name, _)) => self.damage(name),
                None => return Err(not_understood()),
            }
        }
        Ok(Some(batch))
    }

    /// Looks through objects as git gives them: a line about each, then its bytes.
    fn look(&self, objects: ChildStdout) -> io::Result<()> {
        let mut objects = BufReader::with_capacity(64 * 1024, objects);
        let mut window = Window::new(self.work.pattern);
        while let Some(line) = line(&mut objects)? {
            let mut words = line.split(' ');
            let (Some(id), Some(kind), size) = (words.next(), words.next(), words.next()) else {
                return Err(not_understood());
            };
            let Some(size) = size.and_then(|size| size.parse::<u64>().ok()) else {
                self.damage(id);
                continue;
            };
            let mut object = (&mut objects).take(size);
            self.work.objects.fetch_add(1, Ordering::Relaxed);
            self.work.look(&mut window, &mut object, Some(size), || {
                let (repository, id) = (self.repository.name.clone(), id.to_owned());
                match kind {
                    "blob" => Within::Blob { repository, id, origin: None },
                    _ => Within::Message { repository, id },
                }
            })?;
            io::copy(&mut object, &mut io::sink())?;
            if object.limit() > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // The end of the line that the object stands on.
            objects.read_exact(&mut [0])?;
        }
        Ok(())
    }

    fn damage(&self, id: &str) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.work.warn(format!("{}: the object {id} cannot be read", self.repository.name.display()));
    }
}

fn joined(result: thread::Result<io::Result<()>>) -> io::Result<()> {
    result.unwrap_or_else(|_| Err(io::Error::other("a thread that reads objects ended early")))
}

/// The next line; `None` at the end.
fn line(source: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    source.take(LONGEST_LINE).read_line(&mut line)?;
    match line.pop() {
        None => Ok(None),
        Some('\n') => Ok(Some(line)),
        Some(_) => Err(not_understood()),
    }
}

fn not_understood() -> io::Error {
    io::Error::other("git gives an answer that is not understood")
}
