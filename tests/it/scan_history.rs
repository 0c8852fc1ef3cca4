//! `portcullis scan --git-history` on real repositories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::leak::{assert_unsaid, key, look_alike, places, scan, token, wide};

/// A repository that knows nothing of whoever runs the tests.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        git(self.at(), arguments)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.at().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Commits all that is there; the commit's name, as it is told.
    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])[..12].to_owned()
    }

    fn loose(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.at().join(".git/objects")).unwrap().map(|entry| entry.unwrap());
        folders.filter(|entry| entry.file_name().len() == 2).map(|entry| entry.path()).collect()
    }
}

#[track_caller]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ann").env(format!("GIT_{who}_EMAIL"), "ann@example.com");
    }
    let output =
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_version_of_every_file_is_looked_through_once() {
    let repository = Repository::new();
    let [removed, renamed, little, big, border, message, tagged] = [(); 7].map(|()| token());
    let key = key();
    repository.write("src/a.py", format!("x\nKEY = '{key}'\n"));
    repository.write("README", "text");
    let first = repository.commit("begin");
    repository.write("conf/prod.env", format!("T={removed}\n"));
    let added = repository.commit("configure");
    repository.write("old.txt", format!("  {renamed}"));
    fs::remove_file(repository.at().join("conf/prod.env")).unwrap();
    let second = repository.commit("remove it again");
    repository.git(&["mv", "old.txt", "new.txt"]);
    repository.git(&["mv", "src/a.py", "src/é b.py"]);
    repository.commit("rename");
    repository.write("little.txt", wide(&format!("a\n{little}"), false));
    repository.write("big.txt", wide(&format!("a\n{big}"), true));
    repository.write("border", format!("{}{border}", "x".repeat(256 * 1024 - 20)));
    let look_alikes = [&removed, &key].map(|real| look_alike(real)).join("\n");
    repository.write("look-alikes", &look_alikes);
    repository.write("look-alikes.wide", wide(&look_alikes, false));
    let third = repository.commit("more");
    let said = repository.commit(&format!("say {message}"));
    repository.git(&["tag", "-a", "v1", "-m", &tagged]);
    let tag = repository.git(&["rev-parse", "v1"])[..12].to_owned();
    for name in ["new.txt", "src/é b.py", "little.txt", "big.txt", "border"] {
        fs::remove_file(repository.at().join(name)).unwrap();
    }
    repository.commit("clean");

    let mut expected = vec![
        format!(". {first}:src/a.py:2:8"),
        format!(". {added}:conf/prod.env:1:3"),
        format!(". {second}:old.txt:1:3"),
        format!(". {third}:little.txt:2:1"),
        format!(". {third}:big.txt:2:1"),
        format!(". {third}:border:1:{}", 256 * 1024 - 20 + 1),
        format!(". {said} (its message)"),
        format!(". {tag} (its message)"),
    ];
    expected.sort();
    let all = [&removed, &renamed, &little, &big, &border, &message, &tagged, &key];
    let judge = |arguments: &[&str]| {
        let ran = scan(repository.at(), arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(places(&ran), expected, "{ran:?}");
        assert_unsaid(&ran, &all.map(String::as_str));
    };
    judge(&[".", "--git-history", "--json"]);
    assert!(!repository.loose().is_empty());
    repository.git(&["gc", "-q", "--aggressive", "--prune=now"]);
    assert!(repository.loose().is_empty(), "all of it is packed");
    judge(&[".", "--git-history", "--json"]);
    // However often the repository is named.
    judge(&[".", "src/..", "README", "--git-history", "--json"]);
    let now = scan(repository.at(), &["."]);
    assert!(now.code == 0 && now.stdout.is_empty(), "{now:?}");

    // A copy without a working tree, by its own name.
    git(repository.at(), &["clone", "-q", "--bare", ".", "bare.git"]);
    let ran = scan(repository.at(), &["bare.git", "--git-history", "--json"]);
    let bare: Vec<_> = expected.iter().map(|place| place.replacen('.', "bare.git", 1)).collect();
    assert_eq!(places(&ran), bare);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["files"], &document["failures"]), (&0.into(), &Value::Array(Vec::new())));
}

#[test]
fn what_no_branch_leads_to_any_more_is_found_too() {
    let repository = Repository::new();
    repository.write("a", "text");
    repository.commit("begin");
    let (stashed, rewritten, staged, merged) = (token(), token(), token(), token());
    repository.write("a", format!("{stashed}\n"));
    repository.git(&["stash", "-q"]);
    repository.write("b", format!("{rewritten}\n"));
    let gone = repository.commit("oops");
    repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repository.git(&["checkout", "-q", "-b", "side"]);
    repository.write("c", "side");
    repository.commit("side");
    repository.git(&["checkout", "-q", "main"]);
    repository.write("d", "main");
    repository.commit("main");
    repository.git(&["merge", "-q", "--no-commit", "side"]);
    repository.write("c", format!("{merged}\n"));
    let merge = repository.commit("merge");
    repository.write("e", format!("{staged}\n"));
    repository.git(&["add", "e"]);
    let blob = repository.git(&["rev-parse", ":e"])[..12].to_owned();
    fs::remove_file(repository.at().join("e")).unwrap();
    let found = places(&scan(repository.at(), &[".", "--git-history", "--json"]));
    let stash = repository.git(&["rev-parse", "stash"])[..12].to_owned();
    let mut expected = vec![
        "c:1:1".to_owned(),
        format!(". {stash}:a:1:1"),
        format!(". {gone}:b:1:1"),
        format!(". {merge}:c:1:1"),
        format!(". {blob} (in no commit):1:1"),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn work_trees_share_a_history_and_a_shallow_copy_says_so() {
    let repository = Repository::new();
    let token = token();
    repository.write("a", &token);
    let first = repository.commit("begin");
    repository.write("a", "nothing");
    repository.commit("clean");
    let beside = tempfile::tempdir().unwrap();
    let tree = beside.path().join("tree");
    repository.git(&["worktree", "add", "-q", "--detach", tree.to_str().unwrap()]);
    assert_eq!(places(&scan(&tree, &[".", "--git-history", "--json"])), [format!(". {first}:a:1:1")]);
    let url = format!("file://{}", repository.at().display());
    git(beside.path(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let ran = scan(beside.path(), &["shallow", "--git-history"]);
    assert!(ran.code == 0 && ran.stderr.contains("a part of the history was never fetched here"), "{ran:?}");
}

#[test]
fn without_a_history_or_with_a_broken_one_there_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let ran = scan(folder.path(), &[".", "--git-history"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("its history cannot be looked through: not a git"),
        "{ran:?}"
    );
    let repository = Repository::new();
    repository.write("a", "x".repeat(5000));
    repository.commit("begin");
    let blob = repository.git(&["rev-parse", "HEAD:a"]);
    let object = repository.at().join(".git/objects").join(&blob[..2]).join(blob[2..].trim());
    let mut bytes = fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    fs::remove_file(&object).unwrap();
    fs::write(&object, bytes).unwrap();
    let ran = scan(repository.at(), &[".", "--git-history"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("error: .: 1 object of its history cannot be read"), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("warning: .: the object {} cannot be read", blob.trim())),
        "{ran:?}"
    );
}

#[test]
fn a_repository_that_would_run_something_is_only_read() {
    let repository = Repository::new();
    repository.write("a", token());
    repository.commit("begin");
    let trap = repository.at().join("trap");
    let script = format!("touch {}", trap.display());
    for (name, value) in [
        ("core.fsmonitor", script.as_str()),
        ("core.pager", &script),
        ("core.sshCommand", &script),
        ("diff.external", &script),
        ("log.showSignature", "true"),
        ("gpg.program", &script),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", "ext::sh -c touch%20trap"),
        ("protocol.ext.allow", "always"),
    ] {
        repository.git(&["config", name, value]);
    }
    // An object that is promised, and would be fetched.
    let blob = repository.git(&["rev-parse", "HEAD:a"]);
    fs::remove_file(repository.at().join(".git/objects").join(&blob[..2]).join(blob[2..].trim())).unwrap();
    let ran = scan(repository.at(), &[".", "--git-history"]);
    assert!(ran.code == 1 && ran.stdout.starts_with("a:1:1: token"), "{ran:?}");
    assert!(ran.stderr.contains("was never fetched here"), "{ran:?}");
    assert!(!trap.exists(), "{ran:?}");
}
