//! Certificates that are in use, and their files.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::tls::{Terminator, Watch};

/// How often the files are looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Every open address that speaks TLS, the admin side's too.
pub(super) type Terminators = ArcSwap<Vec<Arc<Terminator>>>;

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
