//! `portcullis demo`, as a newcomer meets it: what it prints is pasted into a shell.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::gateway::{Ran, command};
use crate::support::program::finish;
use crate::support::until;

#[test]
fn every_line_that_the_demo_prints_works_when_pasted() {
    let mut demo = Demo::start();
    let lines = demo.lines("token revoke tok_");
    let folder = lines.iter().find_map(|line| line.split_once("store in ")).unwrap().1.trim_end_matches('.');
    assert!(Path::new(folder).join("portcullis.db").exists());

    let commands: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("  ")).collect();
    let (curls, management): (Vec<&str>, Vec<&str>) =
        commands.iter().partition(|line| line.starts_with("curl "));
    assert_eq!((curls.len(), management.len()), (5, 2), "{lines:#?}");
    for (line, environment) in curls.iter().zip(["development", "development", "production", "production"]) {
        let ran = paste(line);
        let echoed: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{line}: {ran:?}"));
        assert_eq!(echoed["answered_by"], format!("the echo app, {environment}"));
        assert_eq!(echoed["path"], "/hello");
        assert!(!ran.stdout.contains("pct_"), "the app is never shown the token: {ran:?}");
    }
    let refused = paste(curls[4]);
    assert!(refused.stdout.starts_with("HTTP/1.1 401 "), "{refused:?}");
    assert!(refused.stdout.contains("token_missing"), "{refused:?}");

    let list = paste(management[0]);
    assert!(list.code == 0 && list.stdout.lines().count() == 3, "{list:?}");
    let revoked = paste(&format!("{} --yes", management[1]));
    assert_eq!(revoked.code, 0, "{revoked:?}");
    assert!(paste(curls[2]).stdout.contains("token_revoked"));
    assert!(paste(curls[0]).stdout.contains("answered_by"));

    demo.signal(Signal::INT);
    assert_eq!(demo.exit(), 0);
    assert!(!Path::new(folder).exists(), "the folder is gone");
}

#[test]
fn two_demos_do_not_meet_and_each_ends_on_a_signal_of_either_kind() {
    let (mut one, mut two) = (Demo::start(), Demo::start());
    one.lines("token revoke tok_");
    two.lines("token revoke tok_");
    two.signal(Signal::TERM);
    assert_eq!(two.exit(), 0);
    one.signal(Signal::INT);
    assert_eq!(one.exit(), 0);
}

#[test]
fn a_signal_during_the_start_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Demo::start_in(temporary.path());
    until("its folder", || temporary.path().read_dir().unwrap().next().map(drop));
    demo.signal(Signal::INT);
    assert_eq!(demo.exit(), 0);
    assert!(temporary.path().read_dir().unwrap().next().is_none());
}

struct Demo {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    _temporary: Option<tempfile::TempDir>,
}

impl Demo {
    fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut demo = Self::start_in(temporary.path());
        demo._temporary = Some(temporary);
        demo
    }

    fn start_in(temporary: &Path) -> Self {
        let mut child = command(temporary)
            .arg("demo")
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (lines, pipe) = (printed.clone(), child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, printed, _temporary: None }
    }

    /// What was printed, once a line holds `last`.
    fn lines(&self, last: &str) -> Vec<String> {
        until("the demo's last line", || {
            let lines = self.printed.lock().unwrap();
            lines.iter().any(|line| line.contains(last)).then(|| lines.clone())
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit(&mut self) -> i32 {
        until("the demo's end", || self.child.try_wait().unwrap()).code().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn paste(line: &str) -> Ran {
    finish(Command::new("sh").args(["-c", line]))
}
