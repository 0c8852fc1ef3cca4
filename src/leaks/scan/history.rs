//! Whole histories: every version of every file that a repository holds, once, whether or not a branch still leads to it,
//! and what was written about commits and tags.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::git::{Repository, Running};
use super::window::Window;
use super::{Within, Work, threads};

/// Objects that are asked for together: those beside each other are made from each other.
const TOGETHER: usize = 512;
/// No line that git gives here is nearly as long.
const LONGEST_LINE: u64 = 256;

pub(super) fn look_through(repository: &Repository, work: &Work<'_>) -> io::Result<()> {
    if repository.is_cut {
        work.warn(format!(
            "{}: a part of the history was never fetched here, and is not looked through",
            repository.name.display()
        ));
    }
    let mut list = repository.command(&["cat-file", "--batch-all-objects", "--unordered"]);
    let (list, names) =
        Running::start(list.arg("--batch-check=%(objecttype) %(objectname)").stdin(Stdio::null()))?;
    let names = Mutex::new(BufReader::new(names));
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads()).map(|_| scope.spawn(|| read(repository, &names, work))).collect();
        workers.into_iter().try_for_each(|worker| joined(worker.join()))
    })?;
    list.finish()
}

fn joined(result: thread::Result<io::Result<()>>) -> io::Result<()> {
    result.unwrap_or_else(|_| Err(io::Error::other("a thread that reads objects ended early")))
}

/// Reads objects of the list until none is left.
fn read(repository: &Repository, names: &Mutex<BufReader<ChildStdout>>, work: &Work<'_>) -> io::Result<()> {
    let mut command = repository.command(&["cat-file", "--batch", "--buffer"]);
    let (mut git, objects) = Running::start(command.stdin(Stdio::piped()))?;
    let input = git.input()?;
    thread::scope(|scope| {
        // Git reads names and writes objects as it likes: whoever did both in turn could wait for ever.
        let asking = scope.spawn(|| ask(names, input));
        let looked = look(repository, objects, work);
        if looked.is_err() {
            drop(git);
            return looked;
        }
        joined(asking.join())?;
        git.finish()
    })
}

fn ask(names: &Mutex<BufReader<ChildStdout>>, mut input: ChildStdin) -> io::Result<()> {
    loop {
        let mut batch = String::new();
        {
            let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..TOGETHER {
                let Some(line) = line(&mut *names)? else { break };
                match line.split_once(' ') {
                    // The names in a tree are those of files and folders.
                    Some(("tree", _)) => {}
                    Some((_, name)) => {
                        batch.push_str(name);
                        batch.push('\n');
                    }
                    None => return Err(not_understood()),
                }
            }
            if batch.is_empty() && names.fill_buf()?.is_empty() {
                return Ok(());
            }
        }
        input.write_all(batch.as_bytes())?;
    }
}

/// Looks through objects as git gives them: a line about each, then its bytes.
fn look(repository: &Repository, objects: ChildStdout, work: &Work<'_>) -> io::Result<()> {
    let mut objects = BufReader::with_capacity(64 * 1024, objects);
    let mut window = Window::new(work.pattern);
    while let Some(line) = line(&mut objects)? {
        let mut words = line.split(' ');
        let (Some(id), Some(kind), size) = (words.next(), words.next(), words.next()) else {
            return Err(not_understood());
        };
        let Some(size) = size.and_then(|size| size.parse::<u64>().ok()) else {
            work.warn(format!("{}: the object {id} is {kind}", repository.name.display()));
            continue;
        };
        let mut object = (&mut objects).take(size);
        work.objects.fetch_add(1, Ordering::Relaxed);
        work.look(&mut window, &mut object, Some(size), || {
            let (repository, id) = (repository.name.clone(), id.to_owned());
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
