//! The access log: lines are taken without ever waiting for a disk, and written by a thread of their own.
//!
//! A disk that is slow or full costs lines, which are counted. It never costs half a line: what was begun is finished
//! first once there is room again.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::cells::Counter;

/// Batches of lines that may wait for the disk; each is at most some tens of kilobytes.
const WAITING: usize = 256;

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Stdout,
    Off,
    File(PathBuf),
}

/// A sink that can be written to.
#[derive(Debug)]
pub struct Output<F = File> {
    /// `None`: lines are not wanted.
    file: Option<F>,
    /// `None`: what has no name to be opened under.
    path: Option<PathBuf>,
    /// The rest of a line whose beginning is in the file.
    torn: Vec<u8>,
}

/// The handle that takes lines.
#[derive(Debug)]
pub struct AccessLog {
    batches: SyncSender<Batch>,
    on: AtomicBool,
    /// Where to write from the next batch on.
    next: Arc<Mutex<Option<Output>>>,
    counts: Arc<LogCounts>,
}

/// What went wrong since the start.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Lines that are in no file.
    pub dropped: Counter,
    pub write_errors: Counter,
    /// Lines are being dropped because they come faster than they can be written.
    behind: AtomicBool,
    /// The file is to be opened anew before the next line.
    reopen: AtomicBool,
}

enum Batch {
    Lines(Vec<u8>),
    /// Look whether lines are to go elsewhere.
    Wake,
}

/// The thread that writes; ends once every handle to its log is gone. What it holds is closed by its end.
#[derive(Debug)]
pub struct LogThread(Receiver<()>);

impl Output {
    /// # Errors
    /// When a file cannot be opened for appending.
    pub fn open(sink: Sink) -> io::Result<Self> {
        let (file, path) = match sink {
            Sink::Off => (None, None),
            Sink::Stdout => (Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)), None),
            Sink::File(path) => (Some(append_to(&path)?), Some(path)),
        };
        let torn = path.as_deref().map_or_else(Vec::new, rest_of_last_line);
        Ok(Self { file, path, torn })
    }
}

impl AccessLog {
    /// Starts writing to `output`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(output: Output) -> io::Result<(Self, LogThread)> {
        let (batches, waiting) = sync_channel(WAITING);
        let (running, ended) = sync_channel(1);
        let on = AtomicBool::new(output.file.is_some());
        let (counts, next) = (Arc::<LogCounts>::default(), Arc::new(Mutex::new(None)));
        let mut writer = Writer { output, counts: counts.clone(), failing: false };
        let coming = next.clone();
        let write = move || {
            writer.run(&coming, &waiting);
            drop(running);
        };
        std::thread::Builder::new().name("access-log".into()).spawn(write)?;
        Ok((Self { batches, on, next, counts }, LogThread(ended)))
    }

    /// Whether lines are wanted at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Hands over whole lines. Where the disk is too slow they are dropped and counted.
    pub fn write(&self, lines: Vec<u8>) {
        if let Err(
            TrySendError::Full(Batch::Lines(lines)) | TrySendError::Disconnected(Batch::Lines(lines)),
        ) = self.batches.try_send(Batch::Lines(lines))
        {
            self.counts.dropped.add(count(&lines));
            if !self.counts.behind.swap(true, Ordering::Relaxed) {
                tracing::warn!("access-log lines are being dropped: its disk does not keep up");
            }
        }
    }

    /// Opens the file anew under its name, after it was moved away.
    pub fn reopen(&self) {
        self.counts.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Writes elsewhere from here on.
    pub fn switch(&self, output: Output) {
        self.on.store(output.file.is_some(), Ordering::Relaxed);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
        self.wake();
    }

    /// What went wrong, as it goes on being counted.
    #[must_use]
    pub fn counts(&self) -> Arc<LogCounts> {
        self.counts.clone()
    }

    fn wake(&self) {
        // The thread looks at each batch; where the queue is full there is one.
        let _ = self.batches.try_send(Batch::Wake);
    }
}

impl LogThread {
    /// Waits until everything handed over is written, or `limit` has passed: a pipe that nobody reads takes for ever.
    pub fn join(self, limit: Duration) {
        if let Err(RecvTimeoutError::Timeout) = self.0.recv_timeout(limit) {
            tracing::warn!("the access log takes no more lines: the last ones are lost");
        }
    }
}

/// The writing side.
struct Writer<F> {
    output: Output<F>,
    counts: Arc<LogCounts>,
    failing: bool,
}

impl Writer<File> {
    fn run(&mut self, next: &Mutex<Option<Output>>, waiting: &Receiver<Batch>) {
        loop {
            let batch = match waiting.try_recv() {
                Err(TryRecvError::Empty) => {
                    if self.counts.behind.swap(false, Ordering::Relaxed) {
                        let lost = self.counts.dropped.get();
                        tracing::info!(
                            "the access log keeps up again; {lost} lines were lost since the start"
                        );
                    }
                    waiting.recv().ok()
                }
                batch => batch.ok(),
            };
            let Some(batch) = batch else { break };
            if let Some(next) = next.lock().unwrap_or_else(PoisonError::into_inner).take() {
                self.replace(next);
            }
            if self.counts.reopen.swap(false, Ordering::Acquire) {
                self.reopen();
            }
            if let Batch::Lines(lines) = batch {
                self.append(&lines);
            }
        }
        self.give_up_torn();
    }

    fn reopen(&mut self) {
        let Some(path) = self.output.path.clone() else { return };
        match Output::open(Sink::File(path.clone())) {
            Ok(output) => self.replace(output),
            // What is open goes on being used.
            Err(error) => tracing::error!("access log: {} cannot be opened anew: {error}", path.display()),
        }
    }

    fn replace(&mut self, output: Output) {
        self.give_up_torn();
        self.output = output;
    }
}

impl<F: Write> Writer<F> {
    /// Writes lines, and before them the rest of one that was torn.
    fn append(&mut self, lines: &[u8]) {
        let Some(file) = &mut self.output.file else { return };
        let torn = std::mem::take(&mut self.output.torn);
        let all = if torn.is_empty() { Cow::Borrowed(lines) } else { Cow::Owned([&*torn, lines].concat()) };
        let (written, result) = write(file, &all);
        if let Err(error) = result {
            let whole = match written {
                0 => torn.is_empty(),
                _ => all[written - 1] == b'\n',
            };
            let mut lost = &all[written..];
            if !whole {
                let end = memchr::memchr(b'\n', lost).map_or(lost.len(), |end| end + 1);
                self.output.torn = lost[..end].to_vec();
                lost = &lost[end..];
            }
            self.counts.dropped.add(count(lost));
            self.counts.write_errors.add(1);
            if !self.failing {
                tracing::error!("access log: {error}; lines are dropped until it can be written again");
            }
            self.failing = true;
        } else if std::mem::take(&mut self.failing) {
            let lost = self.counts.dropped.get();
            tracing::info!("the access log can be written again; {lost} lines were lost since the start");
        }
    }

    /// Counts a torn line that will not be finished. A line feed alone ends somebody else's.
    fn give_up_torn(&mut self) {
        if std::mem::take(&mut self.output.torn).len() > 1 {
            self.counts.dropped.add(1);
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// What ends the last line of a file, if somebody was stopped within it: the next one must not be lost in it.
fn rest_of_last_line(path: &Path) -> Vec<u8> {
    let last = || {
        let mut file = File::open(path)?;
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        io::Result::Ok(last)
    };
    // A pipe has no last line, and opening one could wait for ever.
    let regular = path.metadata().is_ok_and(|file| file.is_file());
    match regular.then(last) {
        Some(Ok(last)) if last != [b'\n'] => vec![b'\n'],
        _ => Vec::new(),
    }
}

/// Writes all of `bytes`, or tells how many.
fn write(file: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moved_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (log, thread) = AccessLog::start(Output::open(Sink::File(path.clone())).unwrap()).unwrap();
        log.write(b"one\n".to_vec());
        // The rename must not overtake the first line, so it is awaited.
        while std::fs::read(&path).unwrap() != b"one\n" {
            std::thread::yield_now();
        }
        std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        log.reopen();
        log.write(b"two\n".to_vec());
        drop(log);
        thread.join(Duration::MAX);
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Output::open(Sink::File(folder.path().into())).is_err());
    }

    #[test]
    fn a_file_that_ends_within_a_line_gets_its_end_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, "one\nhal").unwrap();
        let (log, thread) = AccessLog::start(Output::open(Sink::File(path.clone())).unwrap()).unwrap();
        log.write(b"two\n".to_vec());
        drop(log);
        thread.join(Duration::MAX);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\nhal\ntwo\n");
    }

    #[test]
    fn lines_go_where_the_log_was_switched_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| Sink::File(folder.path().join(name));
        let (log, thread) = AccessLog::start(Output::open(Sink::Off).unwrap()).unwrap();
        assert!(!log.is_on());
        log.switch(Output::open(file("a")).unwrap());
        assert!(log.is_on());
        log.write(b"one\n".to_vec());
        while std::fs::read(folder.path().join("a")).unwrap() != b"one\n" {
            std::thread::yield_now();
        }
        log.switch(Output::open(file("b")).unwrap());
        log.write(b"two\n".to_vec());
        drop(log);
        thread.join(Duration::MAX);
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"one\n");
        assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"two\n");
    }

    /// A disk that takes so many bytes at each try.
    struct Disk {
        written: Vec<u8>,
        takes: std::vec::IntoIter<usize>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let takes = self.takes.next().unwrap_or(usize::MAX).min(bytes.len());
            self.written.extend_from_slice(&bytes[..takes]);
            if takes == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(takes) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        /// However a disk fails, its file holds whole lines in their order, and the others are counted.
        #[test]
        fn lines_are_whole_or_counted(
            batches in proptest::collection::vec(1u64..4, 0..20),
            takes in proptest::collection::vec(prop_oneof![Just(0), 0usize..60], 0..40),
        ) {
            let counts = Arc::<LogCounts>::default();
            let disk = Disk { written: Vec::new(), takes: takes.into_iter() };
            let output = Output { file: Some(disk), path: None, torn: Vec::new() };
            let mut writer = Writer { output, counts: counts.clone(), failing: false };
            let mut number = 0u64;
            for lines in batches {
                let lines: String = (0..lines).map(|_| { number += 1; format!("line {number} of a log\n") }).collect();
                writer.append(lines.as_bytes());
            }
            writer.output.file.as_mut().unwrap().takes = Vec::new().into_iter();
            number += 1;
            writer.append(format!("line {number} of a log\n").as_bytes());
            let text = String::from_utf8(writer.output.file.unwrap().written).unwrap();
            let mut seen = Vec::new();
            for line in text.split_inclusive('\n') {
                let inner = line.strip_prefix("line ").and_then(|line| line.strip_suffix(" of a log\n"));
                seen.push(inner.unwrap().parse::<u64>().unwrap());
            }
            prop_assert!(seen.is_sorted());
            prop_assert_eq!(seen.last(), Some(&number));
            prop_assert_eq!(seen.len() as u64 + counts.dropped.get(), number);
        }
    }
}
