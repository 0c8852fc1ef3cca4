//! What `deploy/leaks` has for git and for CI, run as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::app::App;
use crate::support::gateway::{Gateway, PROGRAM, Ran, Setup, command};
use crate::support::leak::{assert_unsaid, token};
use crate::support::program::finish;

const HOOK: &str = include_str!("../../deploy/leaks/pre-commit");
const WORKFLOW: &str = include_str!("../../deploy/leaks/github-actions.yml");

/// A repository with the hook, and the program on the path.
struct Site {
    folder: TempDir,
    programs: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap(), programs: tempfile::tempdir().unwrap() };
        symlink(PROGRAM, site.programs.path().join("portcullis")).unwrap();
        assert_eq!(site.run("git", &["init", "-q"]).code, 0);
        let hook = site.at().join(".git/hooks/pre-commit");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, HOOK).unwrap();
        fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
        site
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.run_with(program, arguments, &[])
    }

    fn run_with(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let path = format!("{}:{}", self.programs.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        for (name, _) in command_environment() {
            command.env_remove(name);
        }
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ann").env(format!("GIT_{who}_EMAIL"), "ann@example.com");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("PATH", path);
        finish(command.args(arguments).envs(variables.iter().copied()).current_dir(self.at()))
    }

    fn stage(&self, name: &str, text: &str) {
        fs::write(self.at().join(name), text).unwrap();
        assert_eq!(self.run("git", &["add", "-A", "-f"]).code, 0);
    }

    fn commit(&self) -> Ran {
        self.run("git", &["commit", "-q", "-m", "change"])
    }
}

/// What may be set around whoever runs the tests.
fn command_environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_") || name.starts_with("GIT_")).collect()
}

#[test]
fn the_hook_looks_at_what_is_staged_and_at_nothing_else() {
    let site = Site::new();
    let token = token();
    site.stage("a b.env", &format!("x={token}\n"));
    let refused = site.commit();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("take it out of what is staged"), "{refused:?}");
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(told.contains("a b.env:1:3: token"), "{refused:?}");
    assert_unsaid(&refused, &[&token]);
    site.stage("a b.env", "x=\n");
    site.stage(".gitignore", "*.env\n");
    // Not staged, so not committed.
    fs::write(site.at().join("a b.env"), &token).unwrap();
    assert_eq!(site.commit().code, 0);
    site.stage("a b.env", &token);
    assert_eq!(site.commit().code, 1, "ignore files do not matter for what is staged");
    // The other way round: staged, and taken out of the working tree.
    fs::remove_file(site.at().join("a b.env")).unwrap();
    assert_eq!(site.commit().code, 1);
    assert_eq!(site.run("git", &["add", "-A"]).code, 0);
    assert_eq!(site.commit().code, 0, "taking something out is no leak");
    let left = fs::read_dir(site.at()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(left.len() == 2, "{left:?}");
}

#[test]
fn the_hook_lets_through_what_has_ended() {
    let gateway = Gateway::before(&App::echo());
    let minted = gateway.mint("production");
    let site = Site::new();
    let key = gateway.cli(&["key", "create", "--member", "ci", "--scopes", "read", "--quiet"]).stdout;
    let url = format!("http://{}", gateway.admin_address());
    let variables = [("PORTCULLIS_ADMIN", url.as_str()), ("PORTCULLIS_KEY", key.trim_end())];
    site.stage("file", &minted.secret);
    let commit = || site.run_with("git", &["commit", "-q", "-m", "change"], &variables);
    let refused = commit();
    assert!(refused.code == 1 && format!("{refused:?}").contains("LIVE"), "{refused:?}");
    gateway.revoke(&minted.id);
    let passed = commit();
    assert_eq!(passed.code, 0, "{passed:?}");
}

#[test]
fn the_hook_does_not_ask_where_the_repository_says() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let minted = gateway.mint("production");
    gateway.revoke(&minted.id);
    let site = Site::new();
    let socket = format!("{:?}", gateway.path("portcullis.sock"));
    site.stage("proxy.toml", &Setup::new(&app).set("admin", "socket", &socket).text());
    site.stage("file", &minted.secret);
    let refused = site.commit();
    assert_eq!(refused.code, 1, "{refused:?}");
    let commit = ["commit", "-q", "-m", "change"];
    let relative = site.run_with("git", &commit, &[("PORTCULLIS_CONFIG", "proxy.toml")]);
    assert_eq!(relative.code, 1, "{relative:?}");
    let mine = site.at().join("proxy.toml");
    let named = site.run_with("git", &commit, &[("PORTCULLIS_CONFIG", mine.to_str().unwrap())]);
    assert_eq!(named.code, 0, "{named:?}");
}

#[test]
fn the_hook_stops_a_commit_that_it_cannot_judge() {
    let site = Site::new();
    fs::remove_file(site.programs.path().join("portcullis")).unwrap();
    site.stage("file", "text");
    let ran = site.run_with("git", &["commit", "-q", "-m", "change"], &[("PATH", "/usr/bin:/bin")]);
    assert!(ran.code == 1 && ran.stderr.contains("there is no `portcullis` on the path"), "{ran:?}");
}

#[test]
fn the_workflow_scans_as_it_is_written() {
    let site = Site::new();
    let token = token();
    site.stage("file", &token);
    assert_eq!(site.run("git", &["commit", "-q", "--no-verify", "-m", "leak"]).code, 0);
    let line = WORKFLOW.lines().find_map(|line| line.trim().strip_prefix("- run: portcullis")).unwrap();
    // What is not set in the repository's settings is empty.
    let variables = [("PORTCULLIS_ADMIN", ""), ("PORTCULLIS_KEY", "")];
    let ran = site.run_with("sh", &["-c", &format!("portcullis{line}")], &variables);
    assert_eq!(ran.code, 1, "{ran:?}");
    let log: Value = serde_json::from_slice(&fs::read(site.at().join("leaks.sarif")).unwrap()).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let places =
        results.iter().map(|result| &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]);
    assert_eq!(places.collect::<Vec<_>>(), ["file", "file"], "now, and in the history");
    // A program that is run with it all knows the same flags.
    assert_eq!(command(site.at()).args(["scan", "--help"]).output().unwrap().status.code(), Some(0));
}
