//! Where the program's words and figures go: the access log, written off the request path, the program's own log, and
//! the cells that counts are kept in until they are read.

mod access_log;
mod cells;
mod operations;

use std::io::{self, IsTerminal};

pub use access_log::{AccessLog, LogCounts, LogThread, Output, Sink};
pub use cells::{BOUNDS, Counter, Histogram, Spread};
pub use operations::Operations;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sends the program's own log to standard error, filtered by `PORTCULLIS_LOG` (`info` where that is not set).
pub fn start_own_log() {
    let wanted = std::env::var_os("PORTCULLIS_LOG").map(|wanted| wanted.to_string_lossy().into_owned());
    let filter = wanted.as_deref().map_or_else(|| Ok(usual()), |wanted| EnvFilter::builder().parse(wanted));
    let (filter, mistake) = match filter {
        Ok(filter) => (filter, None),
        Err(mistake) => (usual(), Some(mistake)),
    };
    // What a stranger sends makes h2 warn, and at lower levels repeat request targets, tokens and all: it has no say,
    // whatever is asked for.
    let said = filter_fn(|about| about.target() != "h2" && !about.target().starts_with("h2::"));
    // https://no-color.org: set and not empty means no colour; and none belongs into a file or a journal.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(!plain && io::stderr().is_terminal())
        .with_target(false);
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter.and(said))).try_init();
    if let Some(mistake) = mistake {
        tracing::warn!(
            "PORTCULLIS_LOG is not used, for it is no filter such as `info` or `debug`: {mistake}"
        );
    }
}

fn usual() -> EnvFilter {
    EnvFilter::new("info")
}
