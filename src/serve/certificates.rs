//! Certificates that are in use, and their files.

use std::sync::Arc;
use std::time::Duration;

use crate::tls::{Terminator, Terminators, Watch};

/// How often the files are looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows clients what the files hold, for as long as it is polled.
pub(super) async fn follow(terminators: Arc<Terminators>) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = terminators.load_full();
        if now.is_empty() {
            continue;
        }
        // File systems may take their time.
        let look = move || {
            watch.look(&now);
            watch
        };
        let Ok(looked) = tokio::task::spawn_blocking(look).await else { return };
        watch = looked;
    }
}

/// The files whose certificates are others than those that were read from them before.
pub(super) fn replaced<'a>(
    before: &[Arc<Terminator>],
    after: impl Iterator<Item = &'a Arc<Terminator>>,
) -> Vec<String> {
    let before: Vec<_> = before.iter().flat_map(|terminator| terminator.certificates()).collect();
    let mut replaced: Vec<_> = after
        .flat_map(|terminator| terminator.certificates())
        .filter(|after| before.iter().any(|before| before.pair == after.pair && !before.equals(after)))
        .map(|after| after.pair.certificate.display().to_string())
        .collect();
    replaced.sort();
    replaced.dedup();
    replaced
}
