//! `portcullis scan` on files, folders and standard input, where no admin side is in reach.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::support::gateway::PROGRAM;
use crate::support::leak::{assert_unsaid, key, look_alike, places, scan, scan_with, token, wide};
use crate::support::program::finish;

fn written(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn each_place_is_told_with_line_and_column_and_never_the_value() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (token, key) = (token(), key());
    written(at, "src/app.py", format!("# é\nTOKEN = \"{token}\"  # {token}\n"));
    written(at, ".env", format!("é={key}\r\n"));
    written(at, &format!("hook?project-protection-bypass={token}"), "");
    let expected =
        [".env:1:3", "hook?project-protection-bypass=pct_… (its name)", "src/app.py:2:10", "src/app.py:2:55"];
    for arguments in [&["."][..], &[".", "--json"], &[".", "--sarif"]] {
        let ran = scan(at, arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_unsaid(&ran, &[&token, &key]);
        assert!(
            ran.stderr.contains("nobody was asked which of them live: there is no proxy.toml"),
            "{ran:?}"
        );
    }
    assert_eq!(places(&scan(at, &[".", "--json"])), expected);
    let ran = scan(at, &["."]);
    for place in expected {
        let line = ran.stdout.lines().find(|line| line.starts_with(&format!("{place}: "))).unwrap();
        let (kind, of) = if place.starts_with(".env") { ("management key", &key) } else { ("token", &token) };
        assert_eq!(line, format!("{place}: {kind} …{}, may live: nobody was asked", &of[36..]));
    }
    assert!(
        ran.stderr.contains("3 files, ") && ran.stderr.contains(": 2 found, 0 live, 2 may live"),
        "{ran:?}"
    );
}

#[test]
fn look_alikes_are_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for real in [token(), key()] {
        let other = if real.starts_with("pct_") { "pcm_" } else { "PCT_" };
        lines.extend([
            look_alike(&real),
            real[..39].to_owned(),
            format!("{other}{}", look_alike(&real[4..])),
        ]);
        lines.extend([real.replacen('_', "-", 1), real.to_ascii_uppercase(), real[1..].to_owned()]);
        lines.push(format!("{}\n{}", &real[..20], &real[20..]));
    }
    lines.push("pct_".repeat(1000));
    written(folder.path(), "a", lines.join("\n"));
    written(folder.path(), "b", wide(&lines.join("\n"), false));
    written(folder.path(), "c", wide(&lines.join("\n"), true));
    let ran = scan(folder.path(), &["."]);
    assert!(ran.code == 0 && ran.stdout.is_empty() && ran.stderr.contains(": 0 found, 0 live"), "{ran:?}");
}

#[test]
fn standard_input_utf_16_long_lines_and_borders_hide_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (token, line) = (token(), ".".repeat(3_000_000));
    let stream = format!("{line}{token}\n{token}");
    let ran = scan_with(at, &["-", "--json"], stream.as_bytes());
    assert_eq!(places(&ran), ["(standard input):1:3000001", "(standard input):2:1"]);
    for big in [false, true] {
        written(at, "wide.txt", wide(&format!("{line}\nx = {token}"), big));
        assert_eq!(places(&scan(at, &["wide.txt", "--json"])), ["wide.txt:2:5"]);
    }
    // Windows are 256 KiB: each of these crosses a border by another byte.
    for shift in 0..40 {
        written(at, &format!("border/{shift:02}"), format!("{}{token}", ".".repeat(256 * 1024 - shift)));
    }
    let found = places(&scan(at, &["border", "--json"]));
    let expected: Vec<_> =
        (0..40).map(|shift| format!("border/{shift:02}:1:{}", 256 * 1024 - shift + 1)).collect();
    assert_eq!(found, expected);
}

#[test]
fn ignore_files_are_honoured_unless_all_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (at, token) = (folder.path(), token());
    for name in ["seen", ".hidden/seen", "built/unseen", "unseen.log", ".git/config"] {
        written(at, name, &token);
    }
    written(at, ".gitignore", "built/\n*.log\n");
    assert_eq!(places(&scan(at, &[".", "--json"])), [".hidden/seen:1:1", "seen:1:1"]);
    // What was named is wanted.
    assert_eq!(places(&scan(at, &["unseen.log", "--json"])), ["unseen.log:1:1"]);
    let all = places(&scan(at, &[".", "--all", "--json"]));
    assert_eq!(all, [".hidden/seen:1:1", "built/unseen:1:1", "seen:1:1", "unseen.log:1:1"]);
}

#[test]
fn long_binaries_are_passed_over_and_told_of() {
    const BOUND: u64 = 16 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let (at, token) = (folder.path(), token());
    for (name, begin) in
        [("short", &b"\x7fELF\x01\x00\x00"[..]), ("long", b"\x7fELF\x01\x00\x00"), ("text", b"")]
    {
        let mut file = File::create(at.join(name)).unwrap();
        let length = if name == "short" { BOUND } else { BOUND + 1 };
        let text = if name == "text" { vec![b'.'; 8192] } else { begin.to_vec() };
        file.write_all(&text).unwrap();
        file.seek(SeekFrom::Start(length - token.len() as u64)).unwrap();
        file.write_all(token.as_bytes()).unwrap();
    }
    let ran = scan(at, &["."]);
    let mut found: Vec<_> = ran.stdout.lines().map(|line| line.split(':').next().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, ["short", "text"], "{ran:?}");
    assert!(ran.stderr.contains("1 long binary passed over (--all looks through them)"), "{ran:?}");
    assert_eq!(scan(at, &[".", "--all"]).stdout.lines().count(), 3);
}

#[test]
fn pipes_sockets_loops_and_what_may_not_be_read_are_warnings_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let (at, token) = (folder.path(), token());
    written(at, "deep/file", &token);
    assert!(Command::new("mkfifo").arg(at.join("pipe")).status().unwrap().success());
    let _socket = UnixListener::bind(at.join("socket")).unwrap();
    symlink("circle", at.join("circle")).unwrap();
    symlink("..", at.join("deep/up")).unwrap();
    symlink("/dev/zero", at.join("endless")).unwrap();
    symlink("nowhere", at.join("broken")).unwrap();
    written(at, "closed", &token);
    fs::set_permissions(at.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    // Root reads everything.
    let closed = File::open(at.join("closed")).is_err();
    let ran = scan(at, &[".", "--json"]);
    let found = places(&ran);
    assert!(found.contains(&"deep/file:1:1".to_owned()) && found.len() == 2 - usize::from(closed), "{ran:?}");
    let mut warnings = vec![
        "warning: circle: not looked through: a link that leads in a circle\n",
        "warning: pipe: not looked through: it is a pipe, not a file\n",
        "warning: socket: not looked through: it is a socket, not a file\n",
    ];
    if closed {
        warnings.push("warning: closed: not looked through: Permission denied (os error 13)\n");
    }
    for warning in &warnings {
        assert!(ran.stderr.contains(warning), "{warning}: {ran:?}");
    }
    assert_eq!(ran.stderr.matches("warning: ").count(), warnings.len(), "{ran:?}");
}

#[test]
fn what_was_named_and_cannot_be_looked_through_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    written(at, "file", "nothing");
    assert!(Command::new("mkfifo").arg(at.join("pipe")).status().unwrap().success());
    // A process may not read its own memory where there is none.
    for path in ["pipe", "/dev/zero", "/proc/self/mem"] {
        let ran = scan(at, &["file", path]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(&format!("error: {path}: not looked through: ")), "{ran:?}");
    }
    for arguments in
        [&["nothing"][..], &["file", "nothing"], &[], &["--json", "--sarif", "."], &["--yes", "."]]
    {
        let ran = scan(at, arguments);
        assert!(ran.code == 2 && ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
    assert_eq!(scan(at, &["file"]).code, 0);
}

#[test]
fn memory_stays_small_however_long_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let token = token();
    let script = format!(
        "ulimit -v 250000; {{ head -c 300000000 /dev/zero | tr '\\0' x; echo {token}; }} | \"$0\" scan - --json"
    );
    let ran = finish(Command::new("sh").args(["-c", &script, PROGRAM]).current_dir(folder.path()));
    assert_eq!(places(&ran), ["(standard input):1:300000001"], "{ran:?}");
}

#[test]
fn sarif_says_what_a_dashboard_wants() {
    let folder = tempfile::tempdir().unwrap();
    let (at, token) = (folder.path(), token());
    written(at, "a b/é.txt", format!("\n x{token}"));
    let ran = scan(at, &[".", "--sarif"]);
    let log: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let result = &run["results"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{log}");
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%A9.txt");
    let region = serde_json::json!({ "startLine": 2, "startColumn": 3, "endLine": 2, "endColumn": 43 });
    assert_eq!(place["region"], region);
    let again = scan_with(at, &["-", "--sarif"], token.as_bytes());
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let fingerprint = &again["runs"][0]["results"][0]["partialFingerprints"];
    assert_eq!(fingerprint, &result["partialFingerprints"], "the same wherever it is found");
    let empty = scan_with(at, &["-", "--sarif"], b"");
    assert!(empty.code == 0 && empty.stdout.contains("\"results\":[]"), "{empty:?}");
}
