//! The machine that figures are of.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// What there is to say of it, as far as it says it.
pub(super) fn describe() -> Value {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    };
    let whole = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = Command::new("rustc").arg("--version").output().map(|output| output.stdout);
    json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": fs::read_to_string("/proc/cpuinfo")
            .map_or(cores, |text| text.lines().filter(|line| line.starts_with("processor")).count()),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": whole("/proc/sys/kernel/osrelease"),
        "congestion_control": whole("/proc/sys/net/ipv4/tcp_congestion_control"),
        "rustc": String::from_utf8_lossy(&rustc.unwrap_or_default()).trim(),
    })
}
