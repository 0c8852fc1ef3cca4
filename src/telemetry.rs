//! Where the program's words go: the access log, written off the request path, and the program's own log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
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
    batches: Option<SyncSender<Batch>>,
    dropped: AtomicU64,
}

enum Batch {
    Lines(Vec<u8>),
    Reopen,
}

/// The thread that writes; ends once every handle to its log is gone. What it holds is closed by its end.
#[derive(Debug)]
pub struct LogThread(Option<Receiver<()>>);

impl AccessLog {
    /// Opens the sink and starts writing to it.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or no thread be had.
    pub fn start(sink: Sink) -> io::Result<(Self, LogThread)> {
        let file = match &sink {
            Sink::Off => return Ok((Self { batches: None, dropped: AtomicU64::new(0) }, LogThread(None))),
            Sink::Stdout => None,
            Sink::File(path) => Some(open(path)?),
        };
        let (batches, waiting) = sync_channel(WAITING);
        let (running, ended) = sync_channel(1);
        let writer = move || {
            write_all(&sink, file, &waiting);
            drop(running);
        };
        std::thread::Builder::new().name("access-log".into()).spawn(writer)?;
        Ok((Self { batches: Some(batches), dropped: AtomicU64::new(0) }, LogThread(Some(ended))))
    }

    /// Whether lines are wanted at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.batches.is_some()
    }

    /// Hands over whole lines. Where the disk is too slow they are dropped and counted.
    pub fn write(&self, lines: Vec<u8>) {
        let Some(batches) = &self.batches else { return };
        if let Err(
            TrySendError::Full(Batch::Lines(lines)) | TrySendError::Disconnected(Batch::Lines(lines)),
        ) = batches.try_send(Batch::Lines(lines))
        {
            let count = memchr::memchr_iter(b'\n', &lines).count() as u64;
            if self.dropped.fetch_add(count, Ordering::Relaxed) == 0 {
                tracing::warn!("access-log lines are being dropped: its disk does not keep up");
            }
        }
    }

    /// Opens the file anew under its name, after it was moved away.
    pub fn reopen(&self) {
        if let Some(batches) = &self.batches {
            let _ = batches.try_send(Batch::Reopen);
        }
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
        if let Some(Err(RecvTimeoutError::Timeout)) = self.0.map(|ended| ended.recv_timeout(limit)) {
            tracing::warn!("the access log takes no more lines: the last ones are lost");
        }
    }
}

/// Sends the program's own log to standard error, filtered by `PORTCULLIS_LOG` (`info` where that is not set).
pub fn start_own_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PORTCULLIS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // What a stranger sends makes h2 warn, and at lower levels repeat request targets, tokens and all.
    let filter = match "h2=off".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
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

fn write_all(sink: &Sink, mut file: Option<File>, waiting: &Receiver<Batch>) {
    let mut failing = false;
    for batch in waiting {
        let written = match (batch, sink) {
            (Batch::Reopen, Sink::File(path)) => open(path).map(|reopened| file = Some(reopened)),
            (Batch::Reopen, Sink::Stdout | Sink::Off) => Ok(()),
            (Batch::Lines(lines), _) => match &mut file {
                Some(file) => file.write_all(&lines),
                None => io::stdout().lock().write_all(&lines).and_then(|()| io::stdout().flush()),
            },
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
        let (log, thread) = AccessLog::start(Sink::File(path.clone())).unwrap();
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
        assert!(AccessLog::start(Sink::File(folder.path().into())).is_err());
    }
}
