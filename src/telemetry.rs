//! Where the program's words go: the access log, written off the request path, and the program's own log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Batches of lines that may wait for the disk; each is at most some tens of kilobytes.
const WAITING: usize = 256;

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Stdout,
    Off,
    File(PathBuf),
}

/// The access log: takes lines without ever waiting for a disk.
#[derive(Debug)]
pub struct AccessLog {
    batches: SyncSender<Batch>,
    on: AtomicBool,
    /// Where to write from the next batch on.
    next: Arc<Mutex<Option<Output>>>,
    dropped: AtomicU64,
}

/// A sink that can be written to.
#[derive(Debug)]
pub struct Output {
    sink: Sink,
    file: Option<File>,
}

enum Batch {
    Lines(Vec<u8>),
    Reopen,
}

/// The thread that writes; ends once every handle to its log is gone. What it holds is closed by its end.
#[derive(Debug)]
pub struct LogThread(Receiver<()>);

impl Output {
    /// # Errors
    /// When a file cannot be opened for appending.
    pub fn open(sink: Sink) -> io::Result<Self> {
        let file = match &sink {
            Sink::Stdout | Sink::Off => None,
            Sink::File(path) => Some(open(path)?),
        };
        Ok(Self { sink, file })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match (&self.sink, &mut self.file) {
            (Sink::Off, _) => Ok(()),
            (_, Some(file)) => file.write_all(lines),
            (_, None) => io::stdout().lock().write_all(lines).and_then(|()| io::stdout().flush()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File(path) = &self.sink {
            self.file = Some(open(path)?);
        }
        Ok(())
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
        let on = AtomicBool::new(output.sink != Sink::Off);
        let next = Arc::new(Mutex::new(None));
        let coming = next.clone();
        let writer = move || {
            write_all(output, &coming, &waiting);
            drop(running);
        };
        std::thread::Builder::new().name("access-log".into()).spawn(writer)?;
        Ok((Self { batches, on, next, dropped: AtomicU64::new(0) }, LogThread(ended)))
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
            let count = memchr::memchr_iter(b'\n', &lines).count() as u64;
            if self.dropped.fetch_add(count, Ordering::Relaxed) == 0 {
                tracing::warn!("access-log lines are being dropped: its disk does not keep up");
            }
        }
    }

    /// Opens the file anew under its name, after it was moved away.
    pub fn reopen(&self) {
        let _ = self.batches.try_send(Batch::Reopen);
    }

    /// Writes elsewhere from here on.
    pub fn switch(&self, output: Output) {
        self.on.store(output.sink != Sink::Off, Ordering::Relaxed);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
        // The thread looks at each batch; where the queue is full there is one.
        self.reopen();
    }

    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
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

/// Sends the program's own log to standard error, filtered by `PORTCULLIS_LOG` (`info` where that is not set).
pub fn start_own_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PORTCULLIS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // https://no-color.org: set and not empty means no colour; and none belongs into a file or a journal.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(!plain && io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn write_all(mut output: Output, next: &Mutex<Option<Output>>, waiting: &Receiver<Batch>) {
    let mut failing = false;
    for batch in waiting {
        if let Some(next) = next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            output = next;
        }
        let written = match batch {
            Batch::Reopen => output.reopen(),
            Batch::Lines(lines) => output.write(&lines),
        };
        if let (Err(error), false) = (&written, failing) {
            tracing::error!("access log: {error}");
        }
        failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Output::open(Sink::File(folder.path().into())).is_err());
    }
}
