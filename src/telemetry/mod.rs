//! Where the program's words and figures go: the access log, written off the request path, the program's own log, and
//! the cells that counts are kept in until they are read.

mod access_log;
mod cells;
mod operations;

use std::io::{self, IsTerminal};

pub use access_log::{AccessLog, LogCounts, LogThread, Output, Sink};
pub use cells::{BOUNDS, Counter, Histogram, Spread};
pub use operations::Operations;

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
