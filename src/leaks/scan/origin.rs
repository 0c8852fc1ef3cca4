//! Which commit brought what was found into a history, and under which path: asked only where something was found.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::Stdio;

use super::git::{Repository, Running};
use super::{Origin, Within, Work};

/// No record of a change is nearly as long.
const LONGEST_RECORD: u64 = 64 * 1024;

pub(super) fn fill_in(repository: &Repository, work: &mut Work<'_>) {
    let mut wanted = HashMap::new();
    for place in work.tally().places() {
        if let Within::Blob { repository: of, id, .. } = &place.within
            && *of == repository.name
        {
            wanted.insert(id.clone(), None);
        }
    }
    if wanted.is_empty() {
        return;
    }
    if let Err(error) = find(repository, &mut wanted) {
        work.warn(format!("{}: not every commit could be named: {error}", repository.name.display()));
    }
    for place in work.tally().places() {
        if let Within::Blob { repository: of, id, origin } = &mut place.within
            && *of == repository.name
        {
            *origin = wanted.get(id).cloned().flatten();
        }
    }
}

/// Walks the history from its beginning until all that is wanted was met.
fn find(repository: &Repository, wanted: &mut HashMap<String, Option<Origin>>) -> io::Result<()> {
    let mut commits = repository.command(&["rev-list", "--topo-order", "--reverse", "--all", "--reflog"]);
    let (commits, list) = Running::start(commits.stdin(Stdio::null()))?;
    let mut changes = repository.command(&["diff-tree", "--stdin", "--root", "-r", "-m", "--raw", "-z"]);
    changes.args(["--no-renames", "--no-abbrev"]).stdin(list);
    let (changes, records) = Running::start(&mut changes)?;
    let mut records = BufReader::new(records);
    let (mut commit, mut left) = (String::new(), wanted.len());
    while let Some(record) = record(&mut records)? {
        let Some(change) = record.strip_prefix(b":") else {
            commit = String::from_utf8_lossy(&record).into_owned();
            continue;
        };
        let path = self::record(&mut records)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        // Modes before and after, then the objects before and after, then what kind of a change it is.
        let new = change.split(|byte| *byte == b' ').nth(3).map(String::from_utf8_lossy);
        let Some(origin) = new.and_then(|id| wanted.get_mut(&*id)).filter(|origin| origin.is_none()) else {
            continue;
        };
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        *origin = Some(Origin { commit: commit.clone(), path });
        left -= 1;
        if left == 0 {
            return Ok(());
        }
    }
    changes.finish()?;
    commits.finish()
}

/// What stands before the next zero; `None` at the end.
fn record(source: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut record = Vec::new();
    source.take(LONGEST_RECORD).read_until(0, &mut record)?;
    match record.pop() {
        None => Ok(None),
        Some(0) => Ok(Some(record)),
        Some(_) => Err(io::Error::other("git gives an answer that is not understood")),
    }
}
