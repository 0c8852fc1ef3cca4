//! `portcullis audit list`, once and following.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::app::App;
use crate::support::gateway::{Gateway, command};

/// The lines of a program, as they come.
fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[test]
fn the_log_is_read_whole_or_in_part() {
    let gateway = Gateway::before(&App::echo());
    let ids: Vec<_> = (0..3).map(|_| gateway.mint("development").id).collect();
    let list = |more: &[&str]| {
        let ran = gateway.cli(&[&["audit", "list"], more].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.stdout
    };
    let people = list(&[]);
    assert_eq!(people.lines().count(), 4, "{people}");
    let last = people.lines().last().unwrap();
    assert!(last.contains("operator") && last.contains("token.mint") && last.contains(&ids[2]), "{last}");
    // Each line is an entry as the API gives it.
    let api = gateway.admin("GET /v1/audit", None);
    let exported = list(&["--json"]);
    assert!(exported.lines().all(|line| api.text().contains(line)), "{exported}");
    let subjects = |text: &str| {
        let of =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["subject"].as_str().unwrap().to_owned();
        text.lines().map(of).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&list(&["--json", "--after", "2"])), ids[1..]);
    assert_eq!(subjects(&list(&["--json", "--last", "1"])), ids[2..]);
    assert_eq!(subjects(&list(&["--json", "--last", "0"])), Vec::<String>::new());
}

#[test]
fn a_follower_prints_each_change_and_waits_for_a_gateway_that_restarts() {
    let mut gateway = Gateway::before(&App::echo());
    let first = gateway.mint("development");
    let mut follower = command(&gateway.path(""))
        .args(["audit", "list", "--follow", "--json", "--last", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (entries, notes) = (lines(follower.stdout.take().unwrap()), lines(follower.stderr.take().unwrap()));
    let next = || serde_json::from_str::<Value>(&entries.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!(next()["subject"], first.id);
    let second = gateway.mint("development");
    assert_eq!(next()["subject"], second.id);
    gateway.kill();
    let note = notes.recv_timeout(PATIENCE).unwrap();
    assert!(note.contains("waiting for it"), "{note}");
    gateway.restart();
    let third = gateway.mint("development");
    assert_eq!(next()["subject"], third.id, "none is lost, and none told twice");
    follower.kill().unwrap();
    follower.wait().unwrap();
}
