//! `git`, asked about one repository. It knows every form in which histories are kept, reads them without holding a whole
//! object, and is there wherever they are.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use super::ScanError;

/// What the git hook that calls us is about; we are asked about a path.
const OURS: [&str; 6] =
    ["GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE"];

#[derive(Debug)]
pub(super) struct Repository {
    /// What git keeps, shared by all its working trees.
    pub(super) folder: PathBuf,
    /// As the user calls it.
    pub(super) name: Arc<PathBuf>,
    /// Whether the user's path lies in that folder, and not in a working tree.
    pub(super) is_within_itself: bool,
    /// Whether a part of the history was never fetched.
    pub(super) is_cut: bool,
}

/// A git process. Ended when dropped.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Repository {
    /// The repository that holds `path`.
    pub(super) fn of(path: &Path) -> Result<Self, ScanError> {
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let wrong = |message: &str| ScanError::Repository {
            path: path.to_owned(),
            message: message.trim_start_matches("fatal: ").split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let mut command = git();
        command.arg("-C").arg(folder).args(["rev-parse", "--path-format=absolute", "--git-common-dir"]);
        command.args(["--is-inside-git-dir", "--is-shallow-repository"]);
        let output = command.output().map_err(ScanError::Git)?;
        if !output.status.success() {
            return Err(wrong(&String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8(output.stdout).map_err(|_| wrong("its path is not UTF-8"))?;
        let mut lines = text.lines();
        let (Some(folder), Some(within), Some(shallow)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(wrong("git gives an answer that is not understood"));
        };
        let mut repository = Self {
            folder: folder.into(),
            name: Arc::new(path.to_owned()),
            is_within_itself: within == "true",
            is_cut: shallow == "true",
        };
        let mut partial = repository.command(&["config", "--get", "extensions.partialClone"]);
        partial.stdout(Stdio::null()).stderr(Stdio::null());
        repository.is_cut |= partial.status().map_err(ScanError::Git)?.success();
        Ok(repository)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = git();
        command.arg("--git-dir").arg(&self.folder).args(arguments);
        command
    }
}

impl Running {
    /// Starts a command whose output is read; its complaints go where ours do.
    pub(super) fn start(command: &mut Command) -> io::Result<(Self, ChildStdout)> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let running = Self(child);
        let output = output.ok_or_else(|| io::Error::other("git was started without an output"))?;
        Ok((running, output))
    }

    pub(super) fn input(&mut self) -> io::Result<std::process::ChildStdin> {
        self.0.stdin.take().ok_or_else(|| io::Error::other("git was started without an input"))
    }

    /// Waits for the end, which has to be a good one.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("git ended with {status}"))) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A git that reads what is there, as it is there, and runs and fetches nothing on behalf of a stranger's repository.
fn git() -> Command {
    let mut command = Command::new("git");
    for name in OURS {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "protocol.allow=never", "-c", "core.fsmonitor=false"]);
    command
}
