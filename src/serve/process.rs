//! The process itself, as the operating system sees it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use sd_notify::NotifyState;

use crate::config::Config;

/// Asks the operating system for what many connections need, and for silence about what passes through memory.
pub(super) fn prepare(config: &Config) {
    // A core dump would hold tokens and secrets, and so does memory for whoever may look into it as the same user.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    // Each request may hold a client's and an upstream's socket; next to those, what else is open is few.
    let wanted = config.gateway.limits.connections.saturating_mul(2);
    if let Some(files) =
        files.maximum.filter(|files| usize::try_from(*files).is_ok_and(|files| files < wanted))
    {
        tracing::warn!("at most {files} files may be open, and gateway.limits.connections may need {wanted}");
    }
}

/// Tells the service manager, if one wants to know, how far the process has come.
pub(super) fn report(state: NotifyState<'_>) {
    let mut states = vec![state];
    if let (NotifyState::Reloading, Ok(now)) = (&states[0], NotifyState::monotonic_usec_now()) {
        states.push(now);
    }
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
