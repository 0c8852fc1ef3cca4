//! `portcullis backup`, and what the README says about restoring one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Minted};
use crate::support::program::run_on_terminal;

const HOST: &str = "shop.localhost";

fn code(gateway: &Gateway, token: &Minted) -> String {
    let answer = gateway.ask(with_token("GET /", HOST, &token.secret));
    if answer.status == 200 { "ok".to_owned() } else { answer.code() }
}

/// What a folder holds, but for the gateway's own files.
fn others(gateway: &Gateway) -> Vec<String> {
    let names = fs::read_dir(gateway.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("portcullis.") && name != "proxy.toml" && name != "access.log");
    names.sort();
    names
}

#[test]
fn a_copy_taken_under_way_is_whole_and_can_be_put_back() {
    let mut gateway = Gateway::before(&App::echo());
    let (kept, revoked) = (gateway.mint("production"), gateway.mint("production"));
    gateway.revoke(&revoked.id);
    let stop = AtomicBool::new(false);
    let copied = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                gateway.mint("production");
            }
        });
        let copied = gateway.cli(&["backup", "copy.db"]);
        stop.store(true, Ordering::Relaxed);
        copied
    });
    let length = fs::metadata(gateway.path("copy.db")).unwrap().len();
    assert_eq!((copied.code, copied.stdout), (0, format!("Copied the store to copy.db: {length} bytes.\n")));
    let mode = fs::metadata(gateway.path("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(others(&gateway), ["copy.db"], "no part of a copy stays");

    let after = gateway.mint("production");
    gateway.revoke(&kept.id);
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    for file in ["portcullis.db", "portcullis.db-wal", "portcullis.db-shm"] {
        let _ = fs::remove_file(gateway.path(file));
    }
    fs::copy(gateway.path("copy.db"), gateway.path("portcullis.db")).unwrap();
    gateway.restart();
    assert_eq!(code(&gateway, &kept), "ok", "as it was when the copy was taken");
    assert_eq!(code(&gateway, &revoked), "token_revoked");
    assert_eq!(code(&gateway, &after), "token_unknown");
    assert_eq!(code(&gateway, &gateway.mint("production")), "ok");
}

#[test]
fn a_file_that_is_there_is_replaced_only_where_somebody_said_so() {
    let gateway = Gateway::before(&App::echo());
    let file = gateway.path("copy.db");
    fs::write(&file, "mine").unwrap();
    let unasked = gateway.cli(&["backup", "copy.db"]);
    assert!(unasked.code == 2 && unasked.stderr.contains("is there already"), "{unasked:?}");
    assert_eq!(run_on_terminal(&gateway.path(""), &["backup", "copy.db"], "n\n").code, 1);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(run_on_terminal(&gateway.path(""), &["backup", "copy.db"], "y\n").code, 0);
    assert!(fs::read(&file).unwrap().starts_with(b"SQLite format 3\0"));
    fs::write(&file, "mine").unwrap();
    assert_eq!(gateway.cli(&["backup", "copy.db", "--yes"]).code, 0);
    assert!(fs::read(&file).unwrap().starts_with(b"SQLite format 3\0"));

    let folder = gateway.cli(&["backup", "."]);
    assert!(folder.code == 2 && folder.stderr.contains("not a file"), "{folder:?}");
    let nowhere = gateway.cli(&["backup", "absent/copy.db"]);
    assert!(nowhere.code == 1 && nowhere.stderr.contains("absent/copy.db"), "{nowhere:?}");
}

#[test]
fn a_copy_that_breaks_off_leaves_what_was_there() {
    let gateway = Gateway::before(&App::echo());
    let key = gateway.cli(&["key", "create", "--member", "ann", "--scopes", "admin", "--quiet"]).stdout;
    fs::write(gateway.path("copy.db"), "mine").unwrap();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.sqlite3\r\n";
    for answer in [
        format!("{head}Content-Length: 1000000\r\n\r\nSQLite format 3"),
        // Nothing says how long it should have been.
        format!("{head}Connection: close\r\n\r\nSQLite format 3"),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
    ] {
        use std::io::{Read, Write};
        let broken = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", broken.local_addr().unwrap());
        let line = thread::spawn(move || {
            let (mut stream, _) = broken.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let ran = gateway.cli(&["--admin", &url, "--key", key.trim_end(), "backup", "copy.db", "--yes"]);
        line.join().unwrap();
        assert!(ran.code == 1 && !ran.stderr.is_empty(), "{ran:?}");
        assert_eq!(fs::read(gateway.path("copy.db")).unwrap(), b"mine", "{ran:?}");
        assert_eq!(others(&gateway), ["copy.db"]);
    }
}
