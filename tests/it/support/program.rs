//! The program in a folder where nothing runs yet, with or without a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tempfile::TempDir;

use super::gateway::{Gateway, Ran, Setup, command};

/// A folder with a `proxy.toml`.
pub(crate) struct Program {
    folder: TempDir,
}

impl Program {
    pub(crate) fn new(configuration: &str) -> Self {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(program.path("proxy.toml"), configuration).unwrap();
        program
    }

    /// With a configuration in which nothing is wrong.
    pub(crate) fn sound() -> Self {
        Self::new(&Setup::new(&super::app::App::echo()).text())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// Runs the program with these variables in its environment.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = command(self.folder.path());
        finish(command.args(arguments).envs(variables.iter().copied()))
    }
}

/// Runs a command without a terminal to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    ran(command.stdin(Stdio::null()).output().unwrap())
}

/// What a command prints that succeeds.
#[track_caller]
pub(crate) fn done(gateway: &Gateway, arguments: &[&str]) -> String {
    let ran = gateway.cli(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran.stdout
}

/// The same for scripts.
#[track_caller]
pub(crate) fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(gateway, &[arguments, &["--json"]].concat())).unwrap()
}

/// Runs the program in `folder` on a terminal of its own, where somebody types `typed`.
pub(crate) fn run_on_terminal(folder: &Path, arguments: &[&str], typed: &str) -> Ran {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();
    let child = command(folder)
        .args(arguments)
        .stdin(theirs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ran(child.wait_with_output().unwrap())
}

/// Runs the program in `folder` on a terminal of its own, where somebody types each text once the words before it were
/// said; also what the terminal showed of that.
pub(crate) fn converse(folder: &Path, arguments: &[&str], typed: &[(&str, &str)]) -> (Ran, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut ours = File::from(ours);
    let mut command = command(folder);
    command.args(arguments).stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // This side of it is all that is left once the program has ended.
    drop(command);
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    for (words, text) in typed {
        let mut byte = [0];
        while !said.contains(words) && stderr.read(&mut byte).unwrap() > 0 {
            said.push(char::from(byte[0]));
        }
        ours.write_all(text.as_bytes()).unwrap();
    }
    let mut shown = Vec::new();
    stderr.read_to_string(&mut said).unwrap();
    // The end of a terminal is an error.
    let _ = ours.read_to_end(&mut shown);
    let ran = Ran { stderr: said, ..ran(child.wait_with_output().unwrap()) };
    (ran, String::from_utf8_lossy(&shown).into_owned())
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Every byte of every file in a folder.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let mut bytes = Vec::new();
            File::open(entry.path()).unwrap().read_to_end(&mut bytes).unwrap();
            files.push((entry.path(), bytes));
        }
    }
    files
}
