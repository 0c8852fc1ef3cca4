//! What the process takes of the machine, where the system tells it.

use std::time::SystemTime;

/// The process as the system sees it.
#[derive(Debug)]
pub(super) struct Process {
    /// In Unix seconds.
    pub(super) started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: now.as_secs_f64() }
    }

    /// Bytes in memory.
    pub(super) fn resident() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Open descriptors, the one for looking left out.
    pub(super) fn descriptors() -> Option<u64> {
        let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(open.saturating_sub(1))
    }
}
