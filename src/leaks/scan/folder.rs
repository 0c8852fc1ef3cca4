//! Files and folders as they are now.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use ignore::{DirEntry, WalkBuilder, WalkState};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::window::Window;
use super::{Within, Work, threads};

/// What git keeps is compressed: it is looked through as a history.
const GIT: &str = ".git";

pub(super) fn look_through(paths: &[PathBuf], work: &Work<'_>) {
    let Some((first, rest)) = paths.split_first() else { return };
    let mut walk = WalkBuilder::new(first);
    for path in rest {
        walk.add(path);
    }
    // Links are not followed: what they lead to is looked through where it lies, or was not asked for. What is hidden
    // is no less a leak: `.env` comes first.
    walk.follow_links(false).hidden(false).threads(threads());
    if work.all {
        walk.standard_filters(false);
    }
    walk.filter_entry(|entry| entry.depth() == 0 || entry.file_name() != GIT);
    walk.build_parallel().run(|| {
        let mut window = Window::new(work.pattern);
        Box::new(move |entry| {
            match entry {
                Ok(entry) => visit(&entry, &mut window, work),
                Err(error) => work.warn(format!("not looked through: {error}")),
            }
            WalkState::Continue
        })
    });
}

fn visit(entry: &DirEntry, window: &mut Window<'_>, work: &Work<'_>) {
    if let Some(error) = entry.error() {
        work.warn(format!("read only in part: {error}"));
    }
    let path = entry.path().strip_prefix("./").unwrap_or_else(|_| entry.path());
    // A download is often named after the whole URL.
    for found in path.file_name().into_iter().flat_map(|name| work.pattern.matches(name.as_bytes())) {
        work.tally().add(&found, || Within::Name(path.to_owned()), None);
    }
    let named = entry.depth() == 0;
    let Some(kind) = entry.file_type().filter(|kind| !kind.is_dir()) else { return };
    if kind.is_symlink() && !named {
        if leads_in_a_circle(path) {
            work.warn(format!("{}: not looked through: a link that leads in a circle", path.display()));
        }
        return;
    }
    let trouble = if kind.is_file() || kind.is_symlink() {
        let looked = open(path).and_then(|(file, length)| {
            work.files.fetch_add(1, Ordering::Relaxed);
            work.look(window, file, Some(length), || Within::File(path.to_owned()))
        });
        looked.err().map(|error| error.to_string())
    } else {
        Some(format!("it is {}, not a file", special(kind)))
    };
    if let Some(trouble) = trouble {
        let message = format!("{}: not looked through: {trouble}", path.display());
        if named { work.fail(message) } else { work.warn(message) }
    }
}

/// Opens a file without waiting, whatever took its place meanwhile.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    Ok((file, metadata.len()))
}

fn leads_in_a_circle(path: &Path) -> bool {
    path.metadata().is_err_and(|error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error()))
}

fn special(kind: std::fs::FileType) -> &'static str {
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
