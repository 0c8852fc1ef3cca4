//! Processes that the benchmark starts: pinned to a core, measured from the outside, ended with it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// The unit of times in /proc; Linux shows them in hundredths of a second on every machine this runs on.
const TICKS: f64 = 100.0;
/// How long a process may take to end before it is made to.
const PATIENCE: Duration = Duration::from_secs(5);

/// The core of the proxy under load, and that of everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Core {
    Proxy,
    Others,
    /// The same, for what would have a machine of its own: it yields to all else there.
    Yielding,
    /// For what is to use all there are.
    Both,
}

impl Core {
    /// As taskset has it.
    pub(super) const fn list(self) -> &'static str {
        match self {
            Self::Proxy => "0",
            Self::Others | Self::Yielding => "1",
            Self::Both => "0,1",
        }
    }
}

/// A running process and its descendants.
pub(super) struct Process(Child);

/// `program` on a core. It ends with this program, even if that is killed.
pub(super) fn pinned(core: Core, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if core == Core::Yielding {
        command.args(["nice", "-n", "19"]);
    }
    command.args(["taskset", "-c", core.list()]).arg(program).stdin(Stdio::null());
    command
}

/// Keeps this program itself on a core, and what it starts without saying where.
pub(super) fn pin_myself(core: Core) -> Result<()> {
    let id = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", core.list(), &id]).output();
    let pinned = pinned.context("taskset cannot be run: is it installed?")?;
    ensure!(pinned.status.success(), "taskset says: {}", String::from_utf8_lossy(&pinned.stderr));
    Ok(())
}

impl Process {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let started = command.spawn();
        started.map(Self).with_context(|| format!("cannot start {}", command.get_program().display()))
    }

    /// The first line of `stream` that `find` makes something of. What follows is read and thrown away.
    pub(super) fn announced<T>(
        stream: impl Read + Send + 'static,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let mut lines = BufReader::new(stream).lines();
        let mut said = String::new();
        while let Some(Ok(line)) = lines.next() {
            if let Some(found) = find(&line) {
                // A pipe that nobody reads would stop its writer once it is full.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(found);
            }
            said.push_str(&line);
            said.push('\n');
        }
        bail!("it ended before it was ready; it said:\n{said}")
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// CPU time that the process and its descendants have used, user and system, in microseconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        let mut sum = 0.0;
        for pid in self.family()? {
            sum += cpu_of(Path::new(&format!("/proc/{pid}")))?;
        }
        Ok(sum)
    }

    /// The same, of each thread.
    pub(super) fn cpu_of_threads(&self) -> Result<BTreeMap<OsString, f64>> {
        let mut threads = BTreeMap::new();
        for pid in self.family()? {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let task = task?;
                threads.insert(task.file_name(), cpu_of(&task.path())?);
            }
        }
        Ok(threads)
    }

    /// Resident memory of the process and its descendants, in MiB.
    pub(super) fn rss(&self) -> Result<f64> {
        let mut kib = 0;
        for pid in self.family()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
            kib += resident.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        Ok(kib as f64 / 1024.0)
    }

    /// The process and its descendants, parents first.
    fn family(&self) -> Result<Vec<u32>> {
        let mut family = vec![self.0.id()];
        let mut at = 0;
        while let Some(pid) = family.get(at).copied() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
                family.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            at += 1;
        }
        Ok(family)
    }
}

/// User and system time, in microseconds.
fn cpu_of(task: &Path) -> Result<f64> {
    let stat = fs::read_to_string(task.join("stat"))?;
    // The name before it may hold anything, but no later field holds a parenthesis.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut ticks = 0;
    for field in [11, 12] {
        ticks += fields.get(field).context("/proc/PID/stat is too short")?.parse::<u64>()?;
    }
    Ok(ticks as f64 * 1e6 / TICKS)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked to end, a master process ends its workers too.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
